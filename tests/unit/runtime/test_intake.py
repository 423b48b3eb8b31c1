"""FastStream keeps what it is used for: the subscription, the document, the in-memory broker."""

import asyncio
import json
import signal
from datetime import timedelta
from typing import Any

import pytest
from faststream.kafka import KafkaBroker, TestKafkaBroker
from faststream.specification import AsyncAPI
from pydantic import BaseModel

from services.runtime.engine.engine import Engine
from services.runtime.engine.limits import Limits
from services.runtime.intake import EngineSubscriber, subscribe
from services.runtime.kafka import KafkaLog


class Requested(BaseModel):
    """A payload."""

    request_id: str


class Intake:
    """A broker with one engine subscriber, never connected."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.broker = KafkaBroker("127.0.0.1:1")
        log = KafkaLog()
        unused: Any = None
        self.engine = Engine(
            group="group", log=log, transactions=unused, work=unused, limits=Limits()
        )

        async def handle(event: Requested) -> None:
            self.seen.append(event.request_id)

        self.subscriber: EngineSubscriber = subscribe(
            self.broker,
            ["it-x.requests", "it-x.others"],
            engine=self.engine,
            log=log,
            group="group",
            grace=timedelta(seconds=30),
            handler=handle,
        )


async def test_the_asyncapi_document_describes_what_is_read() -> None:
    """Topics and payload, as for any FastStream subscriber."""
    intake = Intake()
    specification = AsyncAPI(intake.broker, title="test")
    document = json.loads(specification.to_specification().to_json())
    topics = {channel["address"] for channel in document["channels"].values()}
    assert topics == {"it-x.requests", "it-x.others"}
    assert "Requested" in document["components"]["schemas"]


async def test_the_in_memory_broker_calls_the_handler() -> None:
    """A room's payload can be tested without Kafka."""
    intake = Intake()
    async with TestKafkaBroker(intake.broker) as broker:
        await broker.publish({"request_id": "r-1"}, "it-x.requests")
    assert intake.seen == ["r-1"]


async def test_the_consumer_is_told_what_the_protocol_needs() -> None:
    """Committed records only, no automatic commit, no automatic reset, our own assignor."""
    options = Intake().subscriber._connection_args
    assert options["isolation_level"] == "read_committed"
    assert options["enable_auto_commit"] is False
    assert options["auto_offset_reset"] == "none"
    assert [each.name for each in options["partition_assignment_strategy"]] == ["sluice-hand-over"]
    assert options["rebalance_timeout_ms"] < 40_000


async def test_a_second_signal_cuts_the_drain_short() -> None:
    """What ran is repeated by the next owner; nothing is lost."""
    intake = Intake()
    stopped: list[str] = []

    async def drain(grace: float) -> None:
        assert grace == 30
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(30)

    async def stop() -> None:
        stopped.append("at once")

    intake.engine.drain = drain  # type: ignore[method-assign]
    intake.engine.stop = stop  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        await intake.subscriber.stop()
    assert stopped == ["at once"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_either_signal_is_a_second_one(number: signal.Signals) -> None:
    """An impatient person presses a key, an impatient supervisor sends a signal."""
    intake = Intake()

    async def drain(grace: float) -> None:
        signal.raise_signal(number)
        await asyncio.sleep(30)

    intake.engine.drain = drain  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        await intake.subscriber.stop()
    assert intake.engine.is_leaving
