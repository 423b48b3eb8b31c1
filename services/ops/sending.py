"""Publishes what a person sends: idempotent, acknowledged by all replicas, many in flight."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.ops.failure import CommandFailed
from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings
from sluice_contracts import Encoded
from sluice_contracts.topics import CARRIED_BYTES

_IN_FLIGHT: Final = 2000
"""Records handed over and not acknowledged; bounds memory and what is unknown after a failure."""


class Sender:
    """Sends records and counts those that the brokers have."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._waiting: deque[asyncio.Future[object]] = deque()
        self.sent = 0
        """Records that are safely on their topic."""

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings) -> AsyncIterator[Self]:
        """Connect; at the end, wait until everything is acknowledged.

        Raises:
            CommandFailed: A record was not taken; says how many were.
        """
        producer = AIOKafkaProducer(
            **connection_options(settings, role="ops"),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_batch_size=524_288,
            max_request_size=CARRIED_BYTES,
        )
        await producer.start()
        try:
            sender = cls(producer)
            yield sender
            await sender.settle(leave=0)
        finally:
            await producer.stop()

    async def send(self, topic: str, record: Encoded, partition: int | None = None) -> None:
        """Hand over a record; waits where too many are in flight."""
        future = await self._producer.send(
            topic,
            value=record.value,
            key=record.key,
            partition=partition,
            headers=list(record.headers),
        )
        self._waiting.append(future)
        await self.settle(leave=_IN_FLIGHT)

    async def settle(self, *, leave: int) -> None:
        """Wait until no more than so many records are unacknowledged."""
        while self._waiting and (len(self._waiting) > leave or self._waiting[0].done()):
            try:
                await self._waiting[0]
            except KafkaError as exc:
                raise CommandFailed(
                    f"Kafka did not take a record after {self.sent} were sent "
                    f"({type(exc).__name__}: {exc}); sending the same again is safe, ids stay"
                ) from exc
            self._waiting.popleft()
            self.sent += 1
