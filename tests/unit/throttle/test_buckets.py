"""Token buckets that lend."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.throttle.buckets import NEVER, Amounts, Bucket, Buckets, Measure

costs = st.floats(min_value=0.1, max_value=500)
gaps = st.floats(min_value=0, max_value=20)


def test_a_spent_bucket_makes_the_next_caller_wait() -> None:
    """Debt is waited out at the bucket's rate."""
    bucket = Bucket(0.0, rate=10.0, depth=5.0)
    bucket.level = -20.0
    assert pytest.approx(2.5) == bucket.delay(5.0)


def test_a_call_larger_than_the_depth_gets_through() -> None:
    """A full bucket lets any call through and is in debt after it."""
    buckets = Buckets(0.0)
    buckets.change(Amounts(10, 10, 10), Amounts(5, 5, 5), 0.0)
    assert pytest.approx(0.5) == buckets.delay(1_000, 1, 0.0)
    assert 0.0 == buckets.delay(1_000, 1, 0.5)
    buckets.take(1, 1_000, 1)
    assert pytest.approx(100.0) == buckets.delay(1_000, 1, 0.5)
    assert Measure.INPUT is buckets.binding(1_000, 1, 0.5)


def test_a_bucket_without_a_rate_never_fills() -> None:
    """No share, no call."""
    assert Bucket(0.0).delay(1.0) == 0.0  # nothing to wait for: the depth is 0
    bucket = Bucket(0.0, depth=1.0)
    assert bucket.delay(1.0) == NEVER


def test_what_is_given_back_above_the_depth_is_forgotten_by_the_next_refill() -> None:
    """Whoever waits now may use it; it is not saved up."""
    buckets = Buckets(0.0)
    buckets.change(Amounts(10, 10, 10), Amounts(5, 5, 5), 0.0)
    buckets.give_back(0, 100, 0, 0.0)
    assert 100.0 == buckets.input_tokens.level
    buckets.input_tokens.advance(0.1)
    assert 5.0 == buckets.input_tokens.level


def test_a_debt_told_by_the_api_lowers_the_level_only() -> None:
    """A level that is lower already stays."""
    buckets = Buckets(0.0)
    buckets.change(Amounts(10, 10, 10), Amounts(5, 5, 5), 0.0)
    buckets.requests.level = -300.0
    buckets.lower(Amounts(3, 3, 0), 0.0)
    assert (-300.0, -30.0, 0.0) == tuple(bucket.level for bucket in buckets)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(gaps, costs), max_size=60))
def test_never_more_is_lent_than_the_allowance_plus_the_burst(
    calls: list[tuple[float, float]],
) -> None:
    """Over any window: at most rate times window, the depth, and one call."""
    bucket = Bucket(0.0, rate=7.0, depth=3.0)
    now, granted = 0.0, []
    for gap, cost in calls:
        now += gap
        bucket.advance(now)
        if (wait := bucket.delay(cost)) > 0:
            now += wait
            bucket.advance(now)
        bucket.level -= cost
        granted.append((now, cost))
    for first, (start, _) in enumerate(granted):
        for last in range(first, len(granted)):
            end, one_call = granted[last]
            used = sum(cost for _, cost in granted[first : last + 1])
            assert used <= 7.0 * (end - start) + 3.0 + one_call + 1e-3
