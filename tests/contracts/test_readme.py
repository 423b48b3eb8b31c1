"""The README's programs do what the README says, on a real broker."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from sluice_contracts import Tier, TopicNames, decode, decode_request, encode
from sluice_contracts.headers import CE_TYPE
from sluice_contracts.topics import FAILED_TYPE, SUCCEEDED_TYPE

CONTRACTS = Path(__file__).parents[2] / "contracts"
README = (CONTRACTS / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"With ([\w-]+):\n\n```python\n(.*?)```", README, flags=re.DOTALL)
CLIENTS = ("aiokafka", "confluent-kafka")
PUBLISH = [program for _, program in PROGRAMS[:2]]
CONSUME = [program for _, program in PROGRAMS[2:]]


class Broker(Protocol):
    """What the fixture `kafka` gives."""

    bootstrap_servers: str


def adapted(program: str, kafka: Broker, topics: TopicNames) -> str:
    """Point a program at the test's broker and topics."""
    return program.replace("localhost:9092", kafka.bootstrap_servers).replace(
        "TopicNames()", f"TopicNames({topics.prefix!r})"
    )


def test_each_client_is_shown_both_ways() -> None:
    """Publishing and consuming are shown with aiokafka and with confluent-kafka, briefly."""
    assert CLIENTS * 2 == tuple(client for client, _ in PROGRAMS)
    for _, program in PROGRAMS:
        code = [line for line in program.splitlines() if line and "import" not in line]
        assert len(code) <= 15


@pytest.mark.kafka
@pytest.mark.parametrize("program", PUBLISH, ids=CLIENTS)
async def test_publishing(program: str, kafka: Broker, topics: TopicNames) -> None:
    """The program's record is on the request topic, and decodes."""
    code = adapted(program, kafka, topics)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert 0 == await asyncio.wait_for(process.wait(), 30)
    async with AIOKafkaConsumer(
        topics.requests(Tier.HAIKU),
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
    ) as consumer:
        record = await asyncio.wait_for(anext(consumer), 30)
    request = decode_request(record.value, record.headers)
    assert "ticket-triage" == request.prompt
    assert request.request_id.encode() == record.key


@pytest.mark.kafka
@pytest.mark.parametrize("program", CONSUME, ids=CLIENTS)
async def test_consuming(program: str, kafka: Broker, topics: TopicNames) -> None:
    """The program prints a line for a result and one for a failure."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for name in (SUCCEEDED_TYPE, FAILED_TYPE):
            example = (CONTRACTS / "examples" / name / "full.json").read_bytes()
            event = decode(example, ((CE_TYPE, name.encode()),))
            record = encode(event, source="/sluice/worker", time=datetime.now(UTC))
            await producer.send_and_wait(
                topics.results(Tier.HAIKU), record.value, b"k", headers=list(record.headers)
            )
    code = adapted(program, kafka, topics)
    process = await asyncio.create_subprocess_exec(sys.executable, "-u", "-c", code, stdout=PIPE)
    assert process.stdout is not None
    try:
        printed = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(2)]
    finally:
        process.kill()
        await process.wait()
    output = json.loads((CONTRACTS / "examples" / SUCCEEDED_TYPE / "full.json").read_bytes())
    assert f"ticket-4711 {output['output']}\n" == printed[0].decode()
    assert printed[1].decode().startswith("contract-2026-0117/clauses output_invalid clauses.0.")
