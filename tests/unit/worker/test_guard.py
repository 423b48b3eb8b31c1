"""The guard against draining a topic into the dead letters."""

from services.worker.guard import Alarm, DeadLetterGuard
from sluice_contracts import FailureCode

REJECTED = FailureCode.REQUEST_REJECTED
REFUSED = FailureCode.REFUSED


def _guard(run: int = 3, window: int = 10, share: float = 0.5) -> DeadLetterGuard:
    return DeadLetterGuard(run=run, window=window, share=share)


def test_a_run_of_one_cause_raises_one_alarm() -> None:
    """The last dead letter of a run raises the alarm, and the count starts anew after it."""
    watched = _guard()
    assert [None, None, Alarm(REJECTED, 3, 3), None] == [watched.observe(REJECTED) for _ in "1234"]


def test_a_success_or_another_cause_ends_the_run() -> None:
    """Only what comes in a row is a run."""
    watched = _guard()
    codes = [REJECTED, REJECTED, None, REJECTED, REJECTED, REFUSED, REJECTED, REJECTED]
    assert [None] * 8 == [watched.observe(code) for code in codes]


def test_a_large_share_of_the_window_raises_an_alarm() -> None:
    """A few requests that still pass do not hide that most fail for one cause."""
    watched = _guard(run=100)
    alarms = [watched.observe(None if i % 3 == 0 else REJECTED) for i in range(12)]
    assert [(10, Alarm(REJECTED, 7, 10))] == [(i, alarm) for i, alarm in enumerate(alarms) if alarm]


def test_old_outcomes_leave_the_window() -> None:
    """The share is that of the last outcomes, not of all."""
    watched = _guard(run=100)
    for code in [REJECTED] * 4 + [None] * 10 + [REJECTED] * 5:
        assert watched.observe(code) is None


def test_replays_and_cancellations_do_not_count() -> None:
    """What a person sent back or took back says nothing about the tier."""
    watched = _guard(run=1)
    assert watched.observe(REJECTED, generation=1) is None
    assert watched.observe(FailureCode.CANCELLED) is None
    assert watched.observe(FailureCode.DEADLINE_PASSED) is None


def test_a_run_of_zero_turns_the_guard_off() -> None:
    """Zero means off."""
    watched = _guard(run=0)
    assert [None] * 20 == [watched.observe(REJECTED) for _ in range(20)]


def test_an_alarm_says_what_to_read() -> None:
    """The text names the code, the counts and the page."""
    assert (
        "3 of the last 3 outcomes are dead letters with code refused; the tier stops until a "
        "canary passes (docs/operations.md, refused)"
    ) == str(Alarm(REFUSED, 3, 3))
