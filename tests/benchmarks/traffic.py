"""Upstream and downstream of a benchmark, on confluent-kafka: a client the worker does not use."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, Message, Producer

from sluice_contracts import Tier, TopicNames, encode
from sluice_contracts.topics import REQUEST_BYTES
from tests.benchmarks.inputs import Input

_SOURCE = "/benchmark"


class Upstream:
    """Publishes requests; what the broker has not acknowledged after `flush` is an error."""

    def __init__(self, bootstrap: str, topics: TopicNames) -> None:
        self._topics = topics
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "message.max.bytes": REQUEST_BYTES,
                "linger.ms": 0,  # the client's default of 5 ms would look like our latency
                "log_level": 0,
            }
        )
        self._failures: list[str] = []
        self.published = 0

    def publish(self, inputs: Iterable[Input]) -> None:
        """Hand requests to the client; blocks while its queue is full."""
        for each in inputs:
            said = encode(each.request, source=_SOURCE, time=datetime.now(UTC))
            self.publish_raw(
                self._topics.requests(each.tier), said.key, said.value, list(said.headers)
            )

    def publish_raw(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None
    ) -> None:
        """Hand over any record, readable or not."""
        while True:
            try:
                self._producer.produce(
                    topic, value, key=key, headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.published += 1
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            RuntimeError: A record was not acknowledged.
        """
        left = self._producer.flush(60)
        if left or self._failures:
            raise RuntimeError(f"{left + len(self._failures)} records not published")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(str(error))


@dataclass
class Downstream:
    """Reads outcomes in a thread as a `read_committed` subscriber; counts by request id."""

    bootstrap: str
    topics: list[str]
    on_outcome: Callable[[dict[str, Any]], None] = lambda _: None
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @classmethod
    def of(
        cls,
        bootstrap: str,
        names: TopicNames,
        on_outcome: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> "Downstream":
        """Read the result topics of every tier."""
        return cls(bootstrap, [names.results(tier) for tier in Tier], on_outcome)

    def __enter__(self) -> Self:
        """Start reading."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._stop.set()
        assert self._thread is not None, "entered before"
        self._thread.join(10)

    @property
    def count(self) -> int:
        """How many different requests have an outcome."""
        return len(self.seen)

    async def until(self, count: int, within: float) -> bool:
        """Wait for outcomes; False where they did not come in time (seconds)."""
        try:
            async with asyncio.timeout(within):
                while self.count < count:  # noqa: ASYNC110 -- a thread counts
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
        return True

    def _read(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "benchmark-downstream",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        consumer.subscribe(self.topics)
        try:
            while not self._stop.is_set():
                # Not `consume(500, 0.05)`: with fewer than 500 it returns after its timeout only.
                first = consumer.poll(0.05)
                for message in [first, *consumer.consume(500, timeout=0)] if first else []:
                    if message.error() is None:
                        self._take(json.loads(message.value() or b"null"))
        finally:
            consumer.close()

    def _take(self, outcome: dict[str, Any]) -> None:
        identity = (outcome["request_id"], outcome.get("generation", 0))
        self.seen[identity] = self.seen.get(identity, 0) + 1
        if failure := outcome.get("failure"):
            self.failed[failure["code"]] = self.failed.get(failure["code"], 0) + 1
        self.on_outcome(outcome)
