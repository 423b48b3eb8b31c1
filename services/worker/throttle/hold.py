"""A hold: until when a group makes no calls because the API said so, and what that kept back.

Output is charged by the API while it is produced. So the calls that a hold kept back are missing
long after it: those in flight end, the API's bucket fills up and overflows. What was kept back is
remembered, and may be made up for once the API's bucket is seen to be full.
"""

from enum import StrEnum
from typing import Final

TOLD_LATE: Final = 5.0
"""Seconds by which two replicas may differ over the end of one hold."""
SAME: Final = 0.5
"""Seconds by which the end of a hold may come later than known and still be the same hold."""
MOST_MISSED: Final = 3.0
"""Seconds of allowance that are remembered at most: about what calls in flight make up."""
REMEMBERED: Final = 5.0
"""Seconds after a hold for which it is remembered what it kept back."""


class HoldKind(StrEnum):
    """Why a group has to wait, or make fewer calls at a time, by the API's own word."""

    RATE = "rate"
    RAMP = "ramp"
    SPEND = "spend"
    CONCURRENCY = "concurrency"
    OVERLOADED = "overloaded"


class Hold:
    """The hold of one group; times are seconds on the event loop's clock."""

    def __init__(self, now: float) -> None:
        self.until = now
        self.kind: HoldKind | None = None
        """Why, while it lasts."""
        self._since = now
        self._pardoned_until = now
        self._missed = 0.0

    def begin(self, until: float, kind: HoldKind, now: float, *, is_told: bool) -> bool:
        """Hold until then; False where it is held as long already.

        Args:
            until: The end.
            kind: Why.
            now: The time.
            is_told: Whether another replica says so; it may not know yet that the hold is over.
        """
        # Told in seconds that are left, each time a little late: it must not grow on its way.
        known = max(self._pardoned_until, self.until + SAME) if is_told else self.until
        if until <= known:
            return False
        if self.kind is None:
            if now - self.until >= REMEMBERED:
                self._missed = 0.0
            self._since = now
        self.until, self.kind = until, kind
        return True

    def pardon(self, now: float) -> None:
        """End it early, whatever the others still say."""
        self._pardoned_until = self.until + TOLD_LATE
        self.until = now

    def ends(self, now: float) -> bool:
        """End it if its time is over; whether that is so now."""
        if self.kind is None or now < self.until:
            return False
        if self.kind is HoldKind.RATE:
            self._missed = min(MOST_MISSED, self._missed + now - self._since)
        self.kind = None
        return True

    def missed(self, now: float) -> float:
        """Take the seconds for which refusals kept calls back lately: they are told once."""
        if self.kind is not None:
            return 0.0
        missed, self._missed = self._missed, 0.0
        return missed if now - self.until < REMEMBERED else 0.0
