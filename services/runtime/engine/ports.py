"""What the engine says to the world: records in, verdicts back, a log and transactions.

Nothing here knows Kafka's client, and nothing in this package knows Claude. Time is the running
event loop's clock, so the engine needs no port for it.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, bytes | None], ...]


class Partition(NamedTuple):
    """One input partition."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the log holds it."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of key, value and headers: what back-pressure counts."""
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(len(name) + len(value or b"") for name, value in self.headers)
        )


@dataclass(frozen=True, slots=True)
class Output:
    """A record to write in the transaction that completes an input record."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The record is finished; its outputs become visible with its completion, or not at all."""

    outputs: Sequence[Output] = ()


@dataclass(frozen=True, slots=True)
class Park:
    """The record is not finished: hold it in memory and hand it over again after `delay` seconds.

    Its offset stays incomplete. `counts` says whether this was an attempt (kept in the offset map
    across crashes, saturating at 7).
    """

    delay: float
    counts: bool = True


Verdict = Done | Park


class Work(Protocol):
    """What is done with records; the only thing a room has to bring."""

    async def handle(self, record: Record, attempts: int) -> Verdict:
        """Take a record to its verdict; `attempts` were spent on this offset before.

        May run for minutes, is run for many records at once, and is cancelled when the partition
        is lost for good. Must not raise: an exception stops the partition and fails liveness.
        """
        ...

    def takes(self, topic: str) -> bool:
        """Whether records of this topic can be worked on now; while not, none are fetched."""
        ...

    def relinquish(self, partition: Partition) -> None:
        """End by cancellation what of this partition only waits, and cost nothing so far.

        The partition is about to change hands; its next owner starts what was ended again. What is
        at work may finish.
        """
        ...

    def condemn(self, record: Record, crashes: int) -> Done:
        """Give the verdict for a record that was in flight at `crashes` crashes (poison guard)."""
        ...

    def refused(self, record: Record, output: Output, reason: str) -> Done:
        """Give another verdict where the broker refuses an output for good (too large, say)."""
        ...


class Committed(NamedTuple):
    """What the group's offset topic holds for a partition; offset -1 where nothing is there."""

    offset: int
    metadata: str


class Log(Protocol):
    """Reading side: the consumer and the group's committed offsets."""

    async def poll(
        self, open_partitions: Sequence[Partition], max_records: int, *, wait: bool
    ) -> Sequence[Record]:
        """Return what is there for these partitions, if asked to after waiting a little for it.

        Keeps membership alive; with no open partition that is all it does.

        Raises:
            OutOfRange: The log no longer holds, or does not yet hold, where a partition is read.
            Indeterminate: Reading failed and may be tried again.
        """
        ...

    def position(self, partition: Partition) -> int | None:
        """Return the offset after all that polls have returned, if it is known.

        Beyond the last record where transaction markers or compacted records follow it. Means
        something only until the next poll.
        """
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""
        ...

    async def committed(self, partition: Partition) -> Committed:
        """Read the committed offset and metadata of the group."""
        ...

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the first and the next offset of the log (log start, high watermark)."""
        ...

    async def is_member(self) -> bool:
        """Whether the group's coordinator, asked now, knows this process as a member.

        Asked before fencing again: an owner that was replaced while it was paused must not fence
        the new one, and two owners must not fence each other for ever.
        """
        ...

    def rejoin(self) -> None:
        """Ask the group to share out the partitions anew."""
        ...


class Producer(Protocol):
    """One initialised transactional producer; all of it may raise `Fenced` or `Indeterminate`."""

    async def begin(self) -> None:
        """Open a transaction."""
        ...

    async def send(self, output: Output) -> Awaitable[None]:
        """Hand over a record; the returned future must be awaited before `commit`.

        The future raises `Refused` where the broker will never take this record.
        """
        ...

    async def send_progress(self, progress: Committed) -> None:
        """Put the group's offset and metadata of the producer's partition in the transaction."""
        ...

    async def commit(self) -> None:
        """End the transaction; when this raises anything but `Fenced` the result is not known."""
        ...

    async def close(self) -> None:
        """Let go, within two seconds, whatever the state."""
        ...


class Transactions(Protocol):
    """Makes producers."""

    async def fence(self, partition: Partition) -> Producer:
        """Initialise the producer of this partition: ends every earlier transaction of its id.

        `transactional.id = <group>.<topic>.<partition>`, never derived from the process
        (`docs/engine.md`, the zombie argument).
        """
        ...


class Fenced(Exception):  # noqa: N818 -- a state, not an error of ours
    """A newer owner of the partition exists."""


class Indeterminate(Exception):  # noqa: N818
    """A transactional request failed or timed out: it may have taken effect or not."""


@dataclass(eq=False)
class OutOfRange(Exception):  # noqa: N818
    """Partitions whose log has been cut, at its beginning or its end, past where they are read."""

    partitions: Sequence[Partition]


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818
    """The broker will never accept this output."""

    output: Output
    reason: str = field(default="")
