"""Which fault comes next: seeded, each kind once before any comes again."""

from collections.abc import Collection, Iterator
from random import Random


class Schedule:
    """Deals kinds in shuffled rounds until the time is over and each has occurred.

    Args:
        kinds: What to deal.
        random: Decides the order.
        done: Kinds that have occurred before, and come when all others have.
    """

    def __init__(
        self, kinds: Collection[str], random: Random, *, done: Collection[str] = ()
    ) -> None:
        self._kinds = sorted(kinds)
        self._random = random
        self._round: list[str] = []
        self._missing = set(kinds) - set(done)

    @property
    def is_complete(self) -> bool:
        """Whether each kind has occurred."""
        return not self._missing

    @property
    def missing(self) -> list[str]:
        """The kinds that have not occurred."""
        return sorted(self._missing)

    def occurred(self, kind: str) -> None:
        """Note that a fault was done."""
        self._missing.discard(kind)

    def deal(self) -> Iterator[str]:
        """Yield kinds for ever, those that are missing first."""
        while self._kinds:
            if not self._round:
                self._round = sorted(self._missing) or list(self._kinds)
                self._random.shuffle(self._round)
            yield self._round.pop()
