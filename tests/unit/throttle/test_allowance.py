"""What is believed of the headers, when answers do not come back in the order of their calls."""

from services.worker.throttle.allowance import Allowance
from services.worker.throttle.buckets import Amounts
from services.worker.throttle.headers import Reading

START = Amounts(60.0, 60_000.0, 60_000.0)
LOW = Amounts(50.0, 50_000.0, 10_000.0)
HIGH = LOW.times(2.0)


def _reading(limits: Amounts, left: float = 1.0) -> Reading:
    return Reading(date=None, limits=limits, remaining=limits.times(left), reset_in=Amounts())


def test_a_long_call_does_not_take_a_raised_limit_back() -> None:
    """It was sent before the limit rose, and its headers are those of that moment."""
    allowance = Allowance(START, None)
    allowance.see(_reading(LOW), 200, 1.0)
    allowance.see(_reading(HIGH), 200, 3.0)
    allowance.see(_reading(LOW), 200, 2.0)
    assert allowance.limits == HIGH


def test_another_replica_does_not_take_a_raised_limit_back() -> None:
    """Its word counts by when its call was sent, too."""
    allowance = Allowance(START, None)
    allowance.see(_reading(HIGH), 200, 3.0)
    allowance.adopt(LOW, 2.0)
    assert allowance.limits == HIGH
    allowance.adopt(LOW, 4.0)
    assert allowance.limits == LOW


def test_of_a_late_answer_only_the_output_level_is_read() -> None:
    """Output shows the end of a call, the other two its beginning."""
    allowance = Allowance(START, None)
    allowance.see(_reading(LOW, 0.5), 200, 2.0)
    allowance.see(_reading(LOW, 1.0), 200, 1.0)
    requests, inputs, output = allowance.readings()
    assert [1, 1, 2] == [requests.answers, inputs.answers, output.answers]
    assert 30.0 == requests.high
    assert 60.0 == output.high


def test_the_levels_of_other_limits_are_not_mixed_in() -> None:
    """A late answer that still shows the old limits says nothing of the new buckets."""
    allowance = Allowance(START, None)
    allowance.see(_reading(LOW), 200, 1.0)
    allowance.see(_reading(HIGH), 200, 3.0)
    allowance.see(_reading(LOW), 200, 2.0)
    assert [1, 1, 1] == [readings.answers for readings in allowance.readings()]
