"""What a group may use by all that is known of it: limits, whom they are believed from, and levels.

Order of belief: the headers of the newest answer, then the Rate Limits API, then the settings; the
ceiling of the settings caps them all.
"""

from dataclasses import dataclass
from typing import Final

from services.worker.throttle.buckets import MEASURES, Amounts, Measure
from services.worker.throttle.headers import Reading
from services.worker.throttle.levels import NONE_READ, Readings
from services.worker.throttle.settings import GroupLimits

BURST_KNOWN: Final = 60.0
"""No bucket holds more than a minute's worth: a longer way to full is debt."""
HEARSAY: Final = 1e9
"""Age in seconds of limits that no answer has shown."""
ERROR: Final = 400
OUTPUT: Final = MEASURES.index(Measure.OUTPUT)


def per_minute(limits: GroupLimits) -> Amounts:
    """Return limits of the settings as amounts."""
    return Amounts(limits.requests, limits.input_tokens, limits.output_tokens)


@dataclass(frozen=True, slots=True)
class Observed:
    """Limits per minute as an answer showed them, and when its call was sent."""

    limits: Amounts
    at: float


class Allowance:
    """What one replica knows of one group's limits."""

    def __init__(self, start: Amounts, ceiling: Amounts | None) -> None:
        self.ceiling = ceiling
        self.observed: Observed | None = None
        self._start = start
        self._told: Amounts | None = None
        self._sent_at = float("-inf")
        self._read = [NONE_READ, NONE_READ, NONE_READ]

    @property
    def limits(self) -> Amounts:
        """The limits per minute that hold, as far as this replica knows."""
        if self.observed is not None:
            return self.cap(self.observed.limits)
        return self.cap(self._told or self._start)

    @property
    def heard(self) -> Amounts | None:
        """The limits per minute that the API itself has told, whatever the settings allow of them.

        None before the first answer, where there is no admin key.
        """
        return self.observed.limits if self.observed is not None else self._told

    def cap(self, limits: Amounts) -> Amounts:
        """Apply the ceiling of the settings."""
        if self.ceiling is None:
            return limits
        return Amounts(*(min(pair) for pair in zip(limits, self.ceiling, strict=True)))

    def tell(self, limits: Amounts) -> None:
        """Take what the Rate Limits API says."""
        self._told = limits

    def adopt(self, limits: Amounts, at: float) -> None:
        """Take limits that another replica read off a call sent at `at`, where that is newer."""
        if self.observed is None or at > self.observed.at:
            self._believe(limits, at)

    def known(self, now: float) -> tuple[Amounts, float] | None:
        """Return limits worth telling the others, and their age; hearsay counts as very old."""
        if self.observed is not None:
            return self.observed.limits, now - self.observed.at
        return None if self._told is None else (self._told, HEARSAY)

    def see(self, reading: Reading, status: int, sent_at: float) -> Amounts | None:
        """Take the headers of an answer, unless one to a call that was sent later was seen.

        Headers show the moment at which the API took the call, however long the answer took, so
        the order of sending is theirs. Recordings show that of the output tokens only they show
        the end instead.

        Returns:
            Seconds of debt per bucket, where the API shows more than an empty bucket; None where
            nothing was learned of it.
        """
        known = self.observed
        if known is None or sent_at >= known.at:
            self._believe(reading.limits, sent_at)
        elif reading.limits != known.limits:
            return None  # a late word on buckets that are of another size by now
        if status >= ERROR:
            return None  # an error may show full buckets; it never raises a level
        is_newest = sent_at >= self._sent_at
        for index, (limit, remaining) in enumerate(
            zip(reading.limits, reading.remaining, strict=True)
        ):
            if is_newest or index == OUTPUT:
                self._read[index] = self._read[index].plus(remaining / limit * 60.0)
        if not is_newest:
            return None
        self._sent_at = sent_at
        return Amounts(*(max(0.0, wait - BURST_KNOWN) for wait in reading.reset_in))

    def readings(self) -> tuple[Readings, Readings, Readings]:
        """Return what was read of the levels since this was last asked."""
        read = self._read[0], self._read[1], self._read[2]
        self._read = [NONE_READ, NONE_READ, NONE_READ]
        return read

    def _believe(self, limits: Amounts, at: float) -> None:
        if self.observed is None or self.observed.limits != limits:
            self._read = [NONE_READ, NONE_READ, NONE_READ]
        self.observed = Observed(limits, at)
