"""The facade: what the stages see of the throttle."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.runtime.metrics import Metrics
from services.worker.throttle import Ask, ExceedsLimit, GroupLimits, Throttle, ThrottleSettings
from services.worker.throttle.buckets import Amounts
from services.worker.throttle.estimate import ASSUMED, Lesson, Moments
from services.worker.throttle.limits_api import GroupLimit, LimitsUnknown
from services.worker.throttle.record import RatePosted
from sluice_contracts import TokenUsage
from tests.benchmarks.throttle.log import Link, Log

pytestmark = pytest.mark.looptime

START = GroupLimits(requests=60, input_tokens=60_000, output_tokens=60_000)


def _throttle(**changes: Any) -> Throttle:
    parts = {name: changes.pop(name) for name in ("exchange", "limits") if name in changes}
    settings = ThrottleSettings(**{"start": START, "slow_start": 1.0, "safety": 1.0, **changes})
    return Throttle(settings, metrics=Metrics("test"), **parts)


@asynccontextmanager
async def _running(throttle: Throttle) -> AsyncIterator[Throttle]:
    task = asyncio.create_task(throttle.run())
    await asyncio.sleep(0)
    try:
        yield throttle
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _headers(requests: int = 600, tokens: int = 60_000, second: int = 0) -> Mapping[str, str]:
    headers = {"date": f"Sun, 01 Nov 2026 00:00:{second:02d} GMT"}
    for name, limit in (("requests", requests), ("input-tokens", tokens), ("output-tokens", 9_000)):
        headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-reset"] = "1970-01-01T00:00:00Z"
    return headers


async def test_a_call_larger_than_the_limit_fails_at_once() -> None:
    """Waiting would never help; near the limit the caller is told to count."""
    throttle = _throttle()
    throttle.observe("g", _headers(), sent_at=0.0, status=200)
    with pytest.raises(ExceedsLimit, match="60000 a minute"):
        await throttle.reserve(Ask("g", 60_001, 1))
    assert 60_000 == throttle.limit_near("g", 55_000)
    assert throttle.limit_near("g", 5_000) is None


async def test_a_limit_that_the_api_has_not_told_judges_nothing() -> None:
    """The start value is a guess of the operator's; the call passes, into debt."""
    throttle = _throttle()
    assert throttle.limit_near("g", 100_000) is None
    reservation = await throttle.reserve(Ask("g", 100_000, 1))
    assert reservation.waited < 1.0


async def test_a_hold_says_how_long_it_lasts() -> None:
    """So that nobody has to sit it out in here."""
    throttle = _throttle()
    assert 0.0 == throttle.hold_left("g")
    throttle.hold("g", 30.0, "rate")
    await asyncio.sleep(10.0)
    assert 20.0 == round(throttle.hold_left("g"), 6)
    throttle.resume("g")
    assert 0.0 == throttle.hold_left("g")


async def test_the_headers_put_a_wrong_start_value_right() -> None:
    """At once, without a round."""
    throttle = _throttle()
    await throttle.reserve(Ask("g", 1, 1))
    throttle.observe("g", _headers(requests=6), sent_at=0.0, status=200)
    assert 6.0 == throttle.snapshot()["groups"]["g"]["limits"][0]
    assert throttle.snapshot()["groups"]["g"]["share"][0] <= 6.0


async def test_a_raised_limit_is_used_a_round_later() -> None:
    """It has to come back over the log first."""
    async with _running(_throttle()) as throttle:
        await throttle.reserve(Ask("g", 1, 1))
        throttle.observe("g", _headers(requests=600), sent_at=0.0, status=200)
        await asyncio.sleep(2.1)
        assert pytest.approx(600.0) == throttle.snapshot()["groups"]["g"]["share"][0]


async def test_an_answer_that_comes_late_is_ignored() -> None:
    """Headers show when the call was taken: a long call that ends last tells the oldest."""
    throttle = _throttle()
    throttle.observe("g", _headers(requests=100, second=8), sent_at=2.0, status=200)
    throttle.observe("g", _headers(requests=999, second=9), sent_at=1.0, status=200)
    assert 100.0 == throttle.snapshot()["groups"]["g"]["limits"][0]
    throttle.observe("g", _headers(requests=999, second=9), sent_at=3.0, status=200)
    assert 999.0 == throttle.snapshot()["groups"]["g"]["limits"][0]


async def test_a_ceiling_is_never_passed() -> None:
    """Whatever the API allows."""
    throttle = _throttle(ceilings={"g": START})
    throttle.observe("g", _headers(requests=100_000), sent_at=0.0, status=200)
    assert 60.0 == throttle.snapshot()["groups"]["g"]["limits"][0]


