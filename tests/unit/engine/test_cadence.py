"""Commits follow at once while the process is idle and gather while it is busy."""

import asyncio

import pytest

from services.runtime.engine.cadence import Cadence, Heart
from services.runtime.engine.limits import Limits


@pytest.mark.parametrize(
    ("utilisation", "dirty", "is_backlogged", "expected"),
    [
        (0.0, 1, False, 0.0),
        (0.85, 32, False, 0.0),
        (0.925, 1, False, 0.0375),
        (1.0, 1, False, 0.075),
        (1.0, 30, False, 0.2),
        (0.4, 32, True, 0.0),
        (0.55, 1, True, 0.0375),
        (0.75, 1, True, 0.075),
    ],
)
async def test_outcomes_are_gathered_while_busy(
    *, utilisation: float, dirty: int, is_backlogged: bool, expected: float
) -> None:
    """The wait grows with the load, sooner where records wait, and with the dirty partitions."""
    heart = Heart()
    heart.utilisation = utilisation
    cadence = Cadence(Limits(), heart)
    cadence.dirty = dirty
    assert expected == pytest.approx(cadence.linger(is_backlogged=is_backlogged))


async def test_a_process_that_waits_for_a_core_is_busy() -> None:
    """Where others take the CPU from records that wait, fewer commits help as much."""
    heart = Heart()
    heart.lateness = 1.0
    assert heart.load == 1.0
    assert Cadence(Limits(), heart).linger(is_backlogged=True) == pytest.approx(0.075)
    assert Cadence(Limits(), heart).linger(is_backlogged=False) == 0


@pytest.mark.looptime
async def test_the_heart_measures_how_much_of_a_core_is_used() -> None:
    """Half of the time on the CPU is a utilisation of a half."""
    loop = asyncio.get_running_loop()
    heart = Heart(cpu_time=lambda: loop.time() / 2)
    beating = asyncio.create_task(heart.beat())
    await asyncio.sleep(5)
    assert heart.utilisation == pytest.approx(0.5, abs=0.01)
    assert heart.lag == pytest.approx(0, abs=0.01)
    assert 0 == heart.late_by(loop.time())
    beating.cancel()
    assert 9 == pytest.approx(heart.late_by(loop.time() + 10), abs=0.3)


def test_a_heart_that_has_not_begun_is_not_late() -> None:
    """The loop's clock starts anywhere; a process that joins its group yet is alive."""
    assert 0 == Heart().late_by(1_000_000.0)
