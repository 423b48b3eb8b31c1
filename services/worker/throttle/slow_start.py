"""How much of the allowance a fleet may use while it starts: sharp growth is answered 429.

The bound follows what the whole fleet really uses: it rises while it is used, sinks when the fleet
is idle, and goes back a step when the API complains. The API's threshold is not published, so
growth slows down with each complaint and recovers slowly.
"""

import math
from typing import Final

GROWS_FROM: Final = 0.4
"""Part of the bound that must be in use for it to rise."""
SHRINKS_FROM: Final = 0.2
IDLE: Final = 20.0
"""Seconds in which the bound of an idle fleet sinks by a factor of e."""
SETTLES: Final = 5.0
"""Seconds within which complaints are the same complaint."""
STEP_BACK: Final = 0.9
"""Part of the present use that is left after a complaint."""
SLOWER: Final = 0.7
SLOWEST: Final = 0.005
"""Logarithm of the least growth a second."""
PATIENCE: Final = 40.0
"""Seconds in which growth that was slowed down recovers by a factor of e."""


class SlowStart:
    """The bound of one group, as a part of the limit."""

    def __init__(self, start: float, growth: float) -> None:
        self.bound = start
        self._start = start
        self._growth = self._fastest = math.log(growth)
        self._use = 0.0
        self._complained_at = float("-inf")

    def adopt(self, bound: float) -> None:
        """Begin where the others are."""
        self.bound = max(self.bound, min(1.0, bound))

    def step(self, use: float, elapsed: float) -> None:
        """Follow the use, a part of the limit, over the seconds since the last step."""
        self._use = use
        turn = min(elapsed, 1.0)
        self._growth = min(self._fastest, self._growth * math.exp(turn / PATIENCE))
        if use >= GROWS_FROM * self.bound:
            self.bound = min(1.0, self.bound * math.exp(self._growth * turn))
        elif use < SHRINKS_FROM * self.bound:
            floor = max(self._start, min(self.bound, use / SHRINKS_FROM))
            self.bound = max(floor, self.bound * math.exp(-elapsed / IDLE))

    def complain(self, at: float) -> None:
        """Go back to a little less than what is used, and grow more slowly from there."""
        if at - self._complained_at <= SETTLES:
            return
        self._complained_at = at
        self._growth = max(SLOWEST, self._growth * SLOWER)
        self.bound = max(self._start / 2, STEP_BACK * min(self.bound, self._use))
