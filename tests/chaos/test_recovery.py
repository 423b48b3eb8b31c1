"""How long the system needs after a fault."""

from dataclasses import replace

from tests.chaos.good import record, request
from tests.chaos.history import Fault, History
from tests.chaos.recovery import heals_in_time, recovery

_KILL = Fault("kill", 10.0, 10.0, worker="w", recovers_within=4.0)


def _history(*faults: Fault) -> History:
    published = {"early": 1.0, "caught": 9.0, "resting": 9.0, "later": 11.0}
    return History(
        sent=(),
        inputs=tuple(request(name, at, when) for at, (name, when) in enumerate(published.items())),
        written=(record("retry", "resting", ("retries", 0, 0), 11.0, origin=2),),
        calls=(),
        faults=faults,
        seen={"early": 2.0, "caught": 14.5, "resting": 80.0, "later": 30.0},
    )


def test_recovery_lasts_until_the_last_outcome_of_what_was_published_before() -> None:
    """Only requests from before the fault's end count, and none that rests by intention."""
    assert {"kill": {"p50": 4.5, "max": 4.5}} == recovery(_history(_KILL))


def test_a_fault_that_delays_nothing_needs_no_time() -> None:
    """What was finished before the fault's end is not waited for."""
    cut = Fault("cut", 15.0, 16.0)

    assert {"cut": {"p50": 14.0, "max": 14.0}} == recovery(_history(cut))
    assert {"cut": {"p50": 0.0, "max": 0.0}} == recovery(_history(replace(cut, until=40.0)))


def test_a_fault_that_came_alone_has_its_bound() -> None:
    """L3 names the fault that took longer, unless another one joined it; storms join nothing."""
    assert ["L3: kill (10.000) took 4.5 s to recover from"] == list(heals_in_time(_history(_KILL)))
    assert [] == list(heals_in_time(_history(replace(_KILL, recovers_within=5.0))))

    other = replace(_KILL, at=13.0, until=13.0, recovers_within=60.0)
    assert [] == list(heals_in_time(_history(_KILL, other)))
    assert 1 == len(list(heals_in_time(_history(_KILL, replace(other, is_storm=True)))))
