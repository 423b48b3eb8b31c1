"""The poison guard: finds the record whose handling kills the process, and spares the others. Pure.

A crash alone says nothing: most are deployments, lost nodes, full memory. So suspicion grows in
steps, each written to the log before the records in question start:

1. *Normal.* Records just start. One commit of the owner comes first, so that its end is known.
2. *Sweep*, after a crash. As fast as ever, but a batch of records is committed as fetched before it
   starts. Whatever the next crash finds incomplete is all that can have been in flight.
3. *Trial*, after a crash in a sweep. Only those run, in groups: at most 64, after a further crash
   at most 8, then one alone, with nothing else in flight in the whole process.
4. A record that was alone at a crash and has reached `condemn_after` is *condemned*.

So an innocent is condemned only if its process is killed, or cut off for longer than its session,
twice (with `condemn_after` 4) at the very moment when it runs alone, after having been in flight at
three ends before. A poison record is found after 5 or 6 crashes, whatever the number of calls in
flight, and until then little else is delayed.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from typing import Final

from services.runtime.engine.metadata import MOST_SUSPECTS, Mode, Progress

_GROUPS: Final = (MOST_SUSPECTS, 8)
"""How many may be tried at once, by level; from the next level on, one alone."""
_ALONE: Final = len(_GROUPS)


class Suspicion:
    """What one lane suspects."""

    def __init__(self, found: Progress | None, *, sweep_over: int, condemn_after: int) -> None:
        """Start from what the previous owner left.

        Args:
            found: Its last commit, None where there is none.
            sweep_over: Records that it may have had in flight without having committed so.
            condemn_after: The level at which a record is given up.
        """
        self._condemn_after = condemn_after
        self.mode = Mode.NORMAL
        self.boundary = 0
        self.is_open = False
        """Whether a commit of this owner says that it has begun."""
        self.is_stale = False
        """Whether the log says that a record is on trial which is not."""
        self._sweep_left = 0
        self._levels: dict[int, int] = {}
        self._before: dict[int, int] = {}  # levels of those on trial, from before this trial
        self._suspects: set[int] = set()
        if found is None:
            return
        if found.mode is Mode.TRIAL or (found.mode is Mode.SWEEP and not found.clean):
            self._open_trial(found)
        elif not found.clean:
            self.mode = Mode.SWEEP
            self._sweep_left = sweep_over

    def _open_trial(self, found: Progress) -> None:
        boundary = found.boundary if found.mode is Mode.TRIAL else found.snapshot.end
        suspects = [offset for offset in found.snapshot.incomplete if offset < boundary]
        if not suspects:
            return
        self.mode, self.boundary = Mode.TRIAL, boundary
        self._suspects = set(suspects)
        self._levels = dict(found.levels)
        if found.mode is Mode.SWEEP:
            # So few that they have been tried as a group already.
            is_few = len(suspects) <= _GROUPS[1]
            self._levels = dict.fromkeys(suspects, 1) if is_few else {}

    @property
    def needs_intent(self) -> bool:
        """Whether a commit must come before the next record starts."""
        return self.mode is not Mode.NORMAL or not self.is_open

    @property
    def levels(self) -> dict[int, int]:
        """The levels to commit."""
        return self._levels

    @property
    def levels_in_peace(self) -> dict[int, int]:
        """The levels to commit when letting go: those on trial have survived it."""
        return {**self._levels, **self._before}

    def condemns(self, offset: int) -> int:
        """Return the number of crashes for which this record is given up, 0 where it is not."""
        level = self._levels.get(offset, 0)
        return level if level >= self._condemn_after else 0

    def choose(self, eligible: Sequence[int]) -> Collection[int]:
        """Choose what may start together next, of these offsets; nothing while a trial goes on."""
        if self.mode is not Mode.TRIAL:
            return eligible
        if self._before:
            return ()
        suspects = [offset for offset in eligible if offset in self._suspects]
        if not suspects:
            return ()
        level = max(self._levels.get(offset, 0) for offset in suspects)
        size = _GROUPS[level] if level < _ALONE else 1
        if level == 0:
            size = min(size, MOST_SUSPECTS - len(self._levels))  # others may be parked
        return [offset for offset in suspects if self._levels.get(offset, 0) == level][:size]

    def is_lonely(self, chosen: Collection[int]) -> bool:
        """Whether nothing else may be in flight in the process while these are."""
        return any(self._levels.get(offset, 0) >= _ALONE for offset in chosen)

    def intend(self, chosen: Iterable[int]) -> None:
        """Note, for the commit that comes before, that these are about to start."""
        if self.mode is Mode.TRIAL:
            for offset in chosen:
                self._before[offset] = level = self._levels.get(offset, 0)
                self._levels[offset] = level + 1

    def begin(self, started: int) -> None:
        """Note that the commit has landed and so many records start."""
        self.is_open = True
        if self.mode is Mode.SWEEP:
            self._sweep_left -= started

    def rests(self, offset: int) -> None:
        """Take a record off trial that is parked: it stays suspect."""
        if offset in self._before:
            self._restore(offset)
            self.is_stale = True

    def clears(self, offset: int) -> None:
        """Drop all suspicion against a record that is finished."""
        self._before.pop(offset, None)
        self._levels.pop(offset, None)
        self._suspects.discard(offset)

    def lapse(self, incomplete: Container[int]) -> None:
        """Forget suspects that the log holds no more; end a mode that has served its purpose."""
        if self.mode is Mode.TRIAL:
            for offset in [offset for offset in self._suspects if offset not in incomplete]:
                self.clears(offset)
            if not self._suspects:
                self.mode, self.boundary = Mode.NORMAL, 0
        elif self.mode is Mode.SWEEP and self._sweep_left <= 0:
            self.mode = Mode.NORMAL

    def _restore(self, offset: int) -> None:
        level = self._before.pop(offset)
        if level:
            self._levels[offset] = level
        else:
            self._levels.pop(offset, None)
