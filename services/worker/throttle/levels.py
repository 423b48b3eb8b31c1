"""How full the API's buckets are, read without knowing what `remaining` means.

With a burst smaller than a minute's worth the header may show the limit less what is missing, the
level itself, or the level scaled to the limit; nobody outside knows. All three rise and fall with
the level, so only the *place within the range lately seen* is used: the top is where the bucket
overflows and allowance is wasted, the bottom is where calls are refused. A slow controller keeps
the level between them: below the middle the rate is lowered until it sinks no more, because others
use the key too; in the upper third the rate may pass the limit a little, so that it does not stand
at the top.
"""

from typing import Final, NamedTuple

TARGET: Final = 0.5
PROPORTIONAL: Final = 0.10
INTEGRAL: Final = 0.006
MOST_INTEGRAL: Final = 0.03
"""Credit for a level that stood high, so that a short dip costs nothing."""
LEAST: Final = 0.3
"""The controller never takes more than this away; 429s and the limits themselves do the rest."""
CREDIT: Final = 0.04
"""How far above the limit the rate may go while a level stands at its top: there it overflows, so
what the fleet left unused a moment ago can be used now."""
TOP: Final = 0.97
"""The place from which a bucket counts as full."""
LOW: Final = 0.25
"""The place at and below which nothing more may be drawn than the limit gives."""
HIGH: Final = 0.7
"""The place above which the rate may go beyond the limit, more with each step to the top."""
GROWTH: Final = 0.01
"""The factor rises by at most this much a second."""
UNREAD_GROWTH: Final = 0.002
"""The same where nothing is read: nobody calls, and what was known grows old."""
NARROWEST: Final = 1.0
"""Seconds of refill: a range smaller than this is noise."""
FORGET: Final = 300.0
"""Seconds in which a range that is no longer filled shrinks."""
WARY: Final = 60.0
"""Seconds after a refusal in which what it took off is not given back: others, who use the rest of
the limit unevenly, come again; a shorter one finds them anew each time."""
EASED: Final = 4.0
"""How many times as fast these seconds pass, beyond once, while a level stands at its very top:
where others used the rest, it would not stay there."""
REFUSED: Final = 0.03
"""What a refusal takes off at once."""


class Readings(NamedTuple):
    """What some answers showed of one level, in seconds of refill."""

    answers: int
    total: float
    low: float
    high: float

    def plus(self, seconds: float) -> "Readings":
        """Add one answer."""
        if not self.answers:
            return Readings(1, seconds, seconds, seconds)
        low, high = min(self.low, seconds), max(self.high, seconds)
        return Readings(self.answers + 1, self.total + seconds, low, high)


NONE_READ: Final = Readings(0, 0.0, 0.0, 0.0)


class Course(NamedTuple):
    """Where a controller stands, for one who begins in the middle of the log."""

    factor: float
    integral: float
    wary: float
    seen: tuple[float, float] | None
    """The lowest and the highest reading of the range, in seconds of refill."""

    @property
    def steady(self) -> float:
        """What the factor comes back to once the level stands at the target, 1 at most.

        A dip that passes moves the factor by the proportional part, but not this.
        """
        return min(1.0, 1.0 + self.integral)


UNSET: Final = Course(1.0, 0.0, 0.0, None)


class Level:
    """One bucket of the API as headers show it, and the factor of the rate that this asks for."""

    __slots__ = ("_count", "_high", "_integral", "_low", "_place", "_sum", "_wary", "factor")

    def __init__(self) -> None:
        self.factor = 1.0
        self._integral = 0.0
        self._wary = 0.0
        self.forget()

    @property
    def room(self) -> float:
        """How freely the bucket may be drawn on: 1 from the target up, 0 near the bottom."""
        return min(1.0, max(0.0, (self._place - LOW) / (TARGET - LOW)))

    @property
    def overflows(self) -> bool:
        """Whether the bucket stood at its very top when last read: what it is owed is lost."""
        return self._place >= TOP

    def forget(self) -> None:
        """Begin a new range: the limit itself has changed."""
        self._high = float("-inf")
        self._low = float("inf")
        self._place = 1.0
        self._sum = 0.0
        self._count = 0

    @property
    def course(self) -> Course:
        """All that later readings build on."""
        seen = (self._low, self._high) if self._low <= self._high else None
        return Course(self.factor, self._integral, self._wary, seen)

    def adopt(self, course: Course) -> None:
        """Begin where the others are: what they fold from here on gives the same here."""
        self.factor, self._integral, self._wary, seen = course
        if seen is not None:
            self._low, self._high = seen

    def see(self, readings: Readings, resolution: float) -> None:
        """Take readings that are known to within `resolution` seconds."""
        self._high = max(self._high, readings.high)
        self._low = min(self._low, readings.low)
        narrowest = max(NARROWEST, 2 * resolution)
        low = max(0.0, min(self._low, self._high - narrowest))
        span = max(self._high - low, narrowest)
        mean = readings.total / readings.answers
        self._place = min(1.0, max(0.0, (mean - low + resolution / 2) / span))
        self._sum += self._place * readings.answers
        self._count += readings.answers

    def refused(self, wary: float = WARY) -> None:
        """Lower the factor because a call was refused, and for `wary` seconds what it rises to."""
        self._integral = max(LEAST - 1.0, min(0.0, self._integral) - REFUSED)
        self.factor = max(LEAST, self.factor - REFUSED)
        self._wary = wary

    def tick(self, elapsed: float) -> None:
        """Move the factor for the readings since the last tick."""
        if self._count == 0:
            self._integral = min(0.0, self._integral + UNREAD_GROWTH * elapsed)
            self.factor = min(1.0, self.factor + UNREAD_GROWTH * elapsed)
            return
        place = self._sum / self._count
        error = place - TARGET
        self._sum, self._count = 0.0, 0
        step = INTEGRAL * error * elapsed
        if self._wary > 0:  # the hold has filled the bucket: that it is full now says nothing
            step = min(step, 0.0)
        self._integral = min(MOST_INTEGRAL, max(LEAST - 1.0, self._integral + step))
        most = 1.0 + CREDIT * _beyond(place)
        wanted = min(most, max(LEAST, 1.0 + PROPORTIONAL * error + self._integral))
        if self._wary > 0:
            self._wary -= elapsed * (1.0 + EASED * _beyond(place))
            wanted = min(wanted, 1.0 + self._integral)
        self.factor = min(wanted, self.factor + GROWTH * elapsed)
        shrink = min(1.0, elapsed / FORGET) * (self._high - self._low)
        self._high -= shrink * (1 - self._place)
        self._low += shrink * self._place


def _beyond(place: float) -> float:
    """Return how far a place is from `HIGH` to the top, from 0 to 1."""
    return max(0.0, place - HIGH) / (1.0 - HIGH)
