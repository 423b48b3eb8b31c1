"""Keeps the newest of a stream of dead letters, and counts the others."""

from heapq import heappush, heappushpop

from services.ops.dead_letters.letter import Letter, Place


class Newest:
    """The newest dead letters, at most so many.

    Args:
        limit: How many to keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept: list[tuple[int, Place, Letter]] = []
        """A heap, the oldest first."""
        self.total = 0

    def add(self, letter: Letter) -> None:
        """Look at a dead letter; keep it while it is among the newest."""
        self.total += 1
        self._keep((letter.timestamp_ms, letter.place, letter))

    def absorb(self, other: "Newest") -> None:
        """Take in what was kept of others."""
        self.total += other.total
        for entry in other.kept:
            self._keep(entry)

    def _keep(self, entry: tuple[int, Place, Letter]) -> None:
        if len(self.kept) < self._limit:
            heappush(self.kept, entry)
        elif self._limit and entry > self.kept[0]:
            heappushpop(self.kept, entry)

    def letters(self) -> list[Letter]:
        """List what was kept, the newest first."""
        return [letter for *_, letter in sorted(self.kept, reverse=True)]
