"""Read topics without a consumer group: a fixed range to its end, or from a moment on for ever.

Nothing here commits, and nothing moves anybody's progress. Memory is one fetch a partition, however
long the topic. What takes part in a group and in transactions is `kafka.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

Options = Mapping[str, Any]
"""Where and how to connect: `connection_options()`."""
Records = Sequence["ConsumerRecord[bytes | None, bytes | None]"]

FETCH_BYTES: Final = 1_048_576
"""Of one partition at a time; a larger record still comes, alone (KIP-74)."""
POLL_SECONDS: Final = 0.25


class Range(NamedTuple):
    """Offsets of a partition from `start` up to, not including, `end`."""

    start: int
    end: int


class TopicMissing(Exception):  # noqa: N818 -- a fact about the cluster
    """A topic that is to be read does not exist; `str()` says which and how to make it."""


class Unreadable(Exception):  # noqa: N818 -- a state of the cluster
    """The brokers did not hand over what was asked for; `str()` says why."""


@asynccontextmanager
async def open_reader(options: Options) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer that belongs to no group and sees committed records only."""
    consumer = AIOKafkaConsumer(
        **options,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    # A stop before the client's own tasks have begun would cancel them unbegun, and raise.
    await asyncio.sleep(0)
    try:
        yield consumer
    finally:
        await consumer.stop()


async def partitions_of(options: Options, topics: Iterable[str]) -> list[TopicPartition]:
    """List the partitions of topics.

    Raises:
        TopicMissing: One of them does not exist.
    """
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        described = await admin.describe_topics(sorted(set(topics)))
    finally:
        await admin.close()
    missing = [topic["topic"] for topic in described if topic["error_code"]]
    if missing:
        raise TopicMissing(
            f"topic {', '.join(missing)} does not exist; check KAFKA__TOPIC_PREFIX, "
            "or make the topics with `sluice topics apply`"
        )
    return sorted(
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    )


async def ranges_of(
    reader: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    *,
    since_ms: int | None = None,
) -> dict[TopicPartition, Range]:
    """Pin what the partitions hold now: from the log's start, or from a moment, to its end."""
    if not partitions:
        return {}
    ends = await reader.end_offsets(list(partitions))
    starts = await reader.beginning_offsets(list(partitions))
    if since_ms is not None:
        found = await reader.offsets_for_times(dict.fromkeys(partitions, since_ms))
        # None means that nothing is that young.
        starts = {tp: at.offset if (at := found[tp]) else ends[tp] for tp in partitions}
    return {tp: Range(min(starts[tp], ends[tp]), ends[tp]) for tp in partitions}


async def read_ranges(
    reader: AIOKafkaConsumer, ranges: Mapping[TopicPartition, Range]
) -> AsyncIterator[tuple[TopicPartition, Records]]:
    """Yield the records of the ranges in batches, in order within a partition."""
    left = {tp for tp, (start, end) in ranges.items() if start < end}
    if not left:
        return
    reader.assign(list(left))
    for tp in left:
        reader.seek(tp, ranges[tp].start)
    while left:
        got = await reader.getmany(*left, timeout_ms=int(POLL_SECONDS * 1000))
        for tp, records in got.items():
            end = ranges[tp].end
            if records[-1].offset >= end:
                records = [record for record in records if record.offset < end]  # noqa: PLW2901
            yield tp, records
        # By position, not by the last record: a range may end in transaction markers.
        done = {tp for tp in left if await reader.position(tp) >= ranges[tp].end}
        if done:
            left -= done
            if left:
                _narrow(reader, left)


def _narrow(reader: AIOKafkaConsumer, left: set[TopicPartition]) -> None:
    """Stop fetching what is read to its end; paused partitions keep nothing worth keeping."""
    reader.pause(*(reader.assignment() - left))


async def scan(
    options: Options, topics: Iterable[str], *, since_ms: int | None = None
) -> AsyncIterator[tuple[TopicPartition, Records]]:
    """Read what topics hold at this moment, from a moment or their start."""
    partitions = await partitions_of(options, topics)
    async with open_reader(options) as reader:
        ranges = await ranges_of(reader, partitions, since_ms=since_ms)
        async for batch in read_ranges(reader, ranges):
            yield batch


async def read_back(
    options: Options,
    places: Mapping[str, int | None],
    *,
    since_ms: int,
    most: int,
    within: float,
) -> AsyncIterator[Records]:
    """Yield what was written since a moment, in batches, in order within a partition.

    Args:
        options: How to connect.
        places: Topics, and which partition of each; None for all of it, as far as it exists.
        since_ms: The moment, Unix milliseconds.
        most: Records of one partition at most, the youngest.
        within: Seconds that it may take.

    Raises:
        Unreadable: The brokers did not hand it over in that time.
    """
    try:
        async with asyncio.timeout(within):
            partitions: list[TopicPartition] = []
            for topic, number in places.items():
                if number is not None:
                    partitions.append(TopicPartition(topic, number))
                    continue
                with suppress(TopicMissing):
                    partitions += await partitions_of(options, [topic])
            async with open_reader(options) as reader:
                held = await ranges_of(reader, partitions, since_ms=since_ms)
                ranges = {
                    at: Range(max(start, end - most), end) for at, (start, end) in held.items()
                }
                async for _, records in read_ranges(reader, ranges):
                    yield records
    except (KafkaError, OSError, TimeoutError) as exc:
        raise Unreadable(f"{type(exc).__name__}: {exc}") from exc


class Follower:
    """Reads a small topic from a moment on for ever, into a callback.

    Args:
        options: How to connect.
        topic: What to read, every partition of it.
        on_record: Called for each record, in order within a partition; must not raise.
        since_ms: Start at this moment (Unix milliseconds); None starts at the log's start.
    """

    def __init__(
        self,
        options: Options,
        topic: str,
        on_record: Callable[["ConsumerRecord[bytes | None, bytes | None]"], None],
        *,
        since_ms: int | None = None,
    ) -> None:
        self._options = options
        self._topic = topic
        self._on_record = on_record
        self._since_ms = since_ms
        self._next: dict[TopicPartition, int] = {}
        self.caught_up: Final = asyncio.Event()
        """Set once everything that was there at the start has been read."""
        self.failure: str | None = None
        """What keeps the follower from reading, for health; None while it reads."""

    async def run(self) -> None:
        """Read until cancelled; a broken connection is made anew and nothing is skipped."""
        while True:
            try:
                await self._read()
            except (KafkaError, TopicMissing, OSError) as exc:
                self.failure = f"{self._topic}: {type(exc).__name__}: {exc}"
                await asyncio.sleep(1.0)

    async def _read(self) -> None:
        partitions = await partitions_of(self._options, [self._topic])
        async with open_reader(self._options) as reader:
            ranges = await ranges_of(reader, partitions, since_ms=self._since_ms)
            reader.assign(partitions)
            for tp in partitions:
                reader.seek(tp, self._next.setdefault(tp, ranges[tp].start))
            while True:
                got = await reader.getmany(timeout_ms=int(POLL_SECONDS * 1000))
                self.failure = None
                for tp, records in got.items():
                    for record in records:
                        self._on_record(record)
                    self._next[tp] = records[-1].offset + 1
                if not self.caught_up.is_set():
                    at = {tp: await reader.position(tp) for tp in partitions}
                    if all(at[tp] >= ranges[tp].end for tp in partitions):
                        self.caught_up.set()
