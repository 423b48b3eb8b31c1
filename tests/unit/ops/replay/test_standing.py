"""The state of a plan: how far it came, and whether anybody still runs it."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from aiokafka import TopicPartition
from rich.console import Console

from services.ops.dead_letters.selection import Selection
from services.ops.replay import facts, tables
from services.ops.replay.plan import Plan
from services.ops.replay.standing import LOST_AFTER, Phase, Standing
from services.runtime.reading import Range

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TOPIC = "claude.dead-letters.haiku.v1"


def _plan() -> Plan:
    return Plan(
        plan_id="p", created_at=NOW, by="ada", why="test", selection=Selection(),
        ranges={TOPIC: {0: Range(0, 100)}}, max_generation=2,
    )  # fmt: skip


def _halted(phase: Phase, **given: Any) -> Standing:
    return Standing(plan=_plan(), phase=phase, changed_at=NOW, changed_by="ada", **given)


def _end_of(standing: Standing, offsets: dict[TopicPartition, int], days: int) -> int | None:
    handled = standing.as_handled(offsets, now=NOW + timedelta(days=days))
    return None if handled is None else handled.ranges[TOPIC][0].end


def test_a_halted_plan_remembers_how_far_it_came_longer_than_brokers_do() -> None:
    """Where nobody knows any more, all of it counts as sent: nothing may be sent twice."""
    here = TopicPartition(TOPIC, 0)
    paused = _halted(Phase.PAUSED)
    settled = paused.with_reached({here: 40})
    assert 30 == _end_of(paused, {here: 30}, 1)
    assert 100 == _end_of(paused, {}, 8)
    assert 40 == _end_of(settled, {}, 8)
    assert _end_of(settled.with_reached({here: 0}), {}, 8) is None
    resumed = settled.moved(Phase.RUNNING, by="bob", why="", now=NOW)
    assert (None, 1) == (resumed.reached, resumed.version)
    assert 100 == _end_of(resumed, {here: 50}, 1)


def test_a_run_that_fell_silent_is_lost() -> None:
    """Its last word counts: the change of its state, or what it wrote since."""
    running = _halted(Phase.RUNNING)
    heard = running.heard(NOW + timedelta(hours=1))
    assert not running.is_lost(NOW + LOST_AFTER)
    assert running.is_lost(NOW + LOST_AFTER + timedelta(seconds=1))
    assert not heard.is_lost(NOW + timedelta(hours=1) + LOST_AFTER)
    assert heard.is_lost(NOW + timedelta(hours=2))
    assert running.version == heard.version


def test_what_nobody_runs_is_not_lost() -> None:
    """A paused plan waits for a person, however long; one taken up anew has spoken."""
    heard = _halted(Phase.RUNNING).heard(NOW)
    later = NOW + timedelta(days=1)
    assert not heard.moved(Phase.PAUSED, by="bob", why="", now=NOW).is_lost(later)
    assert not heard.moved(Phase.RUNNING, by="bob", why="", now=later).is_lost(later)


def test_a_lost_run_is_shown_as_one() -> None:
    """With its last word and what to do; programs get the same as facts."""
    heard = _halted(Phase.RUNNING).heard(NOW + timedelta(minutes=5))
    later = NOW + timedelta(hours=3)
    out = StringIO()
    console = Console(width=200, file=out)
    console.print(tables.plans_of([heard], later))
    listed = out.getvalue()
    console.print(tables.status_of(heard, [], later))
    said = out.getvalue()
    assert "lost" in listed
    assert "not heard of since 2026-11-23 00:05:00 UTC, 2h ago" in said
    assert "sluice replay run p" in said
    told = facts.standing_facts(heard, later)
    assert ("running", True, "2026-11-23T00:05:00+00:00") == (
        told["phase"],
        told["is_lost"],
        told["heard_at"],
    )
