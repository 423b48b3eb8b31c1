"""What stops a run."""

import asyncio
import os
import signal

import pytest

from services.ops.replay.control import run_to_its_end, stop_on_signals
from services.ops.replay.pace import Pace


async def _interrupted(times: int) -> str | None:
    pace = Pace({}, canary=0)
    with stop_on_signals(pace):
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            while pace.stopped is None:  # noqa: ASYNC110 -- the loop hears of it through a pipe
                await asyncio.sleep(0)
        if times > 1:
            await asyncio.Event().wait()
    return pace.stopped


def test_one_interrupt_stops_between_two_transactions() -> None:
    """The run goes on to its end and writes down where it stopped."""
    assert "interrupted at the terminal" == run_to_its_end(_interrupted(1))


def test_a_second_interrupt_ends_it_at_once() -> None:
    """As an interrupt and not as a fault of ours: exit code 130, no traceback."""
    with pytest.raises(KeyboardInterrupt):
        run_to_its_end(_interrupted(2))
