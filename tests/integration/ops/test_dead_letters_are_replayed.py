"""A person puts dead letters back: planned, changed, paused, taken over, and each sent once."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from services.ops.cluster import Cluster
from services.ops.replay.control import keep_heard, start
from services.ops.replay.lane import Operator
from services.ops.replay.pace import Bucket, Pace
from services.ops.replay.run import Run
from services.ops.replay.session import utc_now
from services.ops.replay.standing import Phase
from services.ops.replay.store import Plans
from services.ops.topic_plan import plan as topic_plan
from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames
from sluice_contracts.topics import catalogue
from tests.integration.ops.conftest import Command, read_all
from tests.integration.ops.letters import write_letters

pytestmark = pytest.mark.kafka
_QUICK = ("--rate", "100000", "--canary", "0", "--json")


async def _plan(sluice: Command, *arguments: str) -> dict[str, Any]:
    ended = await sluice("replay", "plan", "--why", "test", "--by", "ada", "--json", *arguments)
    assert ended.code == 0, ended.err
    plan: dict[str, Any] = json.loads(ended.out)
    return plan


async def _sent(settings: KafkaSettings, names: TopicNames, tier: Tier = Tier.HAIKU) -> list[Any]:
    return await read_all(settings, [names.requests(tier)])


def _last(out: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return report


async def test_each_is_sent_once_and_on_record(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """The bytes stay, the generation grows, and the audit topic names each one."""
    await write_letters(kafka_settings, topics, 40)
    plan = await _plan(sluice, "--code", "refused")
    ended = await sluice("replay", "run", plan["plan_id"], *_QUICK)
    sent = await _sent(kafka_settings, topics)
    audited = [json.loads(r.value) for r in await read_all(kafka_settings, [topics.audit])]
    again = await _plan(sluice, "--code", "refused")

    assert ended.code == 0, ended.err
    assert ("finished", 20, 20) == (
        _last(ended.out)["phase"],
        plan["found"]["selected"],
        len(sent),
    )
    first = next(record for record in sent if record.key == b"k2")
    assert {"request_id": "r2", "prompt": "triage@1", "variables": {"n": 2}} == (
        json.loads(first.value)
    )
    assert {
        "ce_type": b"claude.completion.requested.v1",
        "x-shop": b"mine",
        "x-request-id": b"r2",
        "x-root-id": b"r2",
        "x-generation": b"1",
        "x-replay-id": plan["plan_id"].encode(),
    } == dict(first.headers)
    assert 1 == first.partition
    named = [name for each in audited if each["action"] == "replay.sent"
             for _, name, _ in each["details"]["sent"]]  # fmt: skip
    assert {f"r{number}" for number in range(0, 40, 2)} == set(named)
    assert {"ada"} == {each["who"] for each in audited if each["action"] == "replay.planned"}
    assert (0, 20) == (again["found"]["selected"], again["found"]["handled"])


async def test_requests_are_changed_on_their_way(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Another tier and prompt version; what comes to rest later is outside the plan."""
    await write_letters(kafka_settings, topics, 4)
    plan = await _plan(sluice, "--to-tier", "opus", "--prompt-version", "3")
    await write_letters(kafka_settings, topics, 4)
    await sluice("replay", "run", plan["plan_id"], *_QUICK)
    sent = await _sent(kafka_settings, topics, Tier.OPUS)

    assert ["triage@3"] * 4 == [json.loads(record.value)["prompt"] for record in sent]


