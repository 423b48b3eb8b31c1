"""The acceleration limit: input may grow, but not at once.

The API's thresholds are not published. This one has the published shape: sharp growth is refused
with `retry-after`, steady growth is not. Short-term use (2 s) may be at most `growth` times
long-term use (30 s), or a share of the limit, whichever is more. With a growth of 2 a caller that
doubles every 20 s passes.
"""

import math
from dataclasses import dataclass

LONG_S = 30.0
SHORT_S = 2.0


@dataclass(frozen=True, slots=True)
class Ramp:
    """How fast input may grow."""

    growth: float = 2.0
    """Short-term use may be this many times long-term use."""
    floor: float = 0.2
    """A share of the limit that is never refused as growth."""


class Acceleration:
    """Two decaying averages of the input rate of one group."""

    def __init__(self, ramp: Ramp, now: float) -> None:
        self._ramp = ramp
        self._long = self._short = 0.0
        self._updated = now

    def wait(self, tokens: float, rate_limit: float, now: float) -> float:
        """Return 0 when `tokens` may be added, else the seconds until they may."""
        self._decay(now)
        allowed = max(self._ramp.floor * rate_limit, self._ramp.growth * self._long)
        wanted = self._short + tokens / SHORT_S
        if wanted <= allowed or self._short == 0:
            return 0.0
        room = max(allowed - tokens / SHORT_S, allowed / 10)
        return max(0.0, SHORT_S * math.log(self._short / room)) if self._short > room else 0.0

    def add(self, tokens: float, now: float) -> None:
        """Count admitted input."""
        self._decay(now)
        self._short += tokens / SHORT_S
        self._long += tokens / LONG_S

    def _decay(self, now: float) -> None:
        elapsed = now - self._updated
        if elapsed > 0:
            self._short *= math.exp(-elapsed / SHORT_S)
            self._long *= math.exp(-elapsed / LONG_S)
            self._updated = now
