"""The cap on calls in flight."""

from services.worker.throttle.concurrency import Concurrency


def test_an_overloaded_api_lowers_the_cap_once_for_calls_that_flew_together() -> None:
    """Twenty refusals of one moment are one event."""
    cap = Concurrency(1_000)
    for _ in range(20):
        cap.overloaded(in_flight=99, now=10.0, sent_at=5.0)
    assert 70.0 == cap.limit
    cap.overloaded(in_flight=99, now=12.0, sent_at=11.0)
    assert 49.0 == cap.limit


def test_the_cap_never_closes() -> None:
    """One call remains, to find out whether the API is back."""
    cap = Concurrency(10)
    for now in range(100):
        cap.overloaded(in_flight=1, now=float(now), sent_at=now - 0.5)
    assert 1.0 == cap.limit


def test_success_wins_the_cap_back_where_it_is_used() -> None:
    """A hundredth of the most for a round of calls; not while few are in flight."""
    cap = Concurrency(1_000)
    cap.overloaded(in_flight=99, now=1.0)
    for _ in range(70):
        cap.succeeded(in_flight=10)
    assert 70.0 == cap.limit
    for _ in range(70):
        cap.succeeded(in_flight=69)
    assert 79.0 < cap.limit < 81.0
    for _ in range(100_000):
        cap.succeeded(in_flight=1_000)
    assert 1_000.0 == cap.limit