async def test_a_tier_that_is_too_narrow_is_told_before_anything_is_written(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Haiku was grown and opus was not: partition 2 is nowhere to be sent to, 0 and 1 are."""
    async with Cluster.open(kafka_settings) as cluster:
        rows = [row for row in catalogue(topics.prefix, 3) if ".haiku." in row.name]
        state = await cluster.state()
        await cluster.apply(rows, state, topic_plan(rows, state))
    await write_letters(kafka_settings, topics, 4)
    fitting = await _plan(sluice, "--to-tier", "opus")
    await write_letters(kafka_settings, topics, 1, partition=2)
    asked = ("replay", "plan", "--why", "test", "--to-tier", "opus")
    refused = await sluice(*asked)
    async with Cluster.open(kafka_settings) as cluster:
        await cluster._admin.delete_topics([topics.requests(Tier.OPUS)])
    missing = await sluice(*asked)

    assert (4, ["opus"]) == (fitting["found"]["selected"], fitting["found"]["unheard"])
    assert 1 == refused.code
    assert f"up to 2, and of partitions {topics.requests(Tier.OPUS)} has 2" in refused.err
    assert "sluice topics apply --partitions 3" in refused.err
    assert 1 == missing.code
    assert f"tier opus cannot take the requests: topic {topics.requests(Tier.OPUS)}" in missing.err


async def test_a_change_that_makes_no_request_is_refused_before_anything_is_sent(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """The plan counts what the edit would break and leaves it out."""
    await write_letters(kafka_settings, topics, 4)
    plan = await _plan(sluice, "--merge-patch", '{"priority": "soonish"}')

    assert (0, 4) == (plan["found"]["selected"], plan["found"]["refused"])


async def test_canaries_without_an_outcome_pause_the_plan(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """No worker runs here: three are sent, the rest only when somebody says so."""
    await write_letters(kafka_settings, topics, 10)
    plan_id = (await _plan(sluice))["plan_id"]
    paused = await sluice(
        "replay", "run", plan_id, "--rate", "1000", "--canary", "3", "--canary-timeout", "2"
    )
    sent = len(await _sent(kafka_settings, topics))
    refused = await sluice("replay", "run", plan_id, *_QUICK)
    resumed = await sluice("replay", "resume", plan_id, *_QUICK)

    assert (1, 3) == (paused.code, sent)
    assert "is paused" in refused.err
    assert ("finished", 10) == (_last(resumed.out)["phase"], _last(resumed.out)["sent_in_all"])
    assert 10 == len(await _sent(kafka_settings, topics))


async def test_a_running_plan_is_paused_from_elsewhere(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """The run ends between two transactions and says who paused it; discarding is too late."""
    await write_letters(kafka_settings, topics, 60)
    plan_id = (await _plan(sluice))["plan_id"]
    running = asyncio.ensure_future(
        sluice("replay", "run", plan_id, "--rate", "5", "--canary", "0", "--json")
    )
    while not await _sent(kafka_settings, topics):  # noqa: ASYNC110 -- another process sends
        await asyncio.sleep(0.3)
    await sluice("replay", "pause", plan_id, "--why", "too many", "--by", "bob")
    ended = await running
    discarded = await sluice("replay", "discard", plan_id, "--why", "not needed")

    assert (1, "paused by bob: too many") == (ended.code, _last(ended.out)["stopped"])
    assert len(await _sent(kafka_settings, topics)) < 60
    assert "is paused, not planned" in discarded.err


async def test_two_operators_send_each_once(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """The later run takes over; the earlier one says so."""
    await write_letters(kafka_settings, topics, 400)
    plan_id = (await _plan(sluice))["plan_id"]
    first = asyncio.ensure_future(
        sluice("replay", "run", plan_id, "--rate", "4", "--canary", "0", "--json")
    )
    # A partition that the first has not begun would not be taken over.
    begun: set[int] = set()
    while len(begun) < 2:
        begun = {record.partition for record in await _sent(kafka_settings, topics)}
    second = await sluice("replay", "run", plan_id, *_QUICK)
    ended = await first
    counts = Counter(record.key for record in await _sent(kafka_settings, topics))

    assert (0, "finished") == (second.code, _last(second.out)["phase"])
    assert 2 == _last(ended.out)["taken_over"]
    assert (400, {1}) == (len(counts), set(counts.values()))


async def test_a_run_says_that_it_lives_until_its_plan_is_paused(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Its word changes nothing but its date, and brings no paused plan back."""
    await write_letters(kafka_settings, topics, 4)
    plan_id = (await _plan(sluice))["plan_id"]
    plans = Plans(connection_options(kafka_settings, role="ops"), topics)
    operator = Operator("ada", utc_now)
    running = await start(plans, plan_id, operator, allowed={Phase.PLANNED}, again=False)
    every = timedelta(milliseconds=50)
    speaking = asyncio.ensure_future(keep_heard(plans, running, operator, every=every))
    heard = await plans.get(plan_id)
    while heard.heard_at is None:
        heard = await plans.get(plan_id)
    paused = await sluice("replay", "pause", plan_id, "--json")
    speaking.cancel()
    with suppress(asyncio.CancelledError):
        await speaking
    shown = await sluice("replay", "status", plan_id, "--json")

    assert (Phase.RUNNING, running.version, running.changed_at) == (
        heard.phase,
        heard.version,
        heard.changed_at,
    )
    assert 0 == paused.code, paused.err
    assert ("paused", False) == (json.loads(shown.out)["phase"], json.loads(shown.out)["is_lost"])


async def test_a_run_that_was_killed_is_shown_as_lost(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """The log says that it runs; its last word is an hour old. Another run takes it up."""
    await write_letters(kafka_settings, topics, 4)
    plan_id = (await _plan(sluice))["plan_id"]
    plans = Plans(connection_options(kafka_settings, role="ops"), topics)
    an_hour_ago = Operator("ada", lambda: utc_now() - timedelta(hours=1))
    await start(plans, plan_id, an_hour_ago, allowed={Phase.PLANNED}, again=False)
    shown = await sluice("replay", "status", plan_id)
    ended = await sluice("replay", "run", plan_id, *_QUICK)

    assert "not heard of since" in " ".join(shown.out.split())
    assert (0, "finished") == (ended.code, _last(ended.out)["phase"])


async def test_a_plan_is_made_for_a_reason(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Only that reason is sent, and the audit topic says which it was."""
    await write_letters(kafka_settings, topics, 6)
    plan = await _plan(sluice, "--reason", "timed_out: detail …")
    ended = await sluice("replay", "run", plan["plan_id"], *_QUICK)
    sent = await _sent(kafka_settings, topics)
    audited = [json.loads(r.value) for r in await read_all(kafka_settings, [topics.audit])]

    assert 0 == ended.code, ended.err
    assert {b"k1", b"k3", b"k5"} == {record.key for record in sent}
    assert {"reasons timed_out: detail …"} == {
        each["details"]["selection"] for each in audited if each["action"] == "replay.planned"
    }


async def test_a_tier_without_allowance_stops_no_other(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Opus has none; haiku is sent whole, though neither fits into what is read ahead."""
    for tier in (Tier.OPUS, Tier.HAIKU):
        await write_letters(kafka_settings, topics, 10, tier=tier, partition=0, padding=600_000)
    plan_id = (await _plan(sluice))["plan_id"]
    plans = Plans(connection_options(kafka_settings, role="ops"), topics)
    operator = Operator("ada", utc_now)
    standing = await start(plans, plan_id, operator, allowed={Phase.PLANNED}, again=False)
    rates = {Tier.OPUS: 1e-9, Tier.HAIKU: 1e6}
    buckets = {tier: Bucket(partial(rates.__getitem__, tier)) for tier in rates}
    pace = Pace(buckets, canary=0)
    running = asyncio.ensure_future(Run(standing.plan, plans, operator, pace).run({}))
    haiku = opus = 0
    while (haiku < 10 or opus < 1) and not running.done():
        haiku = len(await _sent(kafka_settings, topics))
        opus = len(await _sent(kafka_settings, topics, Tier.OPUS))
    pace.stop("seen")
    report = await running

    assert (10, 1) == (
        len(await _sent(kafka_settings, topics)),
        len(await _sent(kafka_settings, topics, Tier.OPUS)),
    )
    assert (11, False) == (report.sent, report.is_complete)


async def test_discarded_ones_are_left_out_of_later_plans(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Until somebody asks for them again."""
    await write_letters(kafka_settings, topics, 10)
    plan_id = (await _plan(sluice, "--code", "refused"))["plan_id"]
    await sluice("replay", "discard", plan_id, "--why", "test orders")
    later = await _plan(sluice)
    again = await _plan(sluice, "--again")

    assert (5, 5) == (later["found"]["selected"], later["found"]["handled"])
    assert 10 == again["found"]["selected"]
