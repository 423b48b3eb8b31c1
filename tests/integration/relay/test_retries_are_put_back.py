"""Relays are killed while records rest; each goes back once, in order, and none early."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.runtime.reading import scan
from sluice_contracts import RetryDelay, Tier, TopicNames
from sluice_contracts.carried import Hop, Origin
from tests.conftest import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
CHECKOUT = Path(__file__).resolve().parents[3]
COUNT = 300
PARTITIONS = 2
_AHEAD = 50.0
"""Seconds that these relays' clock is ahead, so that a minute of rest takes ten seconds."""
_PROGRAM = f"""
import time
import uvloop
from services.relay import app
from services.relay.settings import RelaySettings
from services.runtime.settings import read
real = time.time
app.time.time = lambda: real() + {_AHEAD}
uvloop.run(app.build(read(RelaySettings)).run())
"""


@asynccontextmanager
async def _relay(broker: Broker, names: TopicNames) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": names.prefix,
        "RELAY__SESSION_TIMEOUT": "6s",
        "HEALTH__PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, cwd=CHECKOUT, env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _rest(broker: Broker, names: TopicNames, numbers: range) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    for number in numbers:
        await producer.send(
            names.retries(RetryDelay.ONE_MINUTE), f"{number}".encode(),
            partition=number % PARTITIONS,
            headers=list(_hop(names, number).on((), f"{number}".encode(), {})),
        )  # fmt: skip
    await producer.stop()


def _hop(names: TopicNames, number: int) -> Hop:
    topic = names.requests(Tier.OPUS)
    return Hop(
        return_topic=topic,
        origin=Origin(topic, number % PARTITIONS, number, 0),
        attempts=2,
        not_before_ms=0,
        failing_since=datetime(2026, 1, 1, tzinfo=UTC),
    )


async def test_kills_lose_and_repeat_nothing(kafka: Broker, topics: TopicNames) -> None:
    """Killed with records at rest and while it moves them."""
    options, requests = {"bootstrap_servers": kafka.bootstrap_servers}, [topics.requests(Tier.OPUS)]
    await _rest(kafka, topics, range(COUNT // 2))
    async with _relay(kafka, topics):
        await asyncio.sleep(8)
    await _rest(kafka, topics, range(COUNT // 2, COUNT))
    async with _relay(kafka, topics):
        await asyncio.sleep(12)
    async with _relay(kafka, topics) as last:
        back: list[Any] = []
        async with asyncio.timeout(90):
            while len(back) < COUNT:
                await asyncio.sleep(1)
                back = [r async for _, rs in scan(options, requests) for r in rs]
        last.terminate()
        await asyncio.wait_for(last.wait(), 60)
    rested = {
        record.value: record
        async for _, records in scan(options, [topics.retries(RetryDelay.ONE_MINUTE)])
        for record in records
    }

    for partition in range(PARTITIONS):
        expected = [str(n).encode() for n in range(COUNT) if n % PARTITIONS == partition]
        assert expected == [r.value for r in back if r.partition == partition]
    early = [
        record
        for record in back
        if record.timestamp / 1000 + _AHEAD < rested[record.value].timestamp / 1000 + 60
    ]
    assert [] == early
    assert all(record.headers == rested[record.value].headers for record in back)
