"""When a lane's records start: freely, or after a commit that says so (`suspicion.py`)."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from services.runtime.engine.calls import Calls
from services.runtime.engine.capacity import Capacity, Share
from services.runtime.engine.ledger import Ledger
from services.runtime.engine.metadata import Mode
from services.runtime.engine.ports import Record
from services.runtime.engine.suspicion import Suspicion

_PATIENCE: Final = 1.0  # seconds, for suspects that the log may hold no more


class Starts:
    """Starts what is waiting, as soon as suspicion and capacity allow it."""

    def __init__(
        self,
        calls: Calls,
        capacity: Capacity,
        share: Share,
        ledger: Ledger,
        suspicion: Suspicion,
        *,
        is_allowed: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        """Take what starts are decided by.

        Args:
            calls: The records in hand.
            capacity: What the process holds.
            share: What the topic holds.
            ledger: The lane's.
            suspicion: The lane's.
            is_allowed: Whether anything may start now.
            wake: Makes the lane look whether it should commit.
        """
        self._calls = calls
        self._capacity = capacity
        self._share = share
        self._is_allowed = is_allowed
        self._ledger = ledger
        self._suspicion = suspicion
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._fetched_at = self._loop.time()
        self._seeks_solitude = False
        self.wants_commit = False
        """Whether a commit must come before the next start, or correct the last one."""

    def fetched(self) -> None:
        """Note that records have come."""
        self._fetched_at = self._loop.time()
        self._suspicion.lapse(self._ledger)
        self.go()

    def go(self) -> None:
        """Start what may start, or ask for the commit that must come first."""
        waiting = self._calls.waiting
        if not waiting or not self._is_allowed():
            return
        if self._suspicion.needs_intent:
            self.wants_commit = True
            self._wake()
            return
        while waiting and self._share.may_start(self._told):
            self._calls.start(waiting.popleft())

    def rests(self, record: int) -> None:
        """Note that a record is parked: if it was on trial, the log must know that it is not."""
        self._suspicion.rests(record)
        if self._suspicion.is_stale:
            self.wants_commit = True
            self._wake()

    def due_at(self, earliest: float) -> float:
        """Say when to commit for the sake of starts; suspects are tried once all are fetched."""
        suspicion, ledger = self._suspicion, self._ledger
        is_fetched = ledger.position >= suspicion.boundary or not ledger.awaited
        if suspicion.mode is not Mode.TRIAL or suspicion.is_stale or is_fetched:
            return earliest
        return max(earliest, self._fetched_at + _PATIENCE)

    def choose(self) -> list[Record]:
        """Choose what starts once the commit that follows has landed, and count it as running."""
        self.wants_commit = False
        waiting, suspicion = self._calls.waiting, self._suspicion
        if not suspicion.needs_intent or not waiting or not self._is_allowed():
            return []
        if not self._share.may_start(self._told):
            return []
        eligible = suspicion.choose([record.offset for record in waiting])
        offsets = frozenset(islice(eligible, self._share.slots))
        is_lonely = suspicion.is_lonely(offsets)
        self._seeks_solitude = is_lonely and not self._capacity.isolate(self._told)
        if self._seeks_solitude:
            return []
        suspicion.intend(offsets)
        self._share.started(len(offsets))  # or another lane might be told that nobody runs
        return [record for record in waiting if record.offset in offsets]

    def begin(self, chosen: Sequence[Record]) -> None:
        """Start what was chosen, now that the log knows of it."""
        self._suspicion.begin(len(chosen))
        if not self._is_allowed():
            for record in chosen:
                self.rests(record.offset)
        else:
            offsets = {record.offset for record in chosen}
            left = (record for record in self._calls.waiting if record.offset not in offsets)
            self._calls.waiting = deque(left)
            for record in chosen:
                self._calls.start(record)
        self._share.ended(len(chosen))  # they count by themselves now
        self._suspicion.lapse(self._ledger)
        if not self._calls.running and not self._seeks_solitude:
            # Only now: until this commit, the log said that the one which was alone is on trial.
            self._capacity.rejoin(self._told)
        self.go()

    def undo(self, chosen: Sequence[Record]) -> None:
        """Take back a choice whose commit has failed."""
        self._share.ended(len(chosen))
        self._suspicion.is_stale = True
        self.wants_commit = True
        for record in chosen:
            self._suspicion.rests(record.offset)

    def withdraw(self) -> None:
        """Stand in nobody's way: nothing will start here any more."""
        self._capacity.rejoin(self._told)

    def _told(self) -> None:
        self.go()
