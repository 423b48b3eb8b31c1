"""A model of what a broker promises: logs, transactions, group offsets. No time, no network.

Modelled from the coordinator's source: transactions of the first version (an epoch lasts until the
next InitProducerId), PrepareCommit and PrepareAbort with markers written later, offsets that become
visible with the markers, and an OffsetFetch that does not wait for pending ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from services.runtime.engine.ports import Committed, Output, Partition

TRANSACTION_TIMEOUT = 12.0


class Refusal(Exception):  # noqa: N818 -- an answer
    """What the broker answers instead of doing something."""


class Concurrent(Refusal):
    """The transaction before is still being completed."""


class StaleEpoch(Refusal):
    """A newer producer of this id exists."""


class TooLarge(Refusal):
    """The topic takes no such record."""


class State(Enum):
    """Of a transactional id."""

    EMPTY = auto()
    ONGOING = auto()
    PREPARED = auto()


@dataclass(eq=False)
class Id:
    """A transactional id as its coordinator knows it."""

    epoch: int = -1
    state: State = State.EMPTY
    outputs: list[Output] = field(default_factory=list)
    offsets: dict[Partition, Committed] = field(default_factory=dict)
    began_at: float = 0.0


class Broker:
    """Answers requests at the moment when they are delivered."""

    def __init__(
        self,
        *,
        later: Callable[[Callable[[], None]], None],
        now: Callable[[], float],
        shown: Callable[[Output], None],
        committed: Callable[[Partition, Committed], None],
    ) -> None:
        """Take the world around.

        Args:
            later: Runs something after the delay that writing markers takes.
            now: The time.
            shown: Told of every record that becomes visible.
            committed: Told of every change of a group offset, after its records became visible.
        """
        self._later = later
        self._now = now
        self._shown = shown
        self._committed = committed
        self.ids: dict[str, Id] = {}
        self.offsets: dict[Partition, Committed] = {}

    def initialise(self, name: str) -> int:
        """InitProducerId: success means that every earlier transaction of the id is over."""
        known = self.ids.setdefault(name, Id())
        if known.state is State.ONGOING:
            known.epoch += 1
            self._prepare(known, is_commit=False)
        if known.state is State.PREPARED:
            raise Concurrent
        known.epoch += 1
        return known.epoch

    def produce(self, name: str, epoch: int, output: Output) -> None:
        """AddPartitionsToTxn and Produce."""
        known = self._current(name, epoch)
        if output.value is not None and output.value.startswith(b"large"):
            raise TooLarge
        known.outputs.append(output)

    def add_offsets(self, name: str, epoch: int, where: Partition, progress: Committed) -> None:
        """AddOffsetsToTxn and TxnOffsetCommit."""
        self._current(name, epoch).offsets[where] = progress

    def end(self, name: str, epoch: int) -> None:
        """EndTxn with a commit."""
        known = self.ids[name]
        if epoch != known.epoch:
            raise StaleEpoch
        if known.state is State.PREPARED:
            raise Concurrent
        if known.state is State.ONGOING:
            self._prepare(known, is_commit=True)

    def expire(self) -> None:
        """Abort what has been open for too long, which fences its producer."""
        for known in self.ids.values():
            is_old = self._now() - known.began_at > TRANSACTION_TIMEOUT
            if known.state is State.ONGOING and is_old:
                known.epoch += 1
                self._prepare(known, is_commit=False)

    def _current(self, name: str, epoch: int) -> Id:
        known = self.ids[name]
        if epoch != known.epoch:
            raise StaleEpoch
        if known.state is State.PREPARED:
            raise Concurrent
        if known.state is State.EMPTY:
            known.state, known.began_at = State.ONGOING, self._now()
        return known

    def _prepare(self, known: Id, *, is_commit: bool) -> None:
        """Decide the transaction; its markers, and with them its offsets, come later."""
        known.state = State.PREPARED
        self._later(lambda: self._complete(known, is_commit=is_commit))

    def _complete(self, known: Id, *, is_commit: bool) -> None:
        outputs, offsets = known.outputs, known.offsets
        known.outputs, known.offsets, known.state = [], {}, State.EMPTY
        if not is_commit:
            return
        for output in outputs:
            self._shown(output)
        for where, progress in offsets.items():
            self.offsets[where] = progress
            self._committed(where, progress)
