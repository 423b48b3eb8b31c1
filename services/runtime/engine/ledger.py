"""Which offsets of a partition are complete. Pure: no clock, no client, no asyncio.

The committed offset is the first incomplete one; what is complete above it travels as a map of the
incomplete ones (`offset_map.py`). Offsets that the log never returns, because compaction or a
transaction marker took them, count as complete.
"""

from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Snapshot(NamedTuple):
    """Progress as it is committed: everything below `end` is complete but `incomplete`."""

    offset: int
    end: int
    incomplete: tuple[int, ...]


class Ledger:
    """The incomplete offsets of one partition, and where to read on."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._end = snapshot.end
        # Ascending, always: offsets of the snapshot are sorted, and new ones come after its end.
        self._incomplete: dict[int, None] = dict.fromkeys(snapshot.incomplete)
        self._awaited = deque(snapshot.incomplete)
        self.position = snapshot.offset
        """The next offset to fetch."""

    def __len__(self) -> int:
        """Count the incomplete offsets."""
        return len(self._incomplete)

    def __contains__(self, offset: object) -> bool:
        """Whether the offset is incomplete."""
        return offset in self._incomplete

    @property
    def first(self) -> int:
        """The first incomplete offset: what a commit would hold now."""
        return next(iter(self._incomplete), self.end)

    @property
    def end(self) -> int:
        """The offset after the last one that this ledger knows."""
        return max(self._end, self.position)

    @property
    def awaited(self) -> Iterable[int]:
        """Incomplete offsets of the snapshot that have not been fetched again yet."""
        return self._awaited

    def register(self, offset: int) -> bool:
        """Take note of a fetched offset; False where it must not run (again).

        Offsets come in ascending order, with gaps. An offset below the position was registered
        before, so it is either complete or already in hand.
        """
        if offset < self.position:
            return False
        self.skip_to(offset)
        self.position = offset + 1
        if offset < self._end:
            if not (self._awaited and self._awaited[0] == offset):
                return False
            self._awaited.popleft()
            return True
        self._incomplete[offset] = None
        return True

    def skip_to(self, offset: int) -> None:
        """Take note that the log holds nothing from the position up to this offset."""
        while self._awaited and self._awaited[0] < offset:
            del self._incomplete[self._awaited.popleft()]
        self.position = max(self.position, offset)

    def complete(self, offset: int) -> bool:
        """Mark a registered offset complete; False where it is not incomplete here.

        A late completion of an offset below the first incomplete one must change nothing: it once
        set the bit of another, unfinished record elsewhere in the field.
        """
        if offset not in self._incomplete or offset >= self.position:
            return False
        del self._incomplete[offset]
        return True

    def snapshot(self, finishing: Collection[int] = ()) -> Snapshot:
        """Return progress as it is once `finishing` are complete too."""
        incomplete = tuple(offset for offset in self._incomplete if offset not in finishing)
        end = self.end
        return Snapshot(incomplete[0] if incomplete else end, end, incomplete)
