"""Keeps a tier from spending records while nothing of it can succeed.

Closed by a fatal error or a run of dead letters. A canary opens it: a tiny call that is nobody's
request and proves key, wallet and model. After a run of dead letters that proves little, so the
gate then lets one request through at a time, until one succeeds. Nobody waits at it: a record that
may not pass is handed back to the engine, and none is fetched meanwhile.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final, Self

import structlog

from services.runtime.metrics import Metrics
from services.worker.errors import FatalError, NotNow, SluiceError
from services.worker.settings import GuardSettings
from sluice_contracts import FailureCode, Tier

_log = structlog.get_logger(__name__)
_ANSWERED: Final = frozenset({FailureCode.RATE_LIMITED, FailureCode.OVERLOADED})
"""Failures of a canary that prove key, wallet and model all the same."""
_TRIAL: Final = 10.0
"""Seconds after which a record asks again while another is on trial: about a call."""
_LONGEST_REST: Final = 60.0


class Gate:
    """The gate of one tier; enter it to let its canary run.

    Args:
        tier: Whose.
        canary: Makes the tiny call; raises what a request's call would.
        settings: How often to try.
        metrics: Where it says that it does not stand open.
    """

    def __init__(
        self,
        tier: Tier,
        canary: Callable[[], Awaitable[object]],
        settings: GuardSettings,
        metrics: Metrics,
    ) -> None:
        self._tier = tier
        self._canary = canary
        self._first = settings.first_probe.total_seconds()
        self._longest = settings.max_probe.total_seconds()
        self._metrics = metrics
        self._opened_at = float("-inf")
        self._probes_at = 0.0
        self._pause = 0.0
        self._doubt: FailureCode | None = None
        """The cause of a run of dead letters, until a request has succeeded since."""
        self._run: str | None = None
        self._stop: str | None = None
        self._on_trial: object = None
        self._probe: asyncio.Task[None] | None = None
        self.is_closed = False
        """Whether nothing passes."""

    async def __aenter__(self) -> Self:
        """Stand open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the canary."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe

    @property
    def reason(self) -> str | None:
        """Why it does not stand open, for people; None where it does."""
        return self._stop or self._run

    @property
    def takes(self) -> bool:
        """Whether a record would pass now."""
        return not self.is_closed and (self._doubt is None or self._on_trial is None)

    def enter(self, visitor: object) -> None:
        """Pass, or be told when to come again; who passes a half-open gate is on trial.

        Raises:
            NotNow: The gate is closed, or somebody else is on trial.
        """
        if not self.takes:
            raise self.refusal()
        if self._doubt is not None:
            self._on_trial = visitor

    def leave(self, visitor: object) -> None:
        """End the visitor's trial, if it is on one that came to no result: the next may pass."""
        if self._on_trial is visitor:
            self._on_trial = None

    def succeeded(self, visitor: object) -> None:
        """Open a half-open gate for a visitor on trial; in an open one, forget past alarms."""
        if self._on_trial is visitor and self._doubt is not None:
            self._show(self._doubt, is_closed=False)
            _log.info("gate.opened", tier=self._tier, code=self._doubt)
            self._doubt = self._on_trial = self._run = None
        if self._doubt is None:
            self._pause = 0.0

    def failed(self, visitor: object, code: FailureCode) -> None:
        """Close a half-open gate again, for longer, if a visitor on trial failed like the run."""
        if self._on_trial is visitor and code == self._doubt and not self.is_closed:
            self._rest()

    def close(self, error: FatalError, *, began: float) -> bool:
        """Close after a fatal error; returns False where the error is older than the last opening.

        Calls that were in flight when the key was mended still fail; they must not close it again.
        """
        if began < self._opened_at:
            return False
        if not self.is_closed:
            self._stop = f"{error.code}: {error.detail}"
            self._tell(error.code, error.detail, api_error_type=error.api_error_type)
            self._probe_from(0.0, error.code)
        return True

    def alarm(self, code: FailureCode, text: str) -> None:
        """Close after a run of dead letters, for longer each time until a request succeeds."""
        if self.is_closed:
            return
        if self._doubt is not None:
            self._show(self._doubt, is_closed=False)
        self._doubt, self._run = code, f"{code}: {text}"
        self._tell(code, text)
        self._rest()

    def refusal(self) -> NotNow:
        """Say that nothing passes, and when to ask again."""
        # Spread, so that not all that rest ask in the same moment.
        delay = 1.0 + random.random() * (1.0 if self.is_closed else _TRIAL)  # noqa: S311
        if self.is_closed:
            rest = self._probes_at - asyncio.get_running_loop().time()
            delay += min(max(rest, 0.0), _LONGEST_REST)
        return NotNow(f"the gate of {self._tier} is closed: {self.reason}", delay)

    def _tell(self, code: FailureCode, why: str, **facts: str | None) -> None:
        self._show(code, is_closed=True)
        _log.error(
            "gate.closed", tier=self._tier, code=code, reason=why, **facts,
            runbook=f"docs/operations.md, {code}",
        )  # fmt: skip

    def _rest(self) -> None:
        """Let nothing pass for longer than last time, then ask the canary."""
        assert self._doubt is not None
        self._pause = min(max(self._pause * 2, self._first), self._longest)
        self._probe_from(self._pause, self._doubt)

    def _probe_from(self, pause: float, code: FailureCode) -> None:
        self.is_closed, self._on_trial = True, None
        self._probe = asyncio.create_task(self._until_open(pause, code), name=f"gate-{self._tier}")

    async def _until_open(self, pause: float, code: FailureCode) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._probes_at = loop.time() + pause
            await asyncio.sleep(pause)
            try:
                await self._canary()
            except SluiceError as exc:
                if exc.code in _ANSWERED:
                    break
                pause = min(max(pause * 2, self._first), self._longest)
                _log.warning("gate.canary_failed", tier=self._tier, code=exc.code,
                             reason=exc.detail, next_s=pause)  # fmt: skip
            else:
                break
        self.is_closed, self._opened_at, self._stop = False, loop.time(), None
        if code != self._doubt:
            self._show(code, is_closed=False)
        _log.info("gate.opened", tier=self._tier, code=code, on_trial=self._doubt is not None)

    def _show(self, code: FailureCode, *, is_closed: bool) -> None:
        self._metrics.gate_closed.labels(self._tier, code).set(int(is_closed))
