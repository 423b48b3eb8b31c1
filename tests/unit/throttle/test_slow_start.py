"""The slow start of a fleet."""

import pytest

from services.worker.throttle.slow_start import SlowStart


def test_the_bound_rises_only_while_it_is_used() -> None:
    """A trickle does not open it."""
    used, idle = SlowStart(0.2, 1.03), SlowStart(0.2, 1.03)
    for _ in range(60):
        used.step(used.bound, 1.0)
        idle.step(0.05, 1.0)
    assert (1.0, 0.2) == (used.bound, idle.bound)


def test_a_complaint_costs_a_step_and_some_speed() -> None:
    """A second one of the same moment costs nothing."""
    start = SlowStart(0.2, 1.03)
    start.adopt(0.8)
    start.step(0.8, 0.0)
    start.complain(10.0)
    start.complain(12.0)
    assert pytest.approx(0.72) == start.bound
    before = start.bound
    start.step(before, 1.0)
    assert 1.0 < start.bound / before < 1.025


def test_an_idle_fleet_starts_over() -> None:
    """After a minute without work, from the beginning."""
    start = SlowStart(0.2, 1.03)
    start.adopt(1.0)
    start.step(0.0, 60.0)
    assert 0.2 == start.bound
