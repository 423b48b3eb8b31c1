"""How fast a replay may send, and whether it may go on at all."""

import asyncio
from collections.abc import Callable
from typing import Final

_TICK: Final = 0.2
"""Seconds that a lane waits before it asks again."""
_BURST: Final = 0.25
"""Seconds of the rate that may be sent at once."""


class Stopped(Exception):  # noqa: N818 -- an order, not a failure
    """Nothing more is to be sent; `str()` says why."""


class Pace:
    """Hands out permission to send, to all lanes together.

    Args:
        rate: Records a second; asked again each time, so that it may change while it runs.
        canary: Records that are sent first; the others wait until `pass_canary`. 0 for none.
        sent: Records that earlier runs of the plan have sent.
    """

    def __init__(self, rate: Callable[[], float], *, canary: int, sent: int = 0) -> None:
        self._rate = rate
        self.canaries: Final = max(canary - sent, 0)
        """Canaries that are this run's to send."""
        self._canary_left = self.canaries
        self._passed = asyncio.Event()
        self._stopped: str | None = None
        self._filled_at = asyncio.get_running_loop().time()
        self._level = 1.0
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

    async def take(self, most: int) -> int:
        """Wait until some may be sent, at least one and at most so many; return how many.

        Raises:
            Stopped: Nothing more is to be sent.
        """
        while True:
            if self._stopped is not None:
                raise Stopped(self._stopped)
            if granted := self._grant(most):
                return granted
            await asyncio.sleep(min(_TICK, max(0.005, 1 / self._rate())))

    def _grant(self, most: int) -> int:
        now, rate = asyncio.get_running_loop().time(), self._rate()
        filled = self._level + (now - self._filled_at) * rate
        self._filled_at, self._level = now, min(filled, max(1.0, rate * _BURST))
        granted = min(most, int(self._level))
        if not self._passed.is_set():
            granted = min(granted, self._canary_left)
            self._canary_left -= granted
            if not self._canary_left:
                self.canary_sent.set()
        self._level -= granted
        return granted