async def test_usage_teaches_the_estimator() -> None:
    """Settling a reservation that names its prompt is enough."""
    throttle = _throttle(start=GroupLimits())
    for _ in range(4 * ASSUMED):
        ask = Ask("g", 1_000, 500, prompt_key="p@1", characters=3_000)
        with await throttle.reserve(ask) as reservation:
            reservation.settle(TokenUsage(input_tokens=600, output_tokens=40))
    assert (600, 40) == throttle.estimate("p@1", 3_000)


async def test_a_new_replica_knows_what_the_others_learned() -> None:
    """It reads their records from the topic before its first call."""
    log, start = Log(random.Random(1)), GroupLimits()
    async with _running(_throttle(exchange=Link(log), start=start)) as first:
        for _ in range(4 * ASSUMED):
            ask = Ask("g", 1_000, 500, prompt_key="p@1", characters=3_000)
            with await first.reserve(ask) as reservation:
                reservation.settle(TokenUsage(input_tokens=600, output_tokens=40))
        async with _running(_throttle(exchange=Link(log), start=start)) as second:
            await asyncio.sleep(3)
            assert (600, 40) == second.estimate("p@1", 3_000)
            assert (1_000, 500) == second.estimate("other@1", 3_000)


async def test_a_rate_refusal_holds_the_whole_fleet() -> None:
    """The other replicas hear of it within a round trip of the topic."""
    log = Log(random.Random(1))
    settings: dict[str, Any] = {"safety": 1.0}
    async with (
        _running(_throttle(exchange=Link(log), **settings)) as one,
        _running(_throttle(exchange=Link(log), **settings)) as other,
    ):
        for throttle in (one, other):
            with await throttle.reserve(Ask("g", 1, 1)):
                pass
        await asyncio.sleep(3)
        one.hold("g", 30.0, "rate")
        await asyncio.sleep(0.6)
        assert "rate" == other.snapshot()["groups"]["g"]["held_for"]
        began = asyncio.get_running_loop().time()
        await other.reserve(Ask("g", 1, 1))
        assert 28.0 < asyncio.get_running_loop().time() - began < 31.0


async def test_an_overloaded_api_lowers_concurrency_and_not_the_rate() -> None:
    """529 says nothing about our limits."""
    throttle = _throttle()
    await throttle.reserve(Ask("g", 1, 1))
    before = throttle.snapshot()["groups"]["g"]
    throttle.hold("g", 5.0, "overloaded")
    after = throttle.snapshot()["groups"]["g"]
    assert (before["share"], None) == (after["share"], after["held_for"])
    assert after["concurrency"] < before["concurrency"]


async def test_sharp_growth_slows_the_fleet_down() -> None:
    """A ramp refusal halves the slow-start bound."""
    async with _running(_throttle()) as throttle:
        await throttle.reserve(Ask("g", 1, 1))
        await asyncio.sleep(6)
        throttle.hold("g", 1.0, "ramp")
        await asyncio.sleep(0.1)
        assert throttle.snapshot()["groups"]["g"]["bound"] <= 0.5


async def test_a_newcomer_with_work_has_its_part_of_every_limit_soon() -> None:
    """It asks for all three at once, though it waits for one at a time."""
    log = Log(random.Random(1))
    async with _running(_throttle(exchange=Link(log))) as one:
        busy = [asyncio.create_task(one.reserve(Ask("g", 900, 900))) for _ in range(400)]
        await asyncio.sleep(60)
        async with _running(_throttle(exchange=Link(log))) as other:
            busy += [asyncio.create_task(other.reserve(Ask("g", 900, 900))) for _ in range(100)]
            await asyncio.sleep(4)
            requests, inputs, outputs = other.snapshot()["groups"]["g"]["share"]
            assert min(requests, inputs / 1_000, outputs / 1_000) > 0.8 * 60 / 2
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_a_part_that_becomes_free_is_taken_over_before_the_next_round() -> None:
    """Whoever leaves says so, and the others need not wait for their turn to claim."""
    log = Log(random.Random(1))
    async with _running(_throttle(exchange=Link(log))) as one:
        other = _throttle(exchange=Link(log))
        async with _running(other):
            for throttle in (one, other):
                await throttle.reserve(Ask("g", 1, 1))
            await asyncio.sleep(5.0)
            assert 2 == one.snapshot()["groups"]["g"]["replicas"]
        await asyncio.sleep(0.7)
        assert pytest.approx(60.0) == one.snapshot()["groups"]["g"]["share"][0]


