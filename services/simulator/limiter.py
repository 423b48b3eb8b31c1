"""The rate limits of one organisation in one model group, as the API enforces them.

Three buckets at once: requests, input tokens (uncached input and cache writes; the caller leaves
cache reads out) and output tokens, which are charged while they are produced. Pure: all time comes
from the clock that is handed in, so throttles can be judged in virtual time.

    limiter = Limiter(Limits(1_000, 2_000_000, 400_000), burst_s=1.0, clock=loop.time)
    match limiter.admit(input_tokens=1_200):
        case Refusal(reason, retry_after): ...
        case grant:
            grant.correct_input(1_180)
            grant.produce(500, seconds=4.0, after=0.5)
            grant.finish()
    limiter.headers(datetime.now(UTC))

Not published by Anthropic and so a choice here: a request larger than the burst but not larger than
the limit is admitted by a full bucket and leaves a debt; output is refused only while its level is
not above zero; a refused request costs nothing unless `refused_cost_request` is set.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from services.simulator.account import Account
from services.simulator.bucket import Bucket, ProducedBucket, Production
from services.simulator.ramp import Acceleration, Ramp

Clock = Callable[[], float]

ROUNDING = 1_000
"""Token counts in the headers are multiples of this."""


_NAMES = {
    name: tuple(f"anthropic-ratelimit-{name}-{end}" for end in ("limit", "remaining", "reset"))
    for name in ("requests", "input-tokens", "output-tokens")
}


class Remaining(StrEnum):
    """What the `…-remaining` headers show when the burst is smaller than a minute's worth."""

    DEFICIT = "deficit"
    """The limit less what is missing from the full bucket."""
    LEVEL = "level"
    """The level of the bucket itself."""
    SCALED = "scaled"
    """The level, scaled so that a full bucket shows the limit."""


