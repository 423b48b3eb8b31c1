"""A process is asked over HTTP how it is."""

import asyncio

import aiohttp
import pytest

from services.runtime.health import HealthServer, Probe
from services.runtime.metrics import Metrics
from services.runtime.settings import HealthSettings

FREE = HealthSettings(port=0)


async def get(port: int, path: str) -> tuple[int, str]:
    """Ask the server."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_readiness_tells_the_facts_and_liveness_stands_apart() -> None:
    """A process that does no work is alive and not ready, and says why."""
    async with HealthServer(
        FREE,
        Metrics("test"),
        liveness=lambda: Probe(ok=True),
        readiness=lambda: Probe(ok=False, facts={"assignment": [], "gate": "closed"}),
    ) as server:
        assert (200, '{"ok": true}') == await get(server.port, "/health/live")
        status, body = await get(server.port, "/health/ready")

    assert status == 503
    assert body == '{"ok": false, "assignment": [], "gate": "closed"}'


async def test_a_probe_that_cannot_look_fails() -> None:
    """A check that raises is a failing probe, not a healthy one."""

    def broken() -> Probe:
        raise KeyError("nothing to look at")

    async with HealthServer(FREE, Metrics("test"), liveness=broken, readiness=broken) as server:
        status, body = await get(server.port, "/health/live")

    assert status == 500
    assert "nothing to look at" not in body


async def test_metrics_are_served_with_the_loops_lag() -> None:
    """`/metrics` shows what was counted, and how late the event loop runs."""
    metrics = Metrics("test")
    metrics.requests.labels("haiku", "succeeded").inc(3)
    async with HealthServer(
        FREE, metrics, liveness=lambda: Probe(ok=True), readiness=lambda: Probe(ok=True)
    ) as server:
        await asyncio.sleep(0.6)
        status, body = await get(server.port, "/metrics")

    assert status == 200
    assert 'sluice_requests_total{outcome="succeeded",tier="haiku"} 3.0' in body
    assert "sluice_loop_lag_seconds_count 1.0" in body


async def test_a_taken_port_is_explained() -> None:
    """The error names the address and the settings."""
    look = Probe(ok=True)
    async with HealthServer(
        FREE, Metrics("test"), liveness=lambda: look, readiness=lambda: look
    ) as first:
        taken = HealthSettings(port=first.port)
        second = HealthServer(taken, Metrics("test"), liveness=lambda: look, readiness=lambda: look)
        with pytest.raises(OSError, match=f"{first.port}.*HEALTH__PORT"):
            await second.__aenter__()
