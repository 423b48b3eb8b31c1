"""The engine's ports over aiokafka: `KafkaLog` reads, `KafkaTransactions` writes.

What aiokafka does silently and the protocol cannot bear is undone here: a lost answer to a
transactional request raises (`strict_sender.py`), every wait is bounded, and every send reports its
own failure. Private names of aiokafka appear in these two files and `intake.py` only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalOperation,
    IllegalStateError,
    InvalidProducerEpoch,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    ProducerFenced,
    RecordListTooLargeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from services.runtime.engine.ports import (
    Committed,
    Fenced,
    Indeterminate,
    OutOfRange,
    Output,
    Partition,
    Record,
    Refused,
)
from services.runtime.strict_sender import make_strict

_log = structlog.get_logger(__name__)

_METADATA_LIMIT: Final = "offset.metadata.max.bytes"
_ASK_TIMEOUT: Final = 10.0
_KEEP_ALIVE: Final = TopicPartition("__keepalive__", 0)
_CLOSE_TIMEOUT: Final = 2.0
_FENCED: Final = (ProducerFenced, InvalidProducerEpoch)
_REFUSED: Final = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)


async def metadata_limit(admin: AIOKafkaAdminClient) -> int | None:
    """Read how long a commit's metadata may be, None where the cluster does not tell us."""
    try:
        async with asyncio.timeout(_ASK_TIMEOUT):
            node = (await admin.describe_cluster())["brokers"][0]["node_id"]
            asked = ConfigResource(ConfigResourceType.BROKER, str(node), {_METADATA_LIMIT: None})
            (answer,) = await admin.describe_configs([asked])
        (resource,) = answer.to_object()["resources"]
        entries = {
            each["config_names"]: each["config_value"] for each in resource["config_entries"]
        }
    except (KafkaError, TimeoutError, LookupError, ValueError) as exc:
        _log.warning("metadata_limit.unknown", error=repr(exc))
        return None
    return int(entries[_METADATA_LIMIT]) if _METADATA_LIMIT in entries else None


