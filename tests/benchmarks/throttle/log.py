"""`claude.rate.v1` in virtual time: one order for all, delays, losses, and replicas cut off."""

import asyncio
import random
from typing import Final

from services.worker.throttle.exchange import Arrived
from services.worker.throttle.record import RatePosted

DELAY: Final = (0.01, 0.15)
"""Seconds to the log and from it, least and most each."""


class Log:
    """The topic: compacted, one partition, stamped by the broker."""

    def __init__(self, rng: random.Random, loss: float = 0.0) -> None:
        self.loss = loss
        self._rng = rng
        self._last: dict[str, tuple[float, RatePosted]] = {}
        self._readers: list[Link] = []

    def append(self, replica: str, record: RatePosted | None) -> None:
        """Write a record, a tombstone where it is None."""
        at = asyncio.get_running_loop().time()
        self._last.pop(replica, None)
        if record is not None:
            self._last[replica] = at, record
        for reader in self._readers:
            reader.deliver(at, replica, record)

    def join(self, reader: "Link") -> None:
        """Hand the whole log to a reader, then all that comes."""
        for replica, (at, record) in self._last.items():
            reader.deliver(at, replica, record)
        self._readers.append(reader)

    def delay(self) -> float:
        """Draw one way's delay."""
        return self._rng.uniform(*DELAY)

    def is_lost(self) -> bool:
        """Draw whether a record is lost."""
        return self._rng.random() < self.loss


class Link:
    """One replica's connection to the log: an `Exchange`."""

    def __init__(self, log: Log) -> None:
        self.is_cut = False
        self.is_dead = False
        self._log = log
        self._arrived: Arrived | None = None
        self._next_at = 0.0

    async def run(self, arrived: Arrived) -> None:
        """Hand over every record until cancelled."""
        self._arrived = arrived
        self._log.join(self)
        await asyncio.get_running_loop().create_future()

    def post(self, record: RatePosted) -> None:
        """Write a record after a delay, if it is not lost."""
        if not (self.is_cut or self._log.is_lost()):
            self._later(self._log.delay(), self._append, record.replica, record)

    async def leave(self, replica: str) -> None:
        """Write a tombstone, unless this replica was killed."""
        self._append(replica, None)

    def forget(self, replica: str) -> None:
        """Write a tombstone for another."""
        self._append(replica, None)

    def deliver(self, at: float, replica: str, record: RatePosted | None) -> None:
        """Bring a record here, in order."""
        if self.is_cut:
            return
        loop = asyncio.get_running_loop()
        self._next_at = max(self._next_at, loop.time() + self._log.delay())
        loop.call_at(self._next_at, self._bring, at, replica, record)

    def _bring(self, at: float, replica: str, record: RatePosted | None) -> None:
        if self._arrived is not None and not self.is_dead:
            self._arrived(at, replica, record)

    def _append(self, replica: str, record: RatePosted | None) -> None:
        if not self.is_dead:
            self._log.append(replica, record)

    @staticmethod
    def _later(delay: float, *call: object) -> None:
        asyncio.get_running_loop().call_later(delay, *call)  # type: ignore[arg-type]
