"""What the process holds over all its lanes: calls, bytes, and the one that must run alone.

Each topic has a share of its own, so that one that stands still takes nothing from the others. A
lane that is refused leaves a callback and is told, once, when it is worth asking again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from services.runtime.engine.limits import Limits

_BATCHES: Final = 64
_PATIENCE: Final = (30.0, 600.0)  # seconds, at first and at most

Tell = Callable[[], None]


class Share:
    """Counts what one topic has in flight and says when to take no more."""

    def __init__(self, capacity: "Capacity", limits: Limits) -> None:
        self._capacity = capacity
        self._limits = limits
        self.held = 0
        """Records running or waiting to run; neither parked ones nor those that wait for their key.
        """
        self.bytes = 0
        """Bytes of records in hand and of outputs not yet published."""
        self.running = 0
        """Calls running, and those that start when a commit under way has landed."""

    @property
    def room(self) -> int:
        """How many more records to take; 0 while the byte budget is spent.

        A full share takes the next records in small batches, not one by one.
        """
        room = self._limits.in_flight - self.held
        is_worth = room > 0 and room >= self._limits.in_flight // _BATCHES
        return room if is_worth and self.bytes < self._limits.in_flight_bytes else 0

    @property
    def slots(self) -> int:
        """How many more calls may run."""
        return max(self._limits.in_flight - self.running, 0)

    def take(self, records: int, size: int) -> None:
        """Count records and bytes in."""
        self.held += records
        self.bytes += size

    def give(self, records: int, size: int) -> None:
        """Count records and bytes out."""
        self.held -= records
        self.bytes -= size
        if self.room:
            self._capacity.freed.set()

    def started(self, calls: int = 1) -> None:
        """Count calls in, at the latest when they start."""
        self.running += calls
        self._capacity.running += calls

    def ended(self, calls: int = 1) -> None:
        """Count calls out."""
        self.running -= calls
        self._capacity.ended(calls)

    def may_start(self, tell: Tell) -> bool:
        """Whether a lane may start a record now; `tell` is its way to be asked again."""
        return self._capacity.admits(tell, has_slot=self.running < self._limits.in_flight)


class Capacity:
    """The shares of all topics, and who runs alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shares: dict[str, Share] = {}
        self.running = 0
        """Calls running in the process."""
        self.freed = asyncio.Event()
        """Set when there may be room again."""
        self._refused: dict[Tell, None] = {}
        self._alone: Tell | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._resting: set[Tell] = set()
        self._patience = _PATIENCE[0]

    def of(self, topic: str) -> Share:
        """Return the share of a topic."""
        return self._shares.setdefault(topic, Share(self, self._limits))

    @property
    def held(self) -> int:
        """Records running or waiting to run."""
        return sum(share.held for share in self._shares.values())

    @property
    def bytes(self) -> int:
        """Bytes in hand."""
        return sum(share.bytes for share in self._shares.values())

    def admits(self, tell: Tell, *, has_slot: bool) -> bool:
        """Whether a start is allowed; who is refused is told when to ask again."""
        if has_slot and self._alone in (None, tell):
            return True
        self._refused[tell] = None
        return False

    def ended(self, calls: int) -> None:
        """Count calls out."""
        self.running -= calls
        if self._refused and (self._alone is None or self.running == 0):
            self._tell()

    def isolate(self, tell: Tell) -> bool:
        """Ask to run alone; True once nothing else runs. Until `rejoin` nobody else may start.

        Calls can last for minutes, so the wait is bounded: others start again after a while, and
        this one asks anew, with more patience each time.
        """
        if self._alone is None and tell not in self._resting:
            self._alone = tell
            loop = asyncio.get_running_loop()
            self._giving_up = loop.call_later(self._patience, self._give_up, tell)
        if self._alone == tell and self.running == 0:
            self._stop_waiting()
            self._patience = _PATIENCE[0]
            return True
        self._refused[tell] = None
        return False

    def rejoin(self, tell: Tell) -> None:
        """End being alone, or waiting for it."""
        self._refused.pop(tell, None)
        self._resting.discard(tell)
        if self._alone == tell:
            self._stop_waiting()
            self._alone = None
            self._tell()

    def _give_up(self, tell: Tell) -> None:
        self._alone = None
        self._resting.add(tell)
        asyncio.get_running_loop().call_later(self._patience, self._rested, tell)
        self._patience = min(self._patience * 2, _PATIENCE[1])
        self._tell()

    def _rested(self, tell: Tell) -> None:
        if tell in self._resting:
            self._resting.discard(tell)
            tell()

    def _stop_waiting(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _tell(self) -> None:
        refused, self._refused = self._refused, {}
        for tell in refused:
            tell()