class Reason(StrEnum):
    """Why a request was refused."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    OVERSIZE = "oversize"
    RAMP = "ramp"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a minute allows."""

    requests: float
    input_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not let in."""

    reason: Reason
    retry_after: int | None
    """Whole seconds; None where waiting does not help or the API does not say."""
    limit: float
    """The limit per minute that refused it; 0 for concurrency."""


class Grant:
    """A request that was let in. `finish` it in any case."""

    __slots__ = ("_limiter", "_production", "finished", "input_tokens")

    def __init__(self, limiter: "Limiter", input_tokens: float) -> None:
        self._limiter = limiter
        self._production: Production | None = None
        self.input_tokens = input_tokens
        self.finished = False

    def correct_input(self, input_tokens: float) -> None:
        """Charge what the input really was in place of the estimate."""
        self._limiter.correct(input_tokens - self.input_tokens)
        self.input_tokens = input_tokens

    def produce(self, tokens: float, *, seconds: float, after: float = 0.0) -> None:
        """Charge `tokens` of output evenly over `seconds`, beginning `after` seconds from now."""
        self._production = self._limiter.produce(tokens, seconds=seconds, after=after)

    def finish(self) -> float:
        """End the request; return the output tokens that were never produced."""
        if self.finished:
            return 0.0
        self.finished = True
        return self._limiter.finish(self._production)


class Limiter:
    """The limits of one organisation in one model group."""

    def __init__(
        self,
        limits: Limits,
        *,
        burst_s: float = 60.0,
        remaining: Remaining = Remaining.DEFICIT,
        concurrency: int | None = None,
        ramp: Ramp | None = None,
        refused_cost_request: bool = False,
        clock: Clock,
    ) -> None:
        now = clock()
        self.limits = limits
        self.account = Account()
        self.remaining = remaining
        self.concurrency = concurrency
        self.in_flight = 0
        self._clock = clock
        self._refused_cost_request = refused_cost_request
        self._foreign_since = now
        self._acceleration = None if ramp is None else Acceleration(ramp, now)
        self.requests = Bucket(limits.requests, burst_s, now)
        self.input_tokens = Bucket(limits.input_tokens, burst_s, now)
        self.output_tokens = ProducedBucket(
            limits.output_tokens,
            burst_s,
            now,
            lambda start, end, tokens: self.account.spread(start, end, "output_tokens", tokens),
        )

    def admit(self, input_tokens: float) -> Grant | Refusal:
        """Let a request in and charge it, or say why not."""
        now = self._clock()
        refusal = self._refusal(input_tokens, now)
        if refusal is not None:
            self._count_refusal(refusal.reason, now)
            return refusal
        self.requests.take(1, now)
        self.input_tokens.take(input_tokens, now)
        if self._acceleration is not None:
            self._acceleration.add(input_tokens, now)
        self.account.add(now, "requests", 1)
        self.account.add(now, "input_tokens", input_tokens)
        self.in_flight += 1
        return Grant(self, input_tokens)

    def change(self, limits: Limits) -> None:
        """Set other limits while running; what has been used stays used."""
        self.settle_foreign()
        now = self._clock()
        self.limits = limits
        self.requests.change(limits.requests, now)
        self.input_tokens.change(limits.input_tokens, now)
        self.output_tokens.change(limits.output_tokens, now)

    def foreign(self, use: Limits) -> None:
        """Let others on the same limits use this much a minute, or nearly all, from now on."""
        self.settle_foreign()
        for bucket, drained in (
            (self.requests, use.requests),
            (self.input_tokens, use.input_tokens),
            (self.output_tokens, use.output_tokens),
        ):
            bucket.drain = drained / 60

    def settle_foreign(self) -> None:
        """Bring the account of foreign use up to now."""
        now = self._clock()
        for measure, bucket in (
            ("requests", self.requests),
            ("input_tokens", self.input_tokens),
            ("output_tokens", self.output_tokens),
        ):
            bucket.advance(now)
            amount = bucket.foreign * (now - self._foreign_since)
            if amount > 0:
                self.account.spread(self._foreign_since, now, f"foreign_{measure}", amount)
        self._foreign_since = now

    def correct(self, input_tokens: float) -> None:
        """Charge, or give back, input that was estimated wrongly; `Grant` calls this."""
        now = self._clock()
        self.input_tokens.take(input_tokens, now)
        self.account.add(now, "input_tokens", input_tokens)

    def produce(self, tokens: float, *, seconds: float, after: float) -> Production:
        """Charge output while it is produced; `Grant` calls this."""
        return self.output_tokens.produce(tokens, after, seconds, self._clock())

    def finish(self, production: Production | None) -> float:
        """End a request; `Grant` calls this."""
        self.in_flight -= 1
        return 0.0 if production is None else self.output_tokens.stop(production, self._clock())

    def headers(self, now: datetime, *, full: bool = False) -> dict[str, str]:
        """Return the twelve rate-limit headers; `full` as an oversize 429 shows them.

        Recordings show that an answer's headers are those of the request's arrival, except for
        output tokens, which `with_output` brings up to date.
        """
        second = int(now.timestamp())
        clock = self._clock()
        headers: dict[str, str] = {}
        inputs = self._show(headers, "input-tokens", self.input_tokens, clock, second, full=full)
        outputs = self._show(headers, "output-tokens", self.output_tokens, clock, second, full=full)
        self._show(headers, "requests", self.requests, clock, second, full=full)
        headers["anthropic-ratelimit-tokens-limit"] = str(
            int(self.input_tokens.limit) + int(self.output_tokens.limit)
        )
        headers["anthropic-ratelimit-tokens-remaining"] = str(inputs + outputs)
        headers["anthropic-ratelimit-tokens-reset"] = headers[
            "anthropic-ratelimit-input-tokens-reset"
        ]
        return headers

    def with_output(self, headers: dict[str, str], now: datetime) -> dict[str, str]:
        """Return headers of an earlier moment with the output tokens as they are now."""
        later = dict(headers)
        outputs = self._show(
            later, "output-tokens", self.output_tokens, self._clock(), int(now.timestamp())
        )
        inputs = int(headers["anthropic-ratelimit-input-tokens-remaining"])
        later["anthropic-ratelimit-tokens-remaining"] = str(inputs + outputs)
        return later

    def _show(
        self,
        headers: dict[str, str],
        name: str,
        bucket: Bucket,
        clock: float,
        second: int,
        *,
        full: bool = False,
    ) -> int:
        bucket.advance(clock)
        level = bucket.capacity if full else bucket.level
        deficit = bucket.capacity - level
        if self.remaining is Remaining.DEFICIT:
            remaining = bucket.limit - deficit
        elif self.remaining is Remaining.LEVEL:
            remaining = level
        else:
            remaining = level / bucket.capacity * bucket.limit
        limit = int(bucket.limit)
        rounded = int(remaining) if name == "requests" else round(remaining / ROUNDING) * ROUNDING
        shown = max(0, min(limit, rounded))
        limit_name, remaining_name, reset_name = _NAMES[name]
        headers[limit_name] = str(limit)
        headers[remaining_name] = str(shown)
        headers[reset_name] = _rfc3339(second + math.ceil(bucket.seconds_until(deficit)))
        return shown

    def _refusal(self, input_tokens: float, now: float) -> Refusal | None:
        if input_tokens > self.limits.input_tokens:
            return Refusal(Reason.OVERSIZE, None, self.limits.input_tokens)
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            return Refusal(Reason.CONCURRENCY, None, 0)
        for reason, bucket, amount in (
            (Reason.REQUESTS, self.requests, 1.0),
            (Reason.INPUT_TOKENS, self.input_tokens, input_tokens),
            (Reason.OUTPUT_TOKENS, self.output_tokens, 1e-9),
        ):
            missing = bucket.shortfall(amount, now)
            if missing > 0:
                return Refusal(
                    reason, max(1, math.ceil(bucket.seconds_until(missing))), bucket.limit
                )
        if self._acceleration is not None:
            wait = self._acceleration.wait(input_tokens, self.input_tokens.rate, now)
            if wait > 0:
                return Refusal(Reason.RAMP, max(1, math.ceil(wait)), self.limits.input_tokens)
        return None

    def _count_refusal(self, reason: Reason, now: float) -> None:
        self.account.add(now, _COUNTED_AS[reason], 1)
        if self._refused_cost_request:
            self.requests.take(1, now)


_COUNTED_AS = {
    Reason.REQUESTS: "refused",
    Reason.INPUT_TOKENS: "refused",
    Reason.OUTPUT_TOKENS: "refused",
    Reason.OVERSIZE: "refused_oversize",
    Reason.RAMP: "refused_ramp",
    Reason.CONCURRENCY: "refused_concurrency",
}


@lru_cache(maxsize=256)
def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
