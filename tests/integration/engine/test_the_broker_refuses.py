"""What the broker does not take: an outcome, or metadata."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from services.runtime.engine.limits import MOST_METADATA
from services.runtime.kafka import metadata_limit
from tests.integration.engine.conftest import Servers, Stage, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_the_record_has_another_outcome(stage: Stage) -> None:
    """And the partition goes on."""
    await stage.start(seconds=0.1)
    stage.send(*values(10), b"large", *values(10))
    assert stage.expected() == await stage.outcomes()
    refused = [origin for origin, value in stage.values.items() if value == b"refused"]
    assert refused == [(10 % 4, 10 // 4)]


async def test_the_brokers_limit_for_metadata_is_read(kafka: Servers) -> None:
    """A worker refuses to start where its commits would be refused."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        assert await metadata_limit(admin) == MOST_METADATA
    finally:
        await admin.close()