class KafkaLog:
    """The reading side: one consumer, which FastStream makes and `bind` hands over."""

    def __init__(self, *, poll: float = 0.1) -> None:
        """Take how long a poll waits for records, in seconds."""
        self._poll_ms = int(poll * 1000)
        self._bound: AIOKafkaConsumer | None = None

    def bind(self, consumer: AIOKafkaConsumer) -> None:
        """Read with this consumer from now on."""
        self._bound = consumer

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        assert self._bound is not None, "the consumer is bound before it joins the group"
        return self._bound

    async def poll(
        self, open_partitions: Sequence[Partition], max_records: int, *, wait: bool
    ) -> Sequence[Record]:
        """Read from these partitions only: the buffers of the others are kept, not dropped.

        Never cancelled: an interrupted `getmany` switches the poll interval's check off for good.
        """
        timeout = self._poll_ms if wait else 0
        reading = asyncio.ensure_future(self._getmany(open_partitions, max_records, timeout))
        try:
            batches = await asyncio.shield(reading)
        except NoOffsetForPartitionError:
            return []  # of a partition that was just assigned; the engine says where to read it
        except OffsetOutOfRangeError as exc:
            raise OutOfRange([Partition(*place) for place in exc.args[0]]) from exc
        except KafkaError as exc:
            raise Indeterminate(repr(exc)) from exc
        except asyncio.CancelledError:
            with suppress(KafkaError, ConsumerStoppedError):
                await reading
            raise
        return [_record(each) for batch in batches.values() for each in batch]

    async def _getmany(
        self, partitions: Sequence[Partition], max_records: int, timeout_ms: int
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        if not partitions:
            return await self._consumer.getmany(_KEEP_ALIVE, timeout_ms=0)  # type: ignore[no-any-return]
        return await self._consumer.getmany(  # type: ignore[no-any-return]
            *(TopicPartition(*partition) for partition in partitions),
            timeout_ms=timeout_ms,
            max_records=max_records,
        )

    def position(self, partition: Partition) -> int | None:
        """Return where the consumer reads on; the public call would wait for it."""
        assignment = self._consumer._subscription.subscription.assignment  # noqa: SLF001
        place = TopicPartition(*partition)
        if assignment is None or place not in assignment.tps:
            return None
        state = assignment.state_value(place)
        return state.position if state.has_valid_position else None

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset; nothing where the partition has just been taken away."""
        with suppress(IllegalStateError):
            self._consumer.seek(TopicPartition(*partition), offset)

    async def committed(self, partition: Partition) -> Committed:
        """Read offset and metadata from the coordinator; the public call drops the metadata."""
        place = TopicPartition(*partition)
        try:
            found = await self._consumer._coordinator.fetch_committed_offsets([place])  # noqa: SLF001
        except KafkaError as exc:
            raise Indeterminate(repr(exc)) from exc
        if place not in found:
            return Committed(-1, "")
        return Committed(found[place].offset, found[place].metadata)

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """Read the first offset and the one after the last that a consumer may see."""
        place = TopicPartition(*partition)
        try:
            first = await self._consumer.beginning_offsets([place])
            last = await self._consumer.end_offsets([place])
        except KafkaError as exc:
            raise Indeterminate(repr(exc)) from exc
        return first[place], last[place]

    async def is_member(self) -> bool:
        """Send a heartbeat now: the generation in memory may be that of before a long pause."""
        coordinator = self._consumer._coordinator  # noqa: SLF001
        if coordinator.generation < 0 or not coordinator.member_id:
            return False
        try:
            return bool(await coordinator._do_heartbeat())  # noqa: SLF001
        except KafkaError as exc:
            raise Indeterminate(repr(exc)) from exc

    def rejoin(self) -> None:
        """Join the group again, which makes its leader share the partitions out anew."""
        self._consumer._coordinator.request_rejoin()  # noqa: SLF001


class KafkaTransactions:
    """The writing side: makes one producer for each partition that is owned."""

    def __init__(
        self,
        connection: dict[str, Any],
        *,
        group: str,
        transaction_timeout: float = 12.0,
        request_timeout: float = 8.0,
        largest_output: int = 1_048_576,
        transactional_id: Callable[[Partition], str] | None = None,
    ) -> None:
        """Take where to connect and what the broker accepts.

        Args:
            connection: Options of every client (`services/runtime/connection.py`).
            group: The consumer group whose progress is written.
            transaction_timeout: After it the broker ends a transaction that nobody ends; above the
                request timeout, below the group's session timeout.
            request_timeout: For each request.
            largest_output: Bytes of the largest record that is sent at all.
            transactional_id: Names a partition's producer, and so who fences whom; default:
                `<group>.<topic>.<partition>`.
        """
        self._group = group
        self._name = transactional_id or (
            lambda partition: f"{group}.{partition.topic}.{partition.number}"
        )
        self._options = {
            **connection,
            "acks": "all",
            "transaction_timeout_ms": int(transaction_timeout * 1000),
            "request_timeout_ms": int(request_timeout * 1000),
            "retry_backoff_ms": 20,  # the answer CONCURRENT_TRANSACTIONS costs one
            "max_request_size": largest_output,
            "max_batch_size": largest_output,
        }

    async def fence(self, partition: Partition) -> "KafkaProducer":
        """Initialise the partition's producer; success means that no earlier one can commit."""
        producer = AIOKafkaProducer(
            **self._options,
            transactional_id=self._name(partition),
        )
        make_strict(producer)
        made = KafkaProducer(producer, partition, self._group)
        try:
            await producer.start()
        except KafkaError as exc:
            await made.close()
            raise Indeterminate(repr(exc)) from exc
        except BaseException:
            await made.close()
            raise
        return made


class KafkaProducer:
    """One transactional producer, used for one transaction after the other."""

    def __init__(self, producer: AIOKafkaProducer, partition: Partition, group: str) -> None:
        self._producer = producer
        self._place = TopicPartition(*partition)
        self._group = group

    async def begin(self) -> None:
        """Open a transaction."""
        await _translated(self._producer.begin_transaction())

    async def send(self, output: Output) -> "Acknowledgement":
        """Hand over a record; a refusal by the client itself is reported like one by the broker."""
        if output.key is None and output.value is None:
            return Acknowledgement(output, InvalidTopicError("neither a key nor a value"))
        try:
            future = await self._producer.send(
                output.topic,
                output.value,
                key=output.key,
                partition=output.partition,
                headers=list(output.headers),
            )
        except (UnknownTopicOrPartitionError, AssertionError) as exc:
            # The client asserts that it is in a transaction, and that the partition exists.
            is_missing = await self._is_missing(output)
            error = InvalidTopicError(repr(exc)) if is_missing else RequestTimedOutError()
            return Acknowledgement(output, error)
        except (KafkaError, IllegalOperation) as exc:
            return Acknowledgement(output, exc)
        return Acknowledgement(output, future)

    async def _is_missing(self, output: Output) -> bool:
        """Ask a broker: the client calls a topic unknown also where nobody has answered it."""
        client = self._producer.client
        if not await client.force_metadata_update():
            return False
        partitions = client.cluster.partitions_for_topic(output.topic)
        return partitions is None or output.partition not in {None, *partitions}

    async def send_progress(self, progress: Committed) -> None:
        """Add the group's offset and metadata to the transaction."""
        await _translated(
            self._producer.send_offsets_to_transaction(
                {self._place: (progress.offset, progress.metadata)}, self._group
            )
        )

    async def commit(self) -> None:
        """End the transaction."""
        await _translated(self._producer.commit_transaction())

    async def close(self) -> None:
        """Close the connections and what waits on them."""
        if not await self._is_ended(self._producer.stop()):
            await self._is_ended(self._producer.client.close())

    async def _is_ended(self, ending: Coroutine[Any, Any, None]) -> bool:
        """Bound a wait of the client's in a task of its own.

        Once a first attempt was cut short, the client's second one waits for a future that is
        cancelled by now. Awaited here, that would pass for a cancellation of the partition's owner,
        who would let go of outcomes that are not published.
        """
        task = asyncio.ensure_future(ending)
        task.add_done_callback(_retrieve)
        try:
            await asyncio.wait({task}, timeout=_CLOSE_TIMEOUT)
        finally:
            is_late = task.cancel()
        if is_late:
            error: str | None = "timed out"
        elif task.cancelled():
            error = "cancelled"
        else:
            error = repr(task.exception()) if task.exception() else None
        if error is not None:
            _log.warning("producer.close_failed", partition=self._place, error=error)
        return error is None


class Acknowledgement:
    """What became of one send; awaited or not, its exception is never left unretrieved."""

    __slots__ = ("_outcome", "_output")

    def __init__(self, output: Output, outcome: "asyncio.Future[Any] | BaseException") -> None:
        self._output = output
        self._outcome = outcome
        if isinstance(outcome, asyncio.Future):
            outcome.add_done_callback(_retrieve)

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the broker's answer."""
        try:
            if isinstance(self._outcome, BaseException):
                raise self._outcome
            yield from self._outcome.__await__()
        except _REFUSED as exc:
            raise Refused(self._output, repr(exc)) from exc
        except _FENCED as exc:
            raise Fenced from exc
        except (KafkaError, IllegalOperation) as exc:
            raise Indeterminate(repr(exc)) from exc


def _retrieve(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


async def _translated(request: Awaitable[None]) -> None:
    try:
        await request
    except _FENCED as exc:
        raise Fenced from exc
    except (KafkaError, IllegalOperation, AssertionError) as exc:  # the client checks its state
        raise Indeterminate(repr(exc)) from exc


def _record(found: ConsumerRecord) -> Record:
    return Record(
        Partition(found.topic, found.partition),
        found.offset,
        found.timestamp,
        found.key,
        found.value,
        tuple(found.headers),
    )