async def test_a_topic_that_falls_silent_leaves_a_safe_share() -> None:
    """A tenth of the last share for a lease, then of an equal one; never more, never none."""
    link = Link(Log(random.Random(1)))
    async with _running(_throttle(exchange=link)) as throttle:
        await throttle.reserve(Ask("g", 1, 1))
        await asyncio.sleep(3)
        share = throttle.snapshot()["groups"]["g"]["share"][0]
        assert pytest.approx(60.0) == share
        link.is_cut = True
        await asyncio.sleep(6)
        assert throttle.snapshot()["is_lost"]
        assert pytest.approx(6.0) == throttle.snapshot()["groups"]["g"]["share"][0]
        link.is_cut = False
        await asyncio.sleep(3)
        assert not throttle.snapshot()["is_lost"]
        assert pytest.approx(60.0) == throttle.snapshot()["groups"]["g"]["share"][0]


class _Counted(Link):
    """A link that counts what is posted."""

    posted = 0

    def post(self, record: RatePosted) -> None:
        self.posted += 1
        super().post(record)


async def test_a_record_that_does_not_come_back_is_sent_again_early() -> None:
    """Twice a second is enough while all goes well; what is lost is missed for a fifth of one."""
    log = Log(random.Random(1))
    link = _Counted(log)
    async with _running(_throttle(exchange=link)) as throttle:
        await throttle.reserve(Ask("g", 1, 1))
        await asyncio.sleep(5)
        before = link.posted
        await asyncio.sleep(4)
        assert 8 <= link.posted - before <= 13  # some take longer than a fifth of a second
        log.loss = 1.0
        before = link.posted
        await asyncio.sleep(2)
        assert 9 <= link.posted - before <= 11
        log.loss = 0.0
        await asyncio.sleep(1)
        assert not throttle.snapshot()["is_lost"]


class _Limits:
    """The Rate Limits API, as far as it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetch(self) -> list[GroupLimit]:
        self.asked += 1
        if self.asked == 1:
            raise LimitsUnknown("down")
        return [GroupLimit("shared", ("model-a", "model-b"), Amounts(120, 120_000, 120_000))]


async def test_who_waits_moves_to_the_group_that_the_api_names() -> None:
    """Two divisions of one limit would use it twice."""
    limits = _Limits()
    interval = timedelta(seconds=10)
    async with _running(_throttle(limits=limits, limits_interval=interval)) as throttle:
        await asyncio.sleep(1)
        throttle.hold("model-a", 30.0, "rate")
        waiting = [asyncio.create_task(throttle.reserve(Ask("model-a", 1, 1))) for _ in range(3)]
        gives_up = asyncio.create_task(throttle.reserve(Ask("model-a", 1, 1)))
        await asyncio.sleep(12)
        groups = throttle.snapshot()["groups"]
        assert ["shared"] == list(groups)
        assert 4 == groups["shared"]["waiting"]
        assert pytest.approx(18.0) == throttle.hold_left("model-b")
        gives_up.cancel()
        granted = await asyncio.gather(*waiting)
        assert all(reservation.waited >= 30.0 for reservation in granted)
        assert 3 == throttle.snapshot()["groups"]["shared"]["in_flight"]


async def test_models_that_share_limits_share_a_group() -> None:
    """The API says which; a failure to ask is not the end."""
    limits = _Limits()
    interval = timedelta(seconds=10)
    async with _running(_throttle(limits=limits, limits_interval=interval)) as throttle:
        await asyncio.sleep(11)
        for model in ("model-a", "model-b"):
            with await throttle.reserve(Ask(model, 1, 1)):
                pass
        await asyncio.sleep(10)
        groups = throttle.snapshot()["groups"]
        assert ["shared"] == list(groups)
        assert 120.0 == groups["shared"]["limits"][0]


async def test_a_record_survives_the_wire() -> None:
    """What one replica says another can read, and no number is lost."""
    throttle = _throttle()
    await throttle.reserve(Ask("g", 1, 1))
    throttle.observe("g", _headers(), sent_at=0.0, status=200)
    group = throttle._groups["g"]
    lessons = {"p@1": Lesson(Moments(3_000.0, 600.5, 12.25, 3.5), 40)}
    record = RatePosted(replica="r", number=1, groups={"g": group.post(1.0)}, lessons=lessons)
    assert record == RatePosted.model_validate_json(record.model_dump_json())
