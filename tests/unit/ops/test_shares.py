"""What `sluice rate` makes of the workers' records."""

import json
from typing import Any

from services.ops.shares import LEASE, Shares
from services.worker.throttle import ThrottleSettings


def _said(**changes: Any) -> bytes:
    said = {
        "holds": [10, 1_000, 500],
        "used": [8, 900, 100],
        "fill": [0.5, -0.2, 1.0],
        "limits": [1_000, 2_000_000, 400_000],
        "waiting": 7,
        "binding": "input_tokens",
        "something_new": True,
    }
    return json.dumps({"replica": "a", "number": 1, "groups": {"model": said | changes}}).encode()


def test_rates_are_shown_per_minute() -> None:
    """The records speak of seconds."""
    shares = Shares()
    shares.take("a", 100.0, _said())
    [group] = shares.groups(101.0)
    assert (600.0, 60_000.0, 30_000.0) == group.shares[0].holds
    assert (480.0, 54_000.0, 6_000.0) == group.used
    assert (1_000.0, 2_000_000.0, 400_000.0) == group.limits
    assert "input_tokens" == group.as_json()["replicas"][0]["binding"]


def test_a_replica_that_fell_silent_is_shown_on_demand_and_counts_for_nothing() -> None:
    """Its part is the others' by then."""
    shares = Shares()
    shares.take("gone", 100.0, _said())
    shares.take("live", 109.0, _said())
    [group] = shares.groups(110.0, with_gone=True)
    assert [False, True] == [share.is_live for share in group.shares]
    assert 480.0 == group.used[0]
    assert ["live"] == [share.replica for share in shares.groups(110.0)[0].shares]


def test_the_newest_observation_of_the_limits_counts() -> None:
    """Whoever made it."""
    shares = Shares()
    shares.take("new", 100.0, _said(limits=[50, 1, 1], limits_age=1.0))
    shares.take("old", 101.0, _said(limits_age=9.0))
    assert (50.0, 1.0, 1.0) == shares.groups(101.0)[0].limits


def test_a_goodbye_and_nonsense_leave_nothing() -> None:
    """A tombstone, broken JSON, another shape."""
    shares = Shares()
    for value in (_said(), None, b"{", b"[]", b'{"groups": 1}'):
        shares.take("a", 100.0, value)
    assert [] == shares.groups(100.0)


def test_a_replica_counts_as_gone_when_the_others_think_so() -> None:
    """The lease stands in two rooms, which do not import each other."""
    assert ThrottleSettings().lease.total_seconds() == LEASE
