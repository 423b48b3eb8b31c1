"""Gives a stand-in of Secrets Manager its secret: a key that the simulator accepts; repeatable.

`python -m services.ops.local.seed`, with the settings of any process; for docker-compose.yml.
"""

import asyncio
import sys

from services.ops.local.keys import FIRST_KEY
from services.ops.settings import OpsSettings
from services.runtime.secrets import open_vault
from services.runtime.settings import Environment, read
from services.runtime.vault import SecretsUnavailable


async def seed(settings: OpsSettings) -> str:
    """Create the secret where it is missing, and say what was done."""
    if settings.environment is not Environment.DEVELOPMENT or not settings.secrets.endpoint_url:
        raise SystemExit(
            "this seeds a stand-in: set ENVIRONMENT=development and SECRETS__ENDPOINT_URL"
        )
    async with open_vault(settings) as vault:
        try:
            await vault.current()
        except SecretsUnavailable:
            await vault.create(FIRST_KEY)
            return f"created {settings.secret_name}"
    return f"{settings.secret_name} is there"


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(seed(read(OpsSettings))) + "\n")
