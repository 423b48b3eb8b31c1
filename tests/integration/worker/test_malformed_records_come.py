"""A real worker on a real broker is given hundreds of records that are no requests."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.runtime.reading import scan
from sluice_contracts import Tier, TopicNames
from sluice_contracts import headers as h
from tests.conftest import Broker
from tests.contracts.malformed import CODE, KINDS, SCHEMAS, Malformed, samples

pytestmark = pytest.mark.kafka
CHECKOUT = Path(__file__).resolve().parents[3]
COUNT = 500
KEYS = (None, b"key")
FOREIGN = (
    (h.ORIGIN_TOPIC, b"foreign"), (h.ORIGIN_PARTITION, b"99"), (h.ATTEMPT, b"2000"),
    (h.RETURN_TOPIC, b"foreign"), ("mine", b"\xff"),
)  # fmt: skip


@asynccontextmanager
async def _worker(broker: Broker, names: TopicNames) -> AsyncIterator[None]:
    environment = {
        **os.environ,
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": names.prefix,
        "CLAUDE__BASE_URL": "http://127.0.0.1:9",  # nothing of this is called
        "SECRETS__API_KEY": "sk-ant-it-malformed",
        "HEALTH__PORT": "0",
        "LOG__LEVEL": "error",
        "TIERS": '["haiku"]',
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.worker", cwd=CHECKOUT, env=environment
    )
    try:
        yield
    finally:
        process.terminate()
        assert 0 == await asyncio.wait_for(process.wait(), 30)


Published = dict[tuple[int | None, int | None], tuple[bytes | None, Malformed]]


async def _publish(broker: Broker, topic: str) -> Published:
    """Return what was published by its place."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, max_request_size=2_000_000
    )
    await producer.start()
    published: Published = {}
    for number, record in enumerate(samples(COUNT, {**KINDS, **SCHEMAS})):
        key = KEYS[number % 2]
        if key is None and record.value is None:
            key = b"key"  # the client refuses to send what another one may
        sent = await producer.send_and_wait(
            topic, record.value, key, partition=number % 2, headers=[*FOREIGN, *record.headers]
        )
        published[sent.partition, sent.offset] = (key, record)
    await producer.stop()
    return published


async def test_each_becomes_a_dead_letter(kafka: Broker, topics: TopicNames) -> None:
    """With the right code and the same key and value; it names its place, not a stranger's."""
    options = {"bootstrap_servers": kafka.bootstrap_servers}
    published = await _publish(kafka, topics.requests(Tier.HAIKU))
    letters: list[Any] = []
    async with _worker(kafka, topics), asyncio.timeout(60):
        while len(letters) < COUNT:
            await asyncio.sleep(1)
            found = scan(options, [topics.dead_letters(Tier.HAIKU)])
            letters = [record async for _, records in found for record in records]
    assert COUNT == len(letters)
    for letter in letters:
        headers = tuple(letter.headers)
        place = h.find_int(headers, h.ORIGIN_PARTITION), h.find_int(headers, h.ORIGIN_OFFSET)
        key, record = published.pop(place)
        assert (key, record.value, CODE) == (
            letter.key,
            letter.value,
            h.find(headers, h.FAILURE_CODE),
        ), record.kind
        assert ("mine", b"\xff") in headers
    assert {} == published
