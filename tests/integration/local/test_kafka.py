"""A broker of the launcher: started, killed, restarted in place, stopped without a trace."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from services.ops.cluster import Cluster
from services.ops.local.kafka import LocalKafka
from services.runtime.settings import KafkaSettings
from sluice_contracts.topics import TopicNames, catalogue

pytestmark = pytest.mark.kafka


async def test_a_killed_broker_comes_back_on_its_port_with_its_records() -> None:
    """After kill -9 and restart the same address serves the same log."""
    topic = TopicNames().audit
    async with LocalKafka() as kafka:
        servers = kafka.bootstrap_servers
        async with Cluster.open(KafkaSettings(bootstrap_servers=servers)) as cluster:
            await cluster.create([row for row in catalogue() if row.name == topic], replication=1)
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
            await producer.send_and_wait(topic, b"kept", partition=0)
        await kafka.kill(0)
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection(*kafka.addresses[0])
        await kafka.restart(0)
        assert servers == kafka.bootstrap_servers
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=servers, auto_offset_reset="earliest", group_id=None
        )
        async with consumer, asyncio.timeout(60):
            assert b"kept" == (await consumer.getone()).value
        log = kafka.logs[0]
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection(*kafka.addresses[0])
    assert log.exists()
    assert not (log.parents[1] / "data").exists()
