"""A token bucket that may go into debt, and one that is charged while an answer is produced.

Both are advanced lazily: nothing runs between two calls, so a clock in virtual time is as good as a
real one. What a bucket was charged, second by second, is kept by `account.py`.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

MINUTE = 60.0
FOREIGN_CEILING = 0.98

Charge = Callable[[float, float, float], None]
"""Told of every stretch of production: from, to, tokens."""


class Bucket:
    """One limit per minute, refilled continuously, full at first.

    The level may be negative: the API charges what it finds out later (a corrected input count, an
    answer longer than expected), and the debt is paid off before anyone else is let in.
    """

    __slots__ = ("burst_s", "capacity", "drain", "level", "limit", "rate", "updated")

    def __init__(self, limit: float, burst_s: float, now: float) -> None:
        self.burst_s = burst_s
        self.drain = 0.0
        self.updated = now
        self.limit = self.rate = self.capacity = self.level = 0.0
        self.change(limit, now)
        self.level = self.capacity

    def change(self, limit: float, now: float) -> None:
        """Set another limit; what has been used stays used."""
        self.advance(now)
        used = self.capacity - self.level
        self.limit = limit
        self.rate = limit / MINUTE
        # Less than one whole request could never be taken, whatever the burst.
        self.capacity = max(1.0, self.rate * self.burst_s)
        self.level = self.capacity - min(used, self.capacity)

    def advance(self, now: float) -> None:
        """Refill for the time that has passed, less what others drain."""
        self._flow(now, self.rate - self.foreign)

    @property
    def foreign(self) -> float:
        """What others take a second: they are limited too, so never quite all of the refill."""
        return min(self.drain, FOREIGN_CEILING * self.rate)

    def take(self, amount: float, now: float) -> None:
        """Charge `amount`, into debt if need be; a negative amount gives back."""
        self.advance(now)
        self.level = min(self.capacity, self.level - amount)

    def shortfall(self, amount: float, now: float) -> float:
        """Return how much is missing for `amount`: 0 when it fits.

        What is larger than the whole bucket fits a full bucket and leaves a debt. Otherwise a small
        burst would refuse for ever what the limit per minute allows.
        """
        self.advance(now)
        return max(0.0, min(amount, self.capacity) - self.level)

    def seconds_until(self, missing: float) -> float:
        """Return how long the refill takes to bring `missing`."""
        return missing / (self.rate - self.foreign)

    def _flow(self, now: float, rate: float) -> None:
        if now > self.updated:
            self.level = min(self.capacity, self.level + rate * (now - self.updated))
            self.updated = now


@dataclass(eq=False, slots=True)
class Production:
    """An answer being produced: so many tokens a second between two moments."""

    rate: float
    end: float
    began: bool = False
    over: bool = False


@dataclass(order=True, slots=True)
class _Turn:
    """A moment at which the total rate of production changes."""

    at: float
    number: int
    begins: bool = field(compare=False)
    production: Production = field(compare=False)


class ProducedBucket(Bucket):
    """A bucket charged evenly while answers are produced, not when they are asked for."""

    __slots__ = ("_charge", "_number", "_producing", "_turns")

    def __init__(self, limit: float, burst_s: float, now: float, charge: Charge) -> None:
        self._charge = charge
        self._turns: list[_Turn] = []
        self._producing = 0.0
        self._number = 0
        super().__init__(limit, burst_s, now)

    def produce(self, tokens: float, after: float, seconds: float, now: float) -> Production:
        """Charge `tokens` evenly over `seconds`, beginning `after` seconds from now."""
        self.advance(now)
        if seconds <= 0:
            production = Production(rate=0.0, end=now, began=True, over=True)
            self.level -= tokens
            self._charge(now, now, tokens)
            return production
        production = Production(rate=tokens / seconds, end=now + after + seconds)
        if after > 0:
            self._turn(now + after, production, begins=True)
        else:
            production.began = True
            self._producing += production.rate
        self._turn(production.end, production, begins=False)
        return production

    def stop(self, production: Production, now: float) -> float:
        """End a production early and return the tokens that were not produced."""
        self.advance(now)
        if production.over:
            return 0.0
        production.over = True
        if production.began:
            self._producing -= production.rate
        return max(0.0, production.end - now) * production.rate

    def advance(self, now: float) -> None:
        """Refill and charge piece by piece, so that the cap on the level is exact."""
        while self._turns and self._turns[0].at <= now:
            turn = heapq.heappop(self._turns)
            self._advance_evenly(turn.at)
            self._take_turn(turn)
        self._advance_evenly(now)

    def _advance_evenly(self, now: float) -> None:
        produced = self._producing * (now - self.updated)
        start = self.updated
        # In one flow, because the level is capped at every moment.
        self._flow(now, self.rate - self.foreign - self._producing)
        if produced > 0:
            self._charge(start, now, produced)

    def _take_turn(self, turn: _Turn) -> None:
        production = turn.production
        if production.over:
            return
        if turn.begins:
            production.began = True
            self._producing += production.rate
        else:
            production.over = True
            self._producing -= production.rate
        if not self._turns:
            self._producing = 0.0  # rounding must not leak tokens over a long run

    def _turn(self, at: float, production: Production, *, begins: bool) -> None:
        self._number += 1
        heapq.heappush(self._turns, _Turn(at, self._number, begins, production))
