"""SIGSTOP past the session timeout: a successor fences the paused worker, which wakes up later."""

import asyncio
import signal

import pytest

from tests.integration.engine.conftest import Stage, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_the_paused_worker_publishes_nothing_when_it_wakes(stage: Stage) -> None:
    """It held finished calls and open commits; the successor has made and published them."""
    paused = await stage.start(seconds=0.5)
    stage.send(*values(100))
    await stage.until_called(60, paused)
    successor = await stage.start(seconds=0.2)
    stage.send(*values(100))
    await asyncio.sleep(0.3)
    paused.signal(signal.SIGSTOP)
    assert stage.expected() == await stage.outcomes(settle=0)
    paused.signal(signal.SIGCONT)
    stage.send(*values(100))
    assert stage.expected() == await stage.outcomes(settle=4)
    for worker in (paused, successor):
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0


async def test_a_short_pause_costs_nothing(stage: Stage) -> None:
    """Within the session timeout nobody takes over, and no call is repeated."""
    worker = await stage.start(seconds=0.5)
    stage.send(*values(100))
    await stage.until_called(50, worker)
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(3)
    worker.signal(signal.SIGCONT)
    assert stage.expected() == await stage.outcomes(settle=1)
    assert stage.expected() == stage.calls()
