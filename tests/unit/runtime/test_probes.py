"""Liveness asks for a restart only where one helps; readiness says what stands still."""

from dataclasses import replace
from typing import Any

import pytest

from services.runtime.engine.engine import EngineState
from services.runtime.engine.ports import Partition
from services.runtime.probes import alive, serving

PLACE = Partition("requests", 3)
WELL = EngineState(
    partitions=(PLACE,), in_flight=4, waiting=2, parked=1, held_bytes=900, oldest_call=1.5,
    commit_ages={}, claiming={}, unreadable={}, last_poll_age=0, loop_lag=0, is_assigned=True,
    is_draining=False, halted={}, is_broken=False,
)  # fmt: skip


def test_slow_calls_and_commits_are_no_reason_to_restart() -> None:
    """Nor are partitions that wait for a leader."""
    state = replace(WELL, oldest_call=600, commit_ages={PLACE: 300.0}, claiming={PLACE: 300.0})
    assert alive(state).ok


@pytest.mark.parametrize(
    "change", [{"loop_lag": 61.0}, {"last_poll_age": 61.0}, {"is_broken": True}]
)
def test_what_only_a_restart_mends_fails_liveness(change: dict[str, Any]) -> None:
    """A stuck loop, a stuck poll, a bug."""
    assert not alive(replace(WELL, **change)).ok


@pytest.mark.parametrize(
    ("change", "fact", "said"),
    [
        ({"halted": {PLACE: "cut short"}}, "halted", "cut short"),
        ({"unreadable": {PLACE: "bad checksum"}}, "unreadable", "bad checksum"),
        ({"claiming": {PLACE: 61.0}}, "overdue", "not served for 61 s"),
        ({"commit_ages": {PLACE: 61.0}}, "overdue", "nothing committed for 61 s"),
    ],
)
def test_a_partition_that_stands_still_fails_readiness(
    change: dict[str, Any], fact: str, said: str
) -> None:
    """And its name and the reason are there to be read."""
    probe = serving(replace(WELL, **change))
    assert (False, {"requests/3": said}) == (probe.ok, probe.facts[fact])


def test_a_member_without_partitions_is_ready() -> None:
    """It takes over when another leaves."""
    assert serving(replace(WELL, partitions=())).ok
    assert not serving(replace(WELL, is_assigned=False)).ok
