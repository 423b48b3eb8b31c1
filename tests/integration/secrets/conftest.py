"""Settings that point at Secrets Manager's stand-in, each test with a secret of its own."""

from datetime import timedelta
from secrets import token_hex

import pytest

from services.ops.local.servers import Server
from services.runtime.settings import SecretsSettings, Settings


@pytest.fixture
def settings(moto: Server) -> Settings:
    """A secret that does not exist yet, polled five times a second."""
    return Settings(
        secrets=SecretsSettings.model_validate(
            {
                "endpoint_url": moto.url,
                "name": f"it-{token_hex(4)}/{{environment}}/api-key",
                "poll_interval": timedelta(milliseconds=200),
                "refresh_interval": timedelta(0),
            }
        )
    )
