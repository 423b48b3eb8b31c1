"""`claude.rate.v1` on Kafka: an `Exchange` on a consumer and a producer of its own.

Plain records outside any transaction: a lost one is replaced a second later. The consumer has no
group; every replica reads the one partition from the beginning.
"""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings
from services.worker.throttle.exchange import Arrived
from services.worker.throttle.record import RatePosted
from sluice_contracts import headers as h
from sluice_contracts.topics import RATE_TYPE

log = structlog.get_logger()

RETRY: Final = 2.0
"""Seconds between two attempts to connect."""
SEND_TIMEOUT: Final = 5.0
"""Seconds after which a record is given up; by then a newer one waits."""
SOURCE: Final = b"/sluice/worker"


class RateTopic:
    """The topic as a log that every replica writes to and reads from the beginning."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._pending: RatePosted | None = None
        self._gone: list[str] = []
        self._news = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None

    def post(self, record: RatePosted) -> None:
        """Write a record soon; one that is not sent yet is replaced."""
        self._pending = record
        self._news.set()

    def forget(self, replica: str) -> None:
        """Take the record of a replica that died long ago off the topic, some time."""
        self._gone.append(replica)
        self._news.set()

    async def run(self, arrived: Arrived) -> None:
        """Hand over every record until cancelled; a lost connection is tried again for ever."""
        while True:
            try:
                await self._connected(arrived)
            except (KafkaError, OSError, TimeoutError) as exc:
                error = f"{type(exc).__name__}: {exc}"
                log.warning("throttle.topic_failed", topic=self._topic, error=error)
            await self._close()
            await asyncio.sleep(RETRY)

    async def _connected(self, arrived: Arrived) -> None:
        """Read and write until one of the two fails, and end the other."""
        # No TaskGroup: where a child fails while the group is waited for, Python 3.11 leaves the
        # task marked as cancelled, and a cancellation of its own cannot be told from that any more.
        tasks = [
            asyncio.create_task(self._read(arrived), name="throttle.topic_read"),
            asyncio.create_task(self._write(), name="throttle.topic_write"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def leave(self, replica: str) -> None:
        """Write a tombstone for this replica and close the producer."""
        try:
            if self._producer is not None:
                with suppress(KafkaError, OSError, TimeoutError):
                    await self._send(self._producer, replica, None)
        finally:
            await self._close()

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _read(self, arrived: Arrived) -> None:
        consumer = AIOKafkaConsumer(
            **connection_options(self._kafka, role="rate"),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        partition = TopicPartition(self._topic, 0)
        try:
            await consumer.start()
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            async for message in consumer:
                replica = (message.key or b"").decode(errors="replace")
                if message.value is None:
                    arrived(message.timestamp / 1000, replica, None)
                    continue
                try:
                    record = RatePosted.model_validate_json(message.value)
                except ValidationError as exc:
                    log.warning("throttle.record_unreadable", replica=replica, error=str(exc))
                    continue
                arrived(message.timestamp / 1000, replica, record)
        finally:
            await consumer.stop()

    async def _write(self) -> None:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **connection_options(self._kafka, role="rate"), acks=1, linger_ms=0
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        while True:
            await self._news.wait()
            self._news.clear()
            record, self._pending = self._pending, None
            if record is not None:
                await self._send(self._producer, record.replica, record)
            while self._gone:
                await self._send(self._producer, self._gone.pop(), None)

    async def _send(
        self, producer: AIOKafkaProducer, replica: str, record: RatePosted | None
    ) -> None:
        async with asyncio.timeout(SEND_TIMEOUT):
            await producer.send_and_wait(
                self._topic,
                key=replica.encode(),
                value=None if record is None else record.model_dump_json().encode(),
                partition=0,
                headers=[
                    (h.CE_ID, uuid4().hex.encode()),
                    (h.CE_TYPE, RATE_TYPE.encode()),
                    (h.CE_SOURCE, SOURCE),
                    (h.CE_SPECVERSION, b"1.0"),
                    (h.CONTENT_TYPE, h.JSON.encode()),
                ],
            )
