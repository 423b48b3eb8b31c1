"""What waits, for what, and what ends the wait."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from services.runtime.engine.ports import Done, Park, Partition, Verdict
from services.worker.cancellations import Cancelled
from services.worker.models import ModelFacts
from services.worker.seen import Past, PastUnknown
from services.worker.settings import GuardSettings
from services.worker.throttle import ThrottleSettings
from sluice_contracts import CompletionFailed, Tier
from sluice_contracts.topics import TopicNames
from tests.unit.worker.conftest import (
    Build,
    Standing,
    Wire,
    Worker,
    answered,
    refused,
    settings_with,
)
from tests.unit.worker.reading import ASK, SCHEMA, failure_of, outcome_of

pytestmark = pytest.mark.looptime
HAIKU = TopicNames().requests(Tier.HAIKU)
MODEL = "claude-haiku-5-5"
HERE = Partition(HAIKU, 3)
BY_ANN = Cancelled(at_ms=0, by="ann", reason="wrong file")


def _hold(worker: Worker, seconds: float) -> None:
    worker.throttle.hold(MODEL, seconds, "rate")


async def _handling(worker: Worker, **asked: Any) -> asyncio.Task[Verdict]:
    """Begin to handle a record, and let it come to its first wait."""
    task = asyncio.create_task(worker.handler.handle(worker.record({**ASK, **asked}), 0))
    await asyncio.sleep(0.5)
    return task


async def test_a_short_hold_is_sat_out(build: Build) -> None:
    """In the throttle, in its order."""
    worker = await build()
    _hold(worker, 4)
    began = asyncio.get_running_loop().time()
    assert isinstance(await worker.handler.handle(worker.record(ASK), 0), Done)
    assert asyncio.get_running_loop().time() - began >= 4


async def test_a_refused_call_lets_nobody_into_the_same_refusal(build: Build) -> None:
    """The group is held before the place of the refused call is free for the next."""
    plenty = {"requests": 10**6, "input_tokens": 10**9, "output_tokens": 10**9}
    alone = ThrottleSettings.model_validate({"start": plenty, "slow_start": 1, "max_in_flight": 1})
    busy = refused(429, headers={"retry-after": "3", "x-should-retry": "true"})
    worker = await build(busy, settings=settings_with(throttle=alone))
    worker.wire.seconds = 1.0
    for number in range(2):
        await _handling(worker, request_id=f"r{number}")
    await asyncio.sleep(2)
    assert 1 == len(worker.wire.requests)
    await asyncio.sleep(3)
    assert 2 == len(worker.wire.requests)


@pytest.mark.parametrize(("seconds", "rest"), [(30, 30), (119, 60)])
async def test_a_long_hold_gives_the_place_to_others(
    build: Build, seconds: float, rest: float
) -> None:
    """The record is handed back, no attempt is counted, and none of the topic is fetched."""
    worker = await build()
    _hold(worker, seconds)
    verdict = await worker.handler.handle(worker.record(ASK), 0)
    assert isinstance(verdict, Park)
    assert (False, True) == (verdict.counts, rest - 0.1 <= verdict.delay <= rest + 1)
    assert not worker.handler.takes(HAIKU)
    assert worker.handler.takes(TopicNames().requests(Tier.OPUS))
    await asyncio.sleep(seconds - 4)
    assert worker.handler.takes(HAIKU)


async def test_a_hold_sends_those_away_who_wait_already(build: Build) -> None:
    """Within a second; a queue of thousands would starve the other tiers meanwhile."""
    worker = await build()
    _hold(worker, 4)
    task = await _handling(worker)
    _hold(worker, 100)
    await asyncio.sleep(1.1)
    assert isinstance(task.result(), Park)


async def test_who_is_handed_back_finds_deadline_and_cancellation(build: Build) -> None:
    """Each time it comes again, also while nothing of its tier may be called."""
    worker = await build()
    _hold(worker, 100)
    late = worker.record({**ASK, "deadline": "2026-11-23T11:59:59Z"})
    assert "deadline_passed" == failure_of(await worker.handler.handle(late, 0)).failure.code
    worker.cancellations.add("r2", BY_ANN)
    cancelled = worker.record({**ASK, "request_id": "r2"})
    assert "cancelled" == failure_of(await worker.handler.handle(cancelled, 0)).failure.code


async def test_a_closed_gate_calls_back_what_waits_for_its_call(build: Build) -> None:
    """Else every one of them would spend a call to find out the same."""
    worker = await build(refused(402))
    _hold(worker, 3)
    waiting = [await _handling(worker, request_id=f"r{number}") for number in range(3)]
    await asyncio.sleep(4)
    verdicts = [task.result() for task in waiting]
    assert all(isinstance(verdict, Park) and not verdict.counts for verdict in verdicts)
    called = [request for request in worker.wire.requests if b"canary" not in request.content]
    assert 1 == len(called)


async def test_cancelling_ends_a_wait_in_the_throttle(build: Build) -> None:
    """Within a second, unpaid."""
    worker = await build()
    _hold(worker, 4.5)
    task = await _handling(worker)
    worker.cancellations.add("r1", BY_ANN)
    await asyncio.sleep(1.1)
    event = failure_of(task.result())
    assert ("cancelled", None) == (event.failure.code, event.usage)


async def test_cancelling_between_two_rounds_keeps_what_the_first_cost(build: Build) -> None:
    """It is paid for, whatever becomes of the request."""
    worker = await build(answered("no json"))
    worker.wire.seconds = 1
    task = await _handling(worker, output_schema=SCHEMA)
    _hold(worker, 100)
    await asyncio.sleep(10)
    assert not task.done()  # half-way through it is not handed back
    worker.cancellations.add("r1", BY_ANN)
    await asyncio.sleep(1.1)
    event = failure_of(task.result())
    assert ("cancelled", 100, "0.00015", 1) == (
        event.failure.code,
        event.usage and event.usage.output_tokens,
        event.cost and event.cost.amount,
        len(worker.wire.requests),
    )


async def test_a_partition_that_goes_takes_the_unpaid_waits_with_it(build: Build) -> None:
    """The next owner starts them again; of other partitions nothing is ended."""
    worker = await build()
    _hold(worker, 4)
    task = await _handling(worker)
    worker.handler.relinquish(Partition(HAIKU, 4))
    await asyncio.sleep(0.1)
    assert not task.done()
    worker.handler.relinquish(HERE)
    await asyncio.wait([task])
    assert task.cancelled()


async def test_what_is_being_called_may_finish(build: Build) -> None:
    """It is paid for."""
    worker = await build()
    worker.wire.seconds = 10
    task = await _handling(worker)
    worker.handler.relinquish(HERE)
    worker.cancellations.add("r1", BY_ANN)
    _hold(worker, 100)
    assert not isinstance(outcome_of(await task), CompletionFailed)


async def test_a_cancellation_of_the_task_itself_wins(build: Build) -> None:
    """Losing the partition at the same moment as the request is cancelled."""
    worker = await build()
    _hold(worker, 4)
    task = await _handling(worker)
    for attempt in tuple(worker.handler._at_work):
        attempt.interrupt(RuntimeError("this must not get out"))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_nothing_is_taken_before_the_cancellations_are_known(build: Build) -> None:
    """What was taken back days ago must not run because this process does not know yet."""
    worker = await build()
    worker.ready.clear()
    assert not worker.handler.takes(HAIKU)
    worker.ready.set()
    assert worker.handler.takes(HAIKU)


async def test_a_record_waits_for_its_past_without_an_attempt() -> None:
    """While it is not known whether it is a copy, it is neither called nor blamed."""

    async def load(_: Partition) -> AsyncIterator[Past]:
        raise PastUnknown("no leader")
        yield

    standing = Standing(Wire(), settings_with())
    standing.load = load
    async with standing as worker:
        verdict = await worker.handler.handle(worker.record(ASK), 0)
    assert isinstance(verdict, Park)
    assert (False, True) == (verdict.counts, 5 <= verdict.delay <= 10)


@pytest.mark.parametrize(
    ("limit", "counted", "code"),
    [
        (None, None, None),
        (10_000_000, None, None),
        (450_000, 449_000, None),
        (450_000, 451_000, "exceeds_rate_limit"),
        (450_000, None, None),
    ],
)
async def test_no_request_is_too_large_by_hearsay(
    build: Build, limit: int | None, counted: int | None, code: str | None
) -> None:
    """Only a limit that the API told, and a count that it made, turn a request away unpaid."""
    start = {"requests": 1_000, "input_tokens": 450_000, "output_tokens": 1_000_000}
    settings = settings_with(throttle={"start": start, "slow_start": 1})
    worker = await build(settings=settings, facts=ModelFacts(MODEL))
    counting = httpx2.Response(200, json={"input_tokens": counted}) if counted else refused(500)
    worker.wire.choose = lambda call: (
        counting if call.url.path.endswith("count_tokens") else answered()
    )
    if limit is not None:
        worker.throttle.observe(MODEL, _headers(limit), sent_at=0.0, status=200)
    ask = {**ASK, "messages": [{"role": "user", "content": "x" * 1_500_000}]}
    outcome = outcome_of(await worker.handle(worker.record(ask)))
    assert code == (outcome.failure.code if isinstance(outcome, CompletionFailed) else None)


def _headers(limit: int) -> dict[str, str]:
    said = {"requests": 1_000, "input-tokens": limit, "output-tokens": 1_000_000}
    headers = {"date": "Mon, 23 Nov 2026 12:00:00 GMT"}
    for name, value in said.items():
        headers[f"anthropic-ratelimit-{name}-limit"] = str(value)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(value)
        headers[f"anthropic-ratelimit-{name}-reset"] = "2026-11-23T12:00:00Z"
    return headers


async def test_a_gate_is_shut_for_one_tier_only(build: Build) -> None:
    """A broken prompt of one tier costs the others nothing."""
    settings = settings_with(guard=GuardSettings(dead_letter_run=1))
    worker = await build(refused(400), settings=settings)
    await worker.handler.handle(worker.record(ASK), 0)
    assert ["haiku"] == list(worker.handler.closed)
    assert not worker.handler.takes(HAIKU)
    assert worker.handler.takes(TopicNames().requests(Tier.SONNET))
