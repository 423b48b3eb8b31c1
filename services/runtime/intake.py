"""FastStream's subscriber whose records go to the engine instead of a handler.

FastStream owns the app, its lifecycle, connection and security, the subscription and the AsyncAPI
document; its acknowledgement policies cannot express many slow calls in flight in one partition, so
progress is the engine's. The private seams of FastStream that this needs are here and nowhere else;
`tests/contracts/test_libraries.py` pins them.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from faststream import AckPolicy
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker
from faststream.kafka.schemas import Topic
from faststream.kafka.subscriber.config import (
    KafkaSubscriberConfig,
    KafkaSubscriberSpecificationConfig,
)
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber

from services.runtime.assignor import HandOverAssignor
from services.runtime.engine.engine import Engine
from services.runtime.engine.limits import MOST_METADATA
from services.runtime.engine.ports import Partition
from services.runtime.failure import Misconfigured
from services.runtime.kafka import KafkaLog, metadata_limit

SESSION_TIMEOUT: Final = timedelta(seconds=45)
"""Without a heartbeat for so long, a member's partitions go to others; safety does not need it."""

_CONSUMER: Final[Mapping[str, Any]] = {
    # The engine says where to read. A consumer that moved by itself would skip what was deleted.
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "heartbeat_interval_ms": 1_000,  # how soon a member hears of a rebalance
    "rebalance_timeout_ms": 30_000,  # JoinGroup waits for it: below the request timeout, 40 s
    "max_poll_interval_ms": 300_000,
    # A fetch under way leaves out the partition whose records have just come: this is how long its
    # next record may wait. It costs an idle worker fifty small requests a second.
    "fetch_max_wait_ms": 20,
}


def subscribe(
    broker: KafkaBroker,
    topics: Collection[str],
    *,
    engine: Engine,
    log: KafkaLog,
    group: str,
    grace: timedelta,
    handler: Callable[..., Awaitable[Any]],
    session_timeout: timedelta = SESSION_TIMEOUT,
) -> "EngineSubscriber":
    """Let the engine read these topics while the broker runs.

    Args:
        broker: FastStream's broker; its connection and security options apply.
        topics: What to read.
        engine: Takes the records.
        log: The engine's reading side, to which the consumer is handed over.
        group: The consumer group.
        grace: How long calls may go on after a first SIGTERM.
        handler: Describes the payload in the AsyncAPI document by its annotations, and is what
            FastStream's in-memory test broker calls. Never called on a real broker.
        session_timeout: How long the group waits for a member that says nothing.
    """
    declared = [Topic(topic, declare=False) for topic in topics]
    outer: Any = broker.config
    calls: CallsCollection[Any] = CallsCollection()
    assignor = HandOverAssignor(engine)
    config = KafkaSubscriberConfig(
        topics=declared,
        group_id=group,
        listener=_Listener(engine, assignor),
        connection_args={
            **_CONSUMER,
            "session_timeout_ms": int(session_timeout.total_seconds() * 1000),
            "partition_assignment_strategy": (assignor,),
        },
        no_reply=True,
        _outer_config=outer,
        _ack_policy=AckPolicy.MANUAL,
    )
    specification = KafkaSubscriberSpecification(
        _outer_config=outer,
        calls=calls,
        specification_config=KafkaSubscriberSpecificationConfig(
            topics=declared,
            title_=None,
            description_=None,
            include_in_schema=True,
        ),
    )
    subscriber = EngineSubscriber(config, specification, calls, engine=engine, log=log, grace=grace)
    Registrator.subscriber(broker, subscriber)
    subscriber.add_call(parser_=None, decoder_=None, dependencies_=())
    subscriber(handler)
    return subscriber


class EngineSubscriber(DefaultSubscriber):
    """Runs the engine for as long as FastStream's broker runs."""

    def __init__(
        self, *args: Any, engine: Engine, log: KafkaLog, grace: timedelta, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._engine = engine
        self._log_port = log
        self._grace = grace

    async def start(self) -> None:
        """Join the group, unless the broker would refuse what the engine commits.

        Raises:
            Misconfigured: `offset.metadata.max.bytes` is below what the offset map may take.
        """
        admin: Any = self._outer_config.admin
        limit = await metadata_limit(admin.client)
        if limit is not None and limit < MOST_METADATA:
            raise Misconfigured(
                f"the broker's offset.metadata.max.bytes is {limit}; the offset map may take "
                f"{MOST_METADATA}, the default: raise it"
            )
        await super().start()

    @property
    def builder(self) -> Callable[..., AIOKafkaConsumer]:
        """Make the consumer and hand it over: the first assignment comes before `start` returns."""
        return partial(self._build, super().builder)

    def _build(self, build: Callable[..., AIOKafkaConsumer], **options: Any) -> AIOKafkaConsumer:
        consumer = build(**options)
        self._log_port.bind(consumer)
        return consumer

    async def _run_consume_loop(self, consumer: AIOKafkaConsumer) -> None:  # noqa: ARG002
        await self._engine.run()

    async def stop(self) -> None:
        """Drain within the grace period, or at once on a second signal; then leave the group."""
        draining = asyncio.create_task(self._engine.drain(self._grace.total_seconds()))
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
                loop.add_signal_handler(each, draining.cancel)
        try:
            await draining
        except asyncio.CancelledError:
            if not draining.cancelled():
                raise  # this task, not the drain
            await self._engine.stop()
        await super().stop()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes assignments on; both callbacks only set flags, or are bounded by the engine."""

    def __init__(self, engine: Engine, assignor: HandOverAssignor) -> None:
        self._engine = engine
        self._assignor = assignor

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """Let the engine publish what is ready."""
        await self._engine.revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Tell the engine its share.

        Awaits nothing, so that no record of the new assignment slips past; a coroutine all the
        same, because FastStream runs plain functions in another thread.
        """
        self._engine.assigned([Partition(*each) for each in assigned], self._assignor.release)
