"""What a hold kept back is remembered for a moment."""

import pytest

from services.worker.throttle.hold import MOST_MISSED, REMEMBERED, Hold, HoldKind


def _after(*holds: tuple[float, float, HoldKind]) -> Hold:
    """Live through holds: from, to, why."""
    hold = Hold(0.0)
    for since, until, kind in holds:
        assert hold.begin(until, kind, since, is_told=False)
        assert hold.ends(until)
    return hold


def test_what_refusals_kept_back_is_told_once() -> None:
    """Two in a row add up."""
    hold = _after((10.0, 11.0, HoldKind.RATE), (11.5, 12.5, HoldKind.RATE))
    assert pytest.approx(2.0) == hold.missed(13.0)
    assert 0.0 == hold.missed(13.0)


def test_a_hold_that_grows_counts_from_its_beginning() -> None:
    """More refusals may come while it lasts, and nothing is told before its end."""
    hold = Hold(0.0)
    hold.begin(11.0, HoldKind.RATE, 10.0, is_told=False)
    hold.begin(12.0, HoldKind.RATE, 10.5, is_told=False)
    assert not hold.ends(11.5)
    assert 0.0 == hold.missed(11.5)
    assert hold.ends(12.0)
    assert pytest.approx(2.0) == hold.missed(12.0)


def test_long_holds_and_old_ones_are_not_made_up_for() -> None:
    """Only about as much is missing as calls in flight would have made."""
    assert MOST_MISSED == _after((0.0, 60.0, HoldKind.RATE)).missed(60.0)
    assert 0.0 == _after((0.0, 2.0, HoldKind.RATE)).missed(2.0 + REMEMBERED)
    later = 4.0 + REMEMBERED
    hold = _after((0.0, 2.0, HoldKind.RATE), (later, later + 1.0, HoldKind.RATE))
    assert pytest.approx(1.0) == hold.missed(later + 1.0)


@pytest.mark.parametrize("kind", [HoldKind.RAMP, HoldKind.SPEND])
def test_what_must_come_slowly_is_not_made_up_for(kind: HoldKind) -> None:
    """Sharp growth would be refused again."""
    assert 0.0 == _after((0.0, 2.0, kind)).missed(2.0)
