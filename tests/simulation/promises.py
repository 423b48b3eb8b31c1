"""What must hold whatever goes wrong; the first broken promise of a run is kept."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.runtime.engine import metadata
from services.runtime.engine.limits import MOST_METADATA
from services.runtime.engine.metadata import BadMetadata
from services.runtime.engine.ports import Committed, Output, Partition, Record
from tests.simulation.work import origin_of

Place = tuple[Partition, int]


class Violation(Exception):  # noqa: N818 -- a finding
    """A promise was broken."""


class Promises:
    """Watches what the brokers show and what processes do.

    Args:
        records: Everything that is ever put into the log, by partition.
        poison: The records that kill who handles them.
        is_ordered: Whether records of a key run one after the other.
        now: The time.
    """

    def __init__(
        self,
        records: Mapping[Partition, Sequence[Record]],
        poison: frozenset[Place],
        *,
        is_ordered: bool,
        now: Callable[[], float],
    ) -> None:
        self._records = records
        self._poison = poison
        self._is_ordered = is_ordered
        self._now = now
        self._identities = {each: metadata.identity("group", each) for each in records}
        self._complete: dict[Partition, tuple[int, frozenset[int]]] = {}
        self._condemned: list[Place] = []
        self._visible: Counter[Place] = Counter()
        self._ended: defaultdict[Any, set[Place]] = defaultdict(set)
        self.excused: set[Place] = set()
        """Records that were alone on trial when their process was killed or cut off from outside:
        they look guilty, and may be condemned."""
        self.broken: Violation | None = None

    def fail(self, what: str) -> None:
        """Note the first broken promise."""
        self.broken = self.broken or Violation(f"at {self._now():.3f} s: {what}")

    def check(self) -> None:
        """Raise what was broken."""
        if self.broken is not None:
            raise self.broken

    # --- while it runs ---------------------------------------------------------------------

    def show(self, output: Output) -> None:
        """Note an outcome that has become visible."""
        origin = origin_of(output)
        self._visible[origin] += 1
        if output.value == b"condemned":
            self._condemned.append(origin)

    def progress(self, where: Partition, progress: Committed) -> None:
        """Progress fits the broker, never regresses, and says nothing that is not visible."""
        if len(progress.metadata) > MOST_METADATA:
            self.fail(f"{where}: the metadata has {len(progress.metadata)} characters")
        try:
            found = metadata.decode(progress, self._identities[where]).snapshot
        except BadMetadata as exc:
            self.fail(f"{where}: {exc}")
            return
        complete = {
            record.offset
            for record in self._records[where]
            if record.offset < found.end and record.offset not in found.incomplete
        }
        before_offset, before = self._complete.get(where, (0, frozenset()))
        if found.offset < before_offset or not before <= complete:
            self.fail(f"{where}: progress went back, {sorted(before - complete)} again incomplete")
        self._complete[where] = (found.offset, frozenset(complete))
        for offset in complete - before:
            if not self._visible[where, offset]:
                self.fail(f"{where}: {offset} is committed as complete without a visible outcome")

    def began(self, process: Any, record: Record, handling: set[Place]) -> None:
        """With ordering, whatever came before under the same key has ended."""
        if not self._is_ordered:
            return
        for other in self._records[record.partition]:
            place = (other.partition, other.offset)
            if other.key != record.key or other.offset == record.offset:
                continue
            if place in handling:
                self.fail(f"{record.offset} and {other.offset} of one key ran together")
            is_over = self._visible[place] or place in self._ended[process]
            if other.offset < record.offset and not is_over:
                self.fail(f"{record.offset} ran before {other.offset} of the same key")

    def ended(self, process: Any, record: Record) -> None:
        """Note that a process has taken a record to an outcome."""
        self._ended[process].add((record.partition, record.offset))

    # --- in the end ------------------------------------------------------------------------

    @property
    def are_all_visible(self) -> bool:
        """Whether every record has an outcome, and progress says so."""
        return all(
            self._visible[where, record.offset]
            for where, log in self._records.items()
            for record in log
        ) and all(
            len(self._complete.get(where, (0, frozenset()))[1]) == len(log)
            for where, log in self._records.items()
        )

    @property
    def outcomes(self) -> int:
        """How many records have an outcome."""
        return len(self._visible)

    @property
    def condemned(self) -> int:
        """How many records were given up."""
        return len(self._condemned)

    def check_end(self) -> None:
        """Exactly one outcome each, and no innocent condemned."""
        for where, log in self._records.items():
            for record in log:
                count = self._visible[where, record.offset]
                if count != 1:
                    self.fail(f"{where} {record.offset} has {count} visible outcomes")
        for origin in self._condemned:
            if origin not in self._poison | self.excused:
                self.fail(f"{origin} is innocent and was condemned")
        self.check()
