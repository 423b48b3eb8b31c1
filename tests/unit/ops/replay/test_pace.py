"""How fast a replay sends, and what stops it."""

import asyncio
from functools import partial

import pytest

from services.ops.replay.outcomes import Outcomes
from services.ops.replay.pace import Bucket, Pace, Stopped
from services.ops.replay.watchman import Watchman
from sluice_contracts import FailureCode, Tier

pytestmark = pytest.mark.looptime
HERE, THERE = Tier.HAIKU, Tier.OPUS


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pace(rate: float, *, canary: int, sent: int = 0) -> Pace:
    return Pace(dict.fromkeys(Tier, Bucket(lambda: rate)), canary=canary, sent=sent)


async def _take_all(pace: Pace, count: int, tier: Tier = HERE) -> None:
    while count:
        count -= await pace.take(tier, count)


async def test_the_rate_is_kept() -> None:
    """A hundred at ten a second take about ten seconds."""
    pace = _pace(10.0, canary=0)
    began = _now()
    await _take_all(pace, 100)
    assert 9.5 < _now() - began < 10.5


async def test_lanes_share_the_rate() -> None:
    """Two lanes are no faster than one."""
    pace = _pace(10.0, canary=0)
    began = _now()
    await asyncio.gather(_take_all(pace, 50), _take_all(pace, 50))
    assert 9.5 < _now() - began < 10.5


async def test_tiers_share_a_rate_that_was_given() -> None:
    """`--rate` is that of the plan, whatever number of tiers it sends to."""
    pace = _pace(10.0, canary=0)
    began = _now()
    await asyncio.gather(_take_all(pace, 50), _take_all(pace, 50, THERE))
    assert 9.5 < _now() - began < 10.5


async def test_a_tier_without_allowance_stops_no_other() -> None:
    """Each has a bucket of its own where each goes by its own spare allowance."""
    rates = {HERE: 100.0, THERE: 0.01}
    buckets = {tier: Bucket(partial(rates.__getitem__, tier)) for tier in rates}
    pace = Pace(buckets, canary=0)
    await pace.take(THERE, 1)
    waiting = asyncio.create_task(pace.take(THERE, 1))
    began = _now()
    await _take_all(pace, 500)
    assert 4.5 < _now() - began < 5.5
    assert not waiting.done()
    rates[THERE] = 100.0
    assert 1 == await waiting


async def test_the_others_wait_for_the_canaries() -> None:
    """Exactly the canaries leave until they pass."""
    pace = _pace(1000.0, canary=3)
    taken = 0

    async def take() -> None:
        nonlocal taken
        while taken < 10:
            taken += await pace.take(HERE, 10 - taken)

    task = asyncio.create_task(take())
    await asyncio.wait_for(pace.canary_sent.wait(), 5)
    await asyncio.sleep(5)
    assert 3 == taken
    pace.pass_canary()
    await task
    assert 10 == taken


async def test_a_resumed_plan_counts_the_canaries_it_sent() -> None:
    """What an earlier run sent is not sent as a canary again."""
    assert [7, 0] == [_pace(1.0, canary=10, sent=sent).canaries for sent in (3, 30)]


async def test_a_stop_ends_all_waits() -> None:
    """The first reason is the one that is told."""
    pace = _pace(0.01, canary=0)
    await pace.take(HERE, 1)
    task = asyncio.create_task(pace.take(HERE, 1))
    await asyncio.sleep(1)
    pace.stop("paused by ann")
    pace.stop("something else")
    with pytest.raises(Stopped, match="paused by ann"):
        await task


def _watchman(pace: Pace) -> Watchman:
    outcomes = Outcomes("p", {}, [], since_ms=0)
    return Watchman(outcomes, pace, most_failures=0.5, patience=60)


async def test_canaries_that_succeed_let_the_others_follow() -> None:
    """Their share of failures is judged once all have an outcome."""
    pace = _pace(1000.0, canary=2)
    watchman = _watchman(pace)
    watch = asyncio.create_task(watchman.watch(lambda: 0))
    await _take_all(pace, 2)
    watchman.outcomes.succeeded = 1
    watchman.outcomes.failures[FailureCode.REFUSED] = 1
    await asyncio.sleep(1)
    assert await pace.take(HERE, 5)
    watch.cancel()


async def test_canaries_that_fail_again_stop_the_run() -> None:
    """The reason says how many, and of what."""
    pace = _pace(1000.0, canary=2)
    watchman = _watchman(pace)
    watch = asyncio.create_task(watchman.watch(lambda: 0))
    await _take_all(pace, 2)
    watchman.outcomes.failures[FailureCode.REFUSED] = 2
    await asyncio.sleep(1)
    assert (
        "2 of 2 failed again (2 refused), more than 50%; look at them, then resume or cancel"
        == (pace.stopped)
    )
    watch.cancel()


async def test_canaries_without_an_outcome_stop_the_run() -> None:
    """Nobody may be working."""
    pace = _pace(1000.0, canary=2)
    watch = asyncio.create_task(_watchman(pace).watch(lambda: 0))
    await _take_all(pace, 2)
    await asyncio.sleep(61)
    assert pace.stopped is not None
    assert pace.stopped.startswith("only 0 of 2 canaries have an outcome after 60 s")
    watch.cancel()


async def test_failures_later_on_stop_the_run() -> None:
    """A run without canaries is watched as well."""
    pace = _pace(1000.0, canary=0)
    watchman = _watchman(pace)
    watch = asyncio.create_task(watchman.watch(lambda: 0))
    watchman.outcomes.failures[FailureCode.TIMED_OUT] = 20
    watchman.outcomes.changed.set()
    await asyncio.sleep(1)
    assert pace.stopped is not None
    watch.cancel()
