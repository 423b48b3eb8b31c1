"""Token buckets on a continuous clock, and the three of them that every call is charged to.

A bucket lends: a caller gets through as soon as the level covers the cost or the bucket's depth,
whichever is less, and the whole cost is charged, into debt if need be. So the depth bounds what can
be saved up without bounding how large a call may be, and the next caller waits out the debt.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

NEVER: Final = float("inf")
FADES: Final = 0.25
"""Part of the refill by which what may be made up for shrinks, used or not."""
ROUNDING: Final = 1e-6
"""A level short by this much counts as enough: rounding must not make a caller wait."""


class Measure(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    INPUT = "input_tokens"
    OUTPUT = "output_tokens"


MEASURES: Final = tuple(Measure)


class Amounts(NamedTuple):
    """One number for each limit: a cost, a rate or a limit."""

    requests: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0

    def plus(self, other: "Amounts") -> "Amounts":
        """Add each number."""
        return Amounts(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def times(self, factor: float) -> "Amounts":
        """Multiply each number."""
        return Amounts(self[0] * factor, self[1] * factor, self[2] * factor)


ZERO: Final = Amounts()


class Bucket:
    """One limit: `rate` a second, refilled continuously.

    A call waits for `depth` at most; `most` may be saved up, and `spare` besides, which fades.
    """

    __slots__ = ("depth", "level", "most", "rate", "spare", "updated")

    def __init__(self, now: float, *, rate: float = 0.0, depth: float = 0.0) -> None:
        self.rate = rate
        self.depth = depth
        self.most = depth
        self.spare = 0.0
        self.level = 0.0
        self.updated = now

    def advance(self, now: float) -> None:
        """Refill for the time that has passed."""
        elapsed = now - self.updated
        if elapsed > 0.0:
            self.updated = now
            refill = self.rate * elapsed
            self.level = min(self.most + self.spare, self.level + refill)
            if self.spare > 0.0:
                self.spare = max(0.0, self.spare - FADES * refill)

    def forgive(self, now: float, seconds: float) -> None:
        """Be in debt no more, and let so many seconds of refill be used later, if it is soon."""
        self.advance(now)
        self.level = max(self.level, 0.0)
        if seconds > 0.0:
            self.spare = seconds * self.rate
            self.level += self.spare

    def change(self, rate: float, depth: float, now: float, most: float | None = None) -> None:
        """Set another rate and depth from now on; what was saved up beyond them is lost.

        `most` is what may be saved up, where that is more than what a call has to wait for.
        """
        self.advance(now)
        self.rate = rate
        self.depth = depth
        self.most = depth if most is None else most
        self.level = min(self.level, self.most + self.spare)

    def delay(self, cost: float) -> float:
        """Return the seconds until `cost` gets through, as of the last `advance`."""
        missing = min(cost, self.depth) - self.level
        if missing <= ROUNDING:
            return 0.0
        return missing / self.rate if self.rate > 0 else NEVER

    @property
    def fill(self) -> float:
        """How full the bucket is: 1 at its depth, 0 or less when the next caller waits."""
        return self.level / self.depth if self.depth > 0 else 0.0


class Buckets:
    """The three limits of one group, as far as they are this replica's."""

    __slots__ = ("input_tokens", "output_tokens", "requests")

    def __init__(self, now: float) -> None:
        self.requests = Bucket(now)
        self.input_tokens = Bucket(now)
        self.output_tokens = Bucket(now)

    def __iter__(self) -> Iterator[Bucket]:
        yield self.requests
        yield self.input_tokens
        yield self.output_tokens

    def change(
        self, rates: Amounts, depths: Amounts, now: float, most: Amounts | None = None
    ) -> None:
        """Set the rates per second, the depths, and how much each bucket saves up."""
        for bucket, rate, depth, saved in zip(self, rates, depths, most or depths, strict=True):
            bucket.change(rate, depth, now, saved)

    def delay(self, input_tokens: float, output_tokens: float, now: float) -> float:
        """Return the seconds until one call of this size gets through all three."""
        requests, inputs, outputs = self.requests, self.input_tokens, self.output_tokens
        requests.advance(now)
        inputs.advance(now)
        outputs.advance(now)
        return max(requests.delay(1.0), inputs.delay(input_tokens), outputs.delay(output_tokens))

    def take(self, requests: float, input_tokens: float, output_tokens: float) -> None:
        """Charge a call, into debt if need be."""
        self.requests.level -= requests
        self.input_tokens.level -= input_tokens
        self.output_tokens.level -= output_tokens

    def give_back(
        self, requests: float, input_tokens: float, output_tokens: float, now: float
    ) -> None:
        """Return what was charged too much, or charge more: negative amounts.

        What lifts a level above its depth is for whoever waits now; the next refill forgets the
        rest. Were it cut off first, calls that use less than expected would waste allowance: so
        the refill up to `now` comes before, and the waiters are served as of the same moment.
        """
        self.requests.advance(now)
        self.input_tokens.advance(now)
        self.output_tokens.advance(now)
        self.take(-requests, -input_tokens, -output_tokens)

    def lower(self, debt: Amounts, now: float) -> None:
        """Sink to a debt of so many seconds of refill, where the level is not as low already."""
        for bucket, seconds in zip(self, debt, strict=True):
            if seconds > 0:
                bucket.advance(now)
                bucket.level = min(bucket.level, -seconds * bucket.rate)

    def drain(self, now: float) -> None:
        """Lose what was saved up: after a pause the next calls come paced, not at once."""
        for bucket in self:
            bucket.advance(now)
            bucket.level = min(bucket.level, 0.0)

    def binding(self, input_tokens: float, output_tokens: float, now: float) -> Measure:
        """Name the limit that a call of this size waits for longest."""
        for bucket in self:
            bucket.advance(now)
        delays = (
            self.requests.delay(1.0),
            self.input_tokens.delay(input_tokens),
            self.output_tokens.delay(output_tokens),
        )
        return MEASURES[delays.index(max(delays))]
