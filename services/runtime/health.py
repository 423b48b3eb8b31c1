"""The HTTP server beside the work: `/health/live`, `/health/ready`, `/metrics`.

It runs on the same event loop as the work, so a stuck loop fails its probes by silence.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime.metrics import Metrics
from services.runtime.settings import HealthSettings

_log = structlog.get_logger()
_BEAT: Final = 0.5
"""Seconds between two looks at how late the loop is."""
_SHUTDOWN: Final = 2.0
"""Longest wait, in seconds, for a probe's connection to end at shutdown."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe answers: well or not, and the facts behind it, fit for JSON."""

    ok: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


class HealthServer:
    """Answers probes for as long as it is entered.

    Args:
        settings: Where to listen.
        metrics: What `/metrics` shows.
        liveness: Fails only where a restart helps: never because Claude or Kafka is slow.
        readiness: Fails where the process does no work, and says why.
    """

    def __init__(
        self,
        settings: HealthSettings,
        metrics: Metrics,
        *,
        liveness: Callable[[], Probe],
        readiness: Callable[[], Probe],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._liveness = liveness
        self._readiness = readiness
        self._runner: web.AppRunner | None = None
        self._beat: asyncio.Task[None] | None = None
        self.port = settings.port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The address is taken or not ours; the message names it and the setting.
        """
        app = web.Application()
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._show_metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        site = web.TCPSite(runner, self._settings.host, self._settings.port)
        try:
            await site.start()
        except OSError as exc:
            await runner.cleanup()
            raise OSError(
                exc.errno,
                f"cannot listen on {self._settings.host}:{self._settings.port} ({exc.strerror}); "
                "set HEALTH__HOST and HEALTH__PORT, port 0 takes a free one",
            ) from exc
        self._runner = runner
        self.port = runner.addresses[0][1]
        self._beat = asyncio.create_task(self._measure_lag(), name="loop-lag")
        _log.info("health.started", host=self._settings.host, port=self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        if self._beat is not None:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return _answer(self._liveness)

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._readiness)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._metrics.registry),
            headers={"content-type": CONTENT_TYPE_LATEST},
        )

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT
            await asyncio.sleep(_BEAT)
            self._metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due))


def _answer(look: Callable[[], Probe]) -> web.Response:
    # A look that raises is answered 500 by aiohttp, which a probe takes for the failure it is.
    probe = look()
    return web.json_response({"ok": probe.ok, **probe.facts}, status=200 if probe.ok else 503)
