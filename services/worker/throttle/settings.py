"""How the throttle is configured; limits here are only where it starts and what it never passes."""

from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from services.runtime.settings import Block

ROUNDS: Final = 3
"""How many records a lease has to cover at least: one that is lost or late must not end it."""


class GroupLimits(Block):
    """Limits per minute of one rate-limit group."""

    requests: int = Field(default=1_000, ge=1)
    """Requests a minute."""
    input_tokens: int = Field(default=450_000, ge=1)
    """Uncached input tokens a minute, cache writes included; cache reads are free."""
    output_tokens: int = Field(default=90_000, ge=1)
    """Output tokens a minute, thinking included."""


class ThrottleSettings(Block):
    """How calls are paced inside the organisation's limits."""

    start: GroupLimits = GroupLimits()
    """Assumed for a group until the API says its limits, with the headers of the first answer."""
    ceilings: dict[str, GroupLimits] = Field(default_factory=dict)
    """Never more than this for a group, whatever the API allows (JSON: group to limits); leaves
    room for other users of the key."""
    safety: float = Field(default=0.995, gt=0, le=1)
    """Part of the limit that is used. What is left over lets the API's buckets recover from noise;
    below 0.99 it only costs throughput (`docs/throttle.md`)."""
    burst: timedelta = timedelta(milliseconds=300)
    """How much unused allowance a replica may save up, of its part or of an equal one. The API's
    own burst is not published; a client burst larger than it is the largest source of 429s."""
    slow_start: float = Field(default=0.2, gt=0, le=1)
    """Part of the limit that a fleet begins with after a deploy or when it was idle."""
    ramp_growth: float = Field(default=1.03, gt=1, le=2)
    """Growth a second while the allowance is used: doubled in 23 s. Sharp growth is answered 429,
    at a threshold that is not published."""
    output_quantile: float = Field(default=0.75, gt=0, lt=1)
    """Which quantile of a prompt's past output is reserved; `max_tokens` is never reserved."""
    max_in_flight: int = Field(default=2_000, ge=1)
    """Calls in flight for one group at most; lowered while the API is overloaded."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Weight of a tenant in the fair division of tokens (JSON: tenant to number above 0); default
    1."""
    least_share: float = Field(default=0.05, ge=0, lt=0.3)
    """Part of the tokens that each lower priority gets while a higher one has a backlog."""
    exchange_interval: timedelta = Field(
        default=timedelta(milliseconds=500), ge=timedelta(milliseconds=100)
    )
    """How often this replica says what it needs and uses on `claude.rate.v1`."""
    lease: timedelta = timedelta(seconds=2)
    """A replica not heard of for this long loses its share to the others."""
    lost_share: float = Field(default=0.1, gt=0, le=0.5)
    """Part of its last share that a replica keeps when it cannot read or write the topic."""
    limits_interval: timedelta = timedelta(minutes=5)
    """How often the Rate Limits API is asked, where an admin key is given."""

    @model_validator(mode="after")
    def _lease_covers_rounds(self) -> Self:
        if self.lease < ROUNDS * self.exchange_interval:
            least = ROUNDS * self.exchange_interval.total_seconds()
            raise ValueError(
                f"lease {self.lease.total_seconds():g} s is less than {ROUNDS} times"
                f" exchange_interval {self.exchange_interval.total_seconds():g} s: replicas that"
                f" live would lose their shares; set THROTTLE__LEASE to {least:g}s or more"
            )
        return self
