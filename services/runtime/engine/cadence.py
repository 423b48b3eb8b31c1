"""How long to gather outcomes before a commit: from how busy the process is, and what waits."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from services.runtime.engine.limits import Limits

_FLOWING: Final = (0.85, 1.0)
"""Parts of a core at which gathering begins and is whole, while every record starts as it arrives:
nothing would gain by fewer commits, and outcomes that are held back bunch and make the loop late.
"""
_BACKLOGGED: Final = (0.4, 0.7)
"""Loads at which it does while records wait for a place: they gain by the CPU that is left."""
_LATE: Final = 0.1  # seconds; so late, a loop shares its core with others


class Heart:
    """Measures how late the loop is and how much of a core the process uses."""

    def __init__(
        self, *, interval: float = 0.25, cpu_time: Callable[[], float] = time.process_time
    ) -> None:
        self._interval = interval
        self._cpu_time = cpu_time
        self.utilisation = 0.0
        """CPU time of the process over the last beat, as a share of one core."""
        self.lag = 0.0
        """How late the last beat was, in seconds."""
        self.lateness = 0.0
        """How late beats are, as a share of what makes a process busy; one late beat is half."""
        self._beat_at: float | None = None

    @property
    def load(self) -> float:
        """How busy the process is, from 0 to 1: on its core, or waiting for one."""
        return max(self.utilisation, self.lateness)

    def late_by(self, now: float) -> float:
        """Say how late the loop is: at the last beat, or since then if it is missing."""
        missing = now - self._beat_at - 4 * self._interval if self._beat_at is not None else 0.0
        return max(self.lag, missing, 0.0)

    async def beat(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        self._beat_at = loop.time()
        used = self._cpu_time()
        while True:
            due = self._beat_at + self._interval
            await asyncio.sleep(self._interval)
            now, used_now = loop.time(), self._cpu_time()
            self.lag = max(now - due, 0.0)
            self.lateness = (self.lateness + min(self.lag / _LATE, 1.0)) / 2
            share = (used_now - used) / (now - self._beat_at)
            self.utilisation = (self.utilisation + min(share, 1.0)) / 2
            self._beat_at, used = now, used_now


class Cadence:
    """Commit at once while the process is idle, gather while it is busy."""

    def __init__(self, limits: Limits, heart: Heart) -> None:
        self._limits = limits
        self._heart = heart
        self.dirty = 0
        """Partitions with outcomes that are not committed."""

    def linger(self, *, is_backlogged: bool) -> float:
        """Return how long to wait after the first ready outcome of a partition."""
        idle, busiest = _BACKLOGGED if is_backlogged else _FLOWING
        load = self._heart.load if is_backlogged else self._heart.utilisation
        busy = (load - idle) / (busiest - idle)
        # A commit costs the process about a millisecond of CPU, however little it holds.
        longest = max(self._limits.gather, self.dirty / self._limits.commits_per_second)
        return longest * min(max(busy, 0.0), 1.0)
