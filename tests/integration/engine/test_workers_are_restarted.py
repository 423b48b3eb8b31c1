"""SIGTERM: calls are finished and published, and no other worker repeats any."""

import asyncio
import signal
from contextlib import suppress

import pytest

from tests.integration.engine.conftest import Stage, repeats, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_three_workers_are_restarted_one_by_one_under_load(stage: Stage) -> None:
    """No call is made twice, though every restart takes all partitions from all workers."""
    workers = [await stage.start(seconds=1.0) for _ in range(3)]
    sending = asyncio.create_task(_send_steadily(stage))
    await stage.until_called(10, workers[0])
    for index in range(3):
        await asyncio.sleep(2)
        workers[index].signal(signal.SIGTERM)
        assert await workers[index].ended() == 0
        workers[index] = await stage.start(seconds=1.0)
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    assert stage.expected() == await stage.outcomes()
    assert repeats(stage.calls()) == 0


async def _send_steadily(stage: Stage) -> None:
    while True:
        stage.send(*values(4))
        await asyncio.sleep(0.1)


async def test_a_second_signal_ends_the_worker_at_once(stage: Stage) -> None:
    """Its calls are repeated by the next one; nothing is lost."""
    worker = await stage.start(seconds=30, grace=60)
    stage.send(*values(20))
    await stage.until_called(20, worker)
    worker.signal(signal.SIGTERM)
    await asyncio.sleep(1)
    worker.signal(signal.SIGTERM)
    await worker.ended(25)
    await stage.start(seconds=0.1)
    assert stage.expected() == await stage.outcomes()
