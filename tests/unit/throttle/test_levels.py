"""The controller of the rate by the API's levels."""

import random
from collections.abc import Callable
from statistics import fmean

import pytest

from services.worker.throttle.levels import CREDIT, LEAST, NONE_READ, REFUSED, Course, Level

MEANINGS: dict[str, Callable[[float, float], float]] = {
    "deficit": lambda level, burst: 60 - burst + level,
    "level": lambda level, _burst: level,
    "scaled": lambda level, burst: 60 * level / burst,
}


def _live(
    meaning: str, burst: float, foreign: float, seconds: int
) -> tuple[list[float], list[float]]:
    """Drive a bucket at the controller's factor while others use a part of it."""
    level, fill, rng = Level(), burst, random.Random(1)
    factors, levels = [], []
    for _ in range(seconds):
        readings = NONE_READ
        for _ in range(10):
            noise = rng.gauss(0, 0.01)
            fill = min(burst, fill + (1 - foreign - 0.995 * level.factor) / 10 + noise)
            if fill < 0:
                level.refused()
            readings = readings.plus(max(0.0, MEANINGS[meaning](max(fill, 0.0), burst)))
        level.see(readings, 0.03)
        level.tick(1.0)
        factors.append(level.factor)
        levels.append(fill)
    return factors, levels


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("burst", [1.0, 10.0, 60.0])
def test_others_are_made_room_for_whatever_remaining_means(meaning: str, burst: float) -> None:
    """With a fifth used by others the factor settles near four fifths, off the bottom."""
    factors, levels = _live(meaning, burst, foreign=0.2, seconds=600)
    assert pytest.approx(0.8, abs=0.03) == fmean(factors[-200:])
    assert min(levels[-200:]) > 0


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("burst", [1.0, 10.0, 60.0])
def test_alone_nothing_is_given_away(meaning: str, burst: float) -> None:
    """Noise is not mistaken for other users."""
    factors, _ = _live(meaning, burst, foreign=0.0, seconds=600)
    assert fmean(factors[60:]) > 0.99


def test_refusals_lower_the_factor_and_it_has_a_floor() -> None:
    """Each takes a little off; never below the least."""
    level = Level()
    level.refused()
    assert pytest.approx(0.97) == level.factor
    for _ in range(100):
        level.refused()
    assert LEAST == level.factor


def test_the_factor_comes_back_slowly() -> None:
    """At most a hundredth a second, less where nothing is read."""
    level = Level()
    for _ in range(10):
        level.refused()
    level.tick(1.0)
    assert pytest.approx(0.702) == level.factor
    level.see(NONE_READ.plus(60.0), 0.03)
    level.tick(1.0)
    assert level.factor <= 0.712 + 1e-9


def test_a_newcomer_goes_on_as_the_others_do() -> None:
    """The last word counts: what was said before may be of a replica that died long ago."""
    level, newcomer = Level(), Level()
    newcomer.adopt(Course(0.6, -0.4, 50.0, (1.0, 2.0)))
    for second in range(40):
        level.see(NONE_READ.plus(60.0 - second % 7), 0.0)
        level.tick(1.0)
    level.refused(5.0)
    newcomer.adopt(level.course)
    for second in range(40):
        assert pytest.approx(level.factor) == newcomer.factor
        for each in (level, newcomer):
            each.see(NONE_READ.plus(60.0 - second % 5), 0.0)
            each.tick(1.0)


def test_what_levels_leave_in_the_long_run_is_not_changed_by_a_dip_that_passes() -> None:
    """The proportional part comes and goes with the level; others who use the key stay."""
    level = Level()
    level.see(NONE_READ.plus(60.0), 0.0)
    for _ in range(3):
        level.see(NONE_READ.plus(59.0), 0.0)
        level.tick(1.0)
    assert level.factor < 0.96
    assert level.course.steady > 0.985


def test_a_level_at_its_top_is_used_and_one_in_the_middle_is_not() -> None:
    """What the fleet left in the bucket is made up for, by a few per cent and no longer."""
    level = Level()
    for seconds in (0.0, 60.0):  # the range that was seen
        level.see(NONE_READ.plus(seconds), 0.0)
    level.tick(1.0)
    for _ in range(20):
        level.see(NONE_READ.plus(60.0), 0.0)
        level.tick(1.0)
    assert 1.0 < level.factor <= 1.0 + CREDIT
    level.see(NONE_READ.plus(30.0), 0.0)
    level.tick(1.0)
    assert level.factor <= 1.0


def test_a_refusal_costs_no_more_than_its_own_step() -> None:
    """What the low level before it took off comes back as soon as the level does."""
    level = Level()
    for _ in range(10):
        level.see(NONE_READ.plus(60.0).plus(59.0).plus(59.0).plus(59.0), 0.03)
        level.tick(1.0)
    level.refused()
    least = level.factor
    for _ in range(10):
        level.see(NONE_READ.plus(60.0), 0.03)
        level.tick(1.0)
    assert level.factor > least
    assert pytest.approx(1 - REFUSED, abs=0.02) == level.factor


def test_there_is_no_room_in_a_level_that_is_low() -> None:
    """What is lent out must not draw it to the bottom."""
    level = Level()
    rooms = []
    for seconds in (60.0, 59.6, 59.3, 59.1):
        level.see(NONE_READ.plus(seconds), 0.0)
        rooms.append(level.room)
    assert [1.0, 1.0] == rooms[:2]
    assert 0.0 < rooms[2] < 1.0
    assert 0.0 == rooms[3]
