"""How fast a replay may send, and whether it may go on at all."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from sluice_contracts import Tier

_TICK: Final = 0.2
"""Seconds that a lane waits before it asks again."""
_BURST: Final = 0.25
"""Seconds of the rate that may be sent at once."""


class Stopped(Exception):  # noqa: N818 -- an order, not a failure
    """Nothing more is to be sent; `str()` says why."""


class Bucket:
    """Fills at a rate, and holds no more than a moment's worth.

    Args:
        rate: Records a second; asked again each time, so that it may change while it runs.
    """

    def __init__(self, rate: Callable[[], float]) -> None:
        self.rate: Final = rate
        self._filled_at = asyncio.get_running_loop().time()
        self._level = 1.0

    def fill(self) -> int:
        """Let in what has come since the last time; return how many records it is good for."""
        now, rate = asyncio.get_running_loop().time(), self.rate()
        filled = self._level + (now - self._filled_at) * rate
        self._filled_at, self._level = now, min(filled, max(1.0, rate * _BURST))
        return int(self._level)

    def drain(self, records: int) -> None:
        """Take records out."""
        self._level -= records


class Pace:
    """Hands out permission to send, to all lanes together.

    Args:
        buckets: What each tier's requests are taken out of; one bucket for several tiers makes
            them share its rate, one each lets no tier wait for another's allowance.
        canary: Records that are sent first; the others wait until `pass_canary`. 0 for none.
        sent: Records that earlier runs of the plan have sent.
    """

    def __init__(self, buckets: Mapping[Tier, Bucket], *, canary: int, sent: int = 0) -> None:
        self._buckets = buckets
        self.canaries: Final = max(canary - sent, 0)
        """Canaries that are this run's to send."""
        self._canary_left = self.canaries
        self._passed = asyncio.Event()
        self._stopped: str | None = None
        self.canary_sent: Final = asyncio.Event()
        """Set once every canary is handed out."""
        if not self._canary_left:
            self.canary_sent.set()
            self._passed.set()

    @property
    def stopped(self) -> str | None:
        """Why nothing more is sent, None while it goes on."""
        return self._stopped

    def pass_canary(self) -> None:
        """Let the others follow."""
        self._passed.set()

    def stop(self, why: str) -> None:
        """Send nothing more; the first reason stays."""
        self._stopped = self._stopped or why

    async def take(self, tier: Tier, most: int) -> int:
        """Wait until some may be sent to a tier, at least one and at most so many.

        Returns how many.

        Raises:
            Stopped: Nothing more is to be sent.
        """
        while True:
            if self._stopped is not None:
                raise Stopped(self._stopped)
            bucket = self._buckets[tier]
            if granted := self._grant(bucket, most):
                return granted
            await asyncio.sleep(min(_TICK, max(0.005, 1 / bucket.rate())))

    def _grant(self, bucket: Bucket, most: int) -> int:
        granted = min(most, bucket.fill())
        if not self._passed.is_set():
            granted = min(granted, self._canary_left)
            self._canary_left -= granted
            if not self._canary_left:
                self.canary_sent.set()
        bucket.drain(granted)
        return granted
