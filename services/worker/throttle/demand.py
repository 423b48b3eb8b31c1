"""What this replica asks for and uses of a group, as decaying averages per second."""

import math
from typing import Final

from services.worker.throttle.buckets import Amounts
from services.worker.throttle.picking import Ask

USE_MEMORY: Final = 5.0
DEMAND_MEMORY: Final = 10.0
"""Seconds over which use and demand are averaged. Demand is remembered longer: its noise makes
parts that are not quite used, and a sudden rise shows in the queue at once."""


class _Average:
    """Amounts per second, averaged over the last few seconds."""

    __slots__ = ("_average", "_fresh", "_memory", "_updated")

    def __init__(self, now: float, memory: float) -> None:
        self._memory = memory
        self._average = Amounts()
        self._fresh = [0.0, 0.0, 0.0]
        self._updated = now

    def add(self, requests: float, input_tokens: float, output_tokens: float) -> None:
        """Count; averaged when read, so that counting stays cheap."""
        fresh = self._fresh
        fresh[0] += requests
        fresh[1] += input_tokens
        fresh[2] += output_tokens

    def read(self, now: float) -> Amounts:
        """Return the average up to now."""
        elapsed = now - self._updated
        if elapsed > 0:
            self._updated = now
            kept = math.exp(-elapsed / self._memory)
            self._average = Amounts(
                *(
                    # Below 0 where more is given back than taken: cut off, it would not add up.
                    before * kept + fresh / elapsed * (1.0 - kept)
                    for before, fresh in zip(self._average, self._fresh, strict=True)
                )
            )
            self._fresh = [0.0, 0.0, 0.0]
        return self._average


class Demand:
    """What is asked for, what is granted, and what was used in all."""

    def __init__(self, now: float) -> None:
        self._asked = _Average(now, DEMAND_MEMORY)
        self._granted = _Average(now, USE_MEMORY)
        self.last_granted = float("-inf")
        self.total = [0.0, 0.0, 0.0]
        """Requests, input and output tokens charged since the start."""

    def asked(self, ask: Ask, now: float) -> None:
        """Count a call that wants to be made."""
        del now
        self._asked.add(1.0, ask.input_tokens, ask.output_tokens)

    def granted(self, ask: Ask, now: float) -> None:
        """Count a call that is made."""
        self.last_granted = now
        self._granted.add(1.0, ask.input_tokens, ask.output_tokens)
        self._count(1.0, ask.input_tokens, ask.output_tokens)

    def corrected(self, input_tokens: float, output_tokens: float) -> None:
        """Count what a call used beyond its estimate."""
        self._granted.add(0.0, input_tokens, output_tokens)
        self._count(0.0, input_tokens, output_tokens)

    def undone(self, ask: Ask) -> None:
        """Take back a grant that was not used."""
        self._granted.add(-1.0, -ask.input_tokens, -ask.output_tokens)
        self._count(-1.0, -ask.input_tokens, -ask.output_tokens)

    def wanted(self, now: float) -> Amounts:
        """Return what is asked for per second."""
        return self._asked.read(now)

    def used(self, now: float) -> Amounts:
        """Return what is used per second."""
        return self._granted.read(now)

    def _count(self, requests: float, input_tokens: float, output_tokens: float) -> None:
        total = self.total
        total[0] += requests
        total[1] += input_tokens
        total[2] += output_tokens
