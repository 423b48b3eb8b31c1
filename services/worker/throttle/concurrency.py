"""How many calls of one group may be in flight: lowered by 529, and by nothing that has a rate.

An overloaded API says nothing about our own limits, so the buckets stay as they are. Additive
increase, multiplicative decrease; loss-based on purpose, because the latency of a model follows the
length of its answers and tells nothing about load.
"""

from typing import Final

DECREASE: Final = 0.7
INCREASE: Final = 0.01
"""Part of the maximum that is won back in one round of successful calls."""
QUIET: Final = 1.0
"""Seconds within which further refusals count as the same event, where their start is unknown."""


class Concurrency:
    """The cap on calls in flight of one group."""

    def __init__(self, most: int) -> None:
        self.limit = float(most)
        self._most = float(most)
        self._lowered_at = float("-inf")

    def succeeded(self, in_flight: int) -> None:
        """Win back a little, if the cap was what held us."""
        if self.limit < self._most and in_flight * 2 >= self.limit:
            self.limit = min(self._most, self.limit + max(1.0, self._most * INCREASE) / self.limit)

    def overloaded(self, in_flight: int, now: float, sent_at: float | None = None) -> None:
        """Lower the cap, once for all calls that were sent before it was last lowered."""
        sent = now - QUIET if sent_at is None else sent_at
        if sent <= self._lowered_at:
            return
        self._lowered_at = now
        self.limit = max(1.0, min(self.limit, in_flight + 1.0) * DECREASE)
