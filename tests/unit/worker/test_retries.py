"""The one place that chooses between another attempt and a dead letter."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.errors import FatalError, PermanentError, SluiceError, TransientError
from services.worker.retries import Chances, Decision, GiveUp, ParkFor, RetryLater, ceiling, decide
from services.worker.settings import RetrySettings
from sluice_contracts import FailureCode, RetryDelay
from tests.unit.worker.conftest import NOW

SETTINGS = RetrySettings()
DRAWS = st.floats(0, 1, exclude_max=True)


def _decide(
    error: SluiceError, *, attempt: int = 1, age: float = 0, left: float | None = None,
    draw: float = 0.999,
) -> Decision:  # fmt: skip
    chances = Chances(
        attempt=attempt,
        now=NOW,
        failing_since=NOW - timedelta(seconds=age),
        deadline=None if left is None else NOW + timedelta(seconds=left),
    )
    return decide(error, chances, SETTINGS, draw)


def _failed(**facts: object) -> TransientError:
    return TransientError(FailureCode.UPSTREAM_FAILED, "it failed", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PermanentError, FatalError])
def test_what_cannot_pass_later_is_given_up(kind: type[SluiceError]) -> None:
    """Only a transient error is tried again."""
    error = kind(FailureCode.REFUSED, "no")
    assert GiveUp(error) == _decide(error)


@given(attempt=st.integers(1, 3), draw=DRAWS)
def test_a_short_backoff_has_full_jitter(attempt: int, draw: float) -> None:
    """The delay lies between nothing and what has grown from the base."""
    decision = _decide(_failed(), attempt=attempt, draw=draw)
    assert isinstance(decision, ParkFor)
    assert 0 <= decision.delay <= 4 ** (attempt - 1)


def test_by_default_an_outage_of_an_hour_is_outlived() -> None:
    """Three tries at once, then the topics, whatever the dice say."""
    decisions = [_decide(_failed(), attempt=attempt, draw=0) for attempt in range(4, 8)]
    rests = [each.topic for each in decisions if isinstance(each, RetryLater)]
    assert ["1m", "5m", "30m", "30m"] == rests
    assert timedelta(hours=1) < sum((rest.duration for rest in rests), timedelta())


@pytest.mark.parametrize("attempt", [64, 2_000, 10**19])
def test_no_number_of_attempts_is_too_large(attempt: int) -> None:
    """The backoff stops growing at its bound."""
    assert 1_800 == ceiling(attempt, SETTINGS)


FLOORS = st.floats(0, 20_000)


@given(delay=FLOORS, attempt=st.integers(1, 5), draw=DRAWS, counts=st.booleans())
def test_retry_after_is_a_floor(delay: float, attempt: int, draw: float, *, counts: bool) -> None:
    """Never earlier than the API asks for, in memory or on a topic, nor than the topic's delay."""
    decision = _decide(_failed(delay=delay, counts=counts), attempt=attempt, draw=draw)
    assert not isinstance(decision, GiveUp)
    if isinstance(decision, ParkFor):
        assert delay <= decision.delay <= 60
    else:
        rest = decision.topic.duration
        assert max(rest, timedelta(seconds=delay)) == decision.due - NOW
    assert counts == decision.counts


def test_the_last_attempt_is_the_last() -> None:
    """The bound counts attempts, not waits."""
    assert isinstance(_decide(_failed(), attempt=8), GiveUp)
    assert isinstance(_decide(_failed(delay=5, counts=False), attempt=99), ParkFor)


def test_age_ends_even_what_counts_nothing() -> None:
    """A request that is told to wait for ever is given up after the largest age."""
    told = _failed(delay=5, counts=False)
    assert isinstance(_decide(told, age=6 * 3600), GiveUp)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    """The request fails as `deadline_passed`, which names the failure before it."""
    decision = _decide(_failed(delay=10), left=9)
    assert isinstance(decision, GiveUp)
    assert (FailureCode.DEADLINE_PASSED, True) == (
        decision.error.code,
        "it failed" in decision.error.detail,
    )


def test_an_overload_is_given_more_time() -> None:
    """Patience multiplies the backoff."""
    decision = _decide(_failed(patience=5), draw=0.5)
    assert ParkFor(2.5, counts=True) == decision


@pytest.mark.parametrize(
    ("seconds", "topic"),
    [(61, "1m"), (130, "1m"), (140, "5m"), (730, "5m"), (740, "30m"), (9_999, "30m")],
)
def test_a_long_wait_rests_on_the_nearest_topic(seconds: int, topic: str) -> None:
    """Beyond the park limit memory is not the place; the due time is kept to the second."""
    decision = _decide(_failed(delay=seconds, counts=False))
    rest = RetryDelay(topic)
    due = NOW + max(rest.duration, timedelta(seconds=seconds))
    assert RetryLater(rest, due, counts=False) == decision


def test_a_deadline_shortens_a_rest() -> None:
    """A topic that gives the request back in time is better than none."""
    decision = _decide(_failed(), attempt=5, left=100)
    assert RetryLater(RetryDelay.ONE_MINUTE, NOW + timedelta(minutes=1), counts=True) == decision
    assert isinstance(_decide(_failed(), attempt=5, left=60), GiveUp)


def test_the_rest_counts_towards_the_age() -> None:
    """What would come back too old is not sent to rest for so long."""
    nearly = 6 * 3600 - 301
    decision = _decide(_failed(), attempt=7, age=nearly)
    assert RetryLater(RetryDelay.FIVE_MINUTES, NOW + timedelta(minutes=5), counts=True) == decision
