"""What the workers' exchange says about the rate limits: how much there is, how much is spare."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from services.runtime.reading import scan
from sluice_contracts import Tier

LIVE: Final = 10.0
"""Seconds after which a replica that said nothing is gone."""
_KINDS: Final = ("requests", "input tokens", "output tokens")
_Three = tuple[float, float, float]


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore")

    used: _Three = (0.0, 0.0, 0.0)
    """A second."""
    limits: _Three | None = None
    """A minute."""
    held: float = 0.0
    waiting: int = 0


class _Posted(BaseModel):
    """The little of a worker's record that matters here; the rest is the workers' own."""

    model_config = ConfigDict(extra="ignore")

    groups: dict[str, _Group]


@dataclass(frozen=True, slots=True)
class Allowance:
    """One tier's rate-limit groups over all replicas; requests, input and output tokens."""

    limits: _Three | None
    """A minute; None while no answer of the API has told."""
    used: _Three
    """A second."""
    waiting: int
    is_held: bool

    @property
    def spare(self) -> float:
        """The part of the tightest limit that nobody uses, 0 where requests wait already."""
        if self.limits is None or self.is_held or self.waiting:
            return 0.0
        parts = [
            1 - used * 60 / limit
            for used, limit in zip(self.used, self.limits, strict=True)
            if limit > 0
        ]
        return max(0.0, min(parts, default=0.0))

    def drain(
        self, requests: int, input_tokens: int, output_tokens: int
    ) -> tuple[float, str] | None:
        """Return how many seconds so much takes at the whole limit, and which limit binds."""
        if self.limits is None:
            return None
        needed = (requests, input_tokens, output_tokens)
        times = [
            (need * 60 / limit, kind)
            for need, limit, kind in zip(needed, self.limits, _KINDS, strict=True)
            if limit > 0
        ]
        return max(times, default=None)


class Exchange:
    """Folds the records of `claude.rate.v1`, whoever brings them."""

    def __init__(self) -> None:
        self._posted: dict[bytes, tuple[float, _Posted]] = {}

    def on_record(self, record: Any) -> None:
        """Take a record: the newest of each replica counts, a null value means that it left."""
        if record.value is None:
            self._posted.pop(record.key, None)
            return
        try:
            posted = _Posted.model_validate_json(record.value)
        except ValidationError:
            return
        self._posted[record.key] = (record.timestamp / 1000, posted)

    def allowance(self, tier: Tier, *, now: float) -> Allowance | None:
        """Return the allowance of a tier, None where no worker has spoken lately.

        Groups are named after models, so those are the tier's whose name holds the tier's.
        """
        groups = [
            group
            for at, posted in self._posted.values()
            if now - at < LIVE
            for name, group in posted.groups.items()
            if tier in name
        ]
        if not groups:
            return None
        known = [group.limits for group in groups if group.limits is not None]
        used = tuple(sum(parts) for parts in zip(*(group.used for group in groups), strict=True))
        return Allowance(
            limits=known[-1] if known else None,
            used=(used[0], used[1], used[2]),
            waiting=sum(group.waiting for group in groups),
            is_held=any(group.held > 0 for group in groups),
        )


async def read_exchange(options: Any, topic: str) -> Exchange:
    """Read what the exchange says at this moment."""
    exchange = Exchange()
    async for _, records in scan(options, [topic]):
        for record in records:
            exchange.on_record(record)
    return exchange


class SpareRate:
    """A rate that grows while there is spare allowance and shrinks when there is none.

    It looks at what is left after this replay's own requests, so it needs no estimate of them.

    Args:
        floor: Records a second that it never goes below, and where it starts.
        reserve: The part of the limit that is left to others.
    """

    def __init__(self, *, floor: float = 1.0, reserve: float = 0.1) -> None:
        self._floor = floor
        self._reserve = reserve
        self.rate = floor

    def adjust(self, allowance: Allowance | None) -> None:
        """Take a look, every second or two."""
        if allowance is None or allowance.limits is None:
            self.rate = self._floor
        elif allowance.spare > self._reserve:
            most = allowance.limits[0] / 60
            self.rate = min(self.rate * 1.25, most)
        elif allowance.spare < self._reserve / 2:
            self.rate = max(self.rate * 0.7, self._floor)


async def keep_adjusting(
    spare: SpareRate, exchange: Exchange, tier: Tier, now: Any, *, every: float = 2.0
) -> None:
    """Adjust a rate until cancelled."""
    while True:
        spare.adjust(exchange.allowance(tier, now=now()))
        await asyncio.sleep(every)
