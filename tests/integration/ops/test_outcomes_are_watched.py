"""Outcomes are watched live, waited for, and seen only once they are committed."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from services.ops.sending import Sender
from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings
from sluice_contracts import (
    CompletionFailed,
    CompletionSucceeded,
    Encoded,
    Tier,
    TopicNames,
    encode,
)
from tests.integration.ops.conftest import Command, read_all
from tests.unit.ops.test_observed import AT, FAILED, SUCCEEDED

pytestmark = pytest.mark.kafka


def outcome(request_id: str, **changes: str) -> Encoded:
    """A succeeded outcome."""
    event = CompletionSucceeded.model_validate({**SUCCEEDED, "request_id": request_id, **changes})
    return encode(event, source="/test", time=AT)


async def test_only_committed_outcomes_are_shown(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """What a transaction took back is never shown; filters choose among the rest."""
    results = topics.results(Tier.HAIKU)
    producer = AIOKafkaProducer(
        **connection_options(kafka_settings), transactional_id=f"{topics.prefix}watched"
    )
    await producer.start()
    for request_id, tenant, keep in (("a", "acme", True), ("b", "x", False), ("c", "x", True)):
        await producer.begin_transaction()
        made = outcome(request_id, tenant=tenant)
        await producer.send_and_wait(results, made.value, made.key, headers=list(made.headers))
        await (producer.commit_transaction() if keep else producer.abort_transaction())
    await producer.stop()

    every = await sluice("tail", "--from-beginning", "--json", "--timeout", "2s")
    one = await sluice("tail", "--from-beginning", "--tenant", "x", "--count", "1")

    assert ["a", "c"] == sorted(json.loads(line)["request_id"] for line in every.out.splitlines())
    assert (0, 0) == (every.code, one.code), every.err + one.err
    assert "succeeded    c " in one.out


async def test_a_person_waits_for_the_outcome(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """`submit --wait` shows the outcome of its own request and of no other."""
    waiting = asyncio.ensure_future(
        sluice("submit", "--tier", "sonnet", "--message", "hi", "--id", "mine", "--wait", "--json")
    )
    async with asyncio.timeout(60):
        while not await read_all(  # noqa: ASYNC110 -- the topic cannot tell
            kafka_settings, [topics.requests(Tier.SONNET)]
        ):
            await asyncio.sleep(0.05)
    async with Sender.open(kafka_settings) as sender:
        for request_id in ("another", "mine"):
            await sender.send(topics.results(Tier.SONNET), outcome(request_id, text="42"))
    ended = await waiting

    facts = json.loads(ended.out)
    assert ended.code == 0, ended.err
    assert ({"succeeded": 1}, 0) == (facts["outcomes"], facts["missing"])
    assert facts["outcome"]["event"]["text"] == "42"


async def test_a_request_that_failed_is_a_failure(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Whoever waits in a script learns it from the exit code; the facts come all the same."""
    event = CompletionFailed.model_validate({**FAILED, "request_id": "mine", "tier": "opus"})
    waiting = asyncio.ensure_future(
        sluice("submit", "--tier", "opus", "--message", "hi", "--id", "mine", "--wait", "--json")
    )
    requests = [topics.requests(Tier.OPUS)]
    while not await read_all(kafka_settings, requests):  # noqa: ASYNC110 -- the topic cannot tell
        await asyncio.sleep(0.05)
    async with Sender.open(kafka_settings) as sender:
        await sender.send(topics.results(Tier.OPUS), encode(event, source="/test", time=AT))
    ended = await waiting

    assert {"output_invalid": 1} == json.loads(ended.out)["outcomes"]
    assert 1 == ended.code
    assert "1 of 1 requests failed" in ended.err


async def test_an_outcome_that_does_not_come_is_said(sluice: Command) -> None:
    """Waiting ends with what is missing and what to look at, as a failure."""
    ended = await sluice("submit", "--tier", "opus", "--message", "hi", "--wait", "--timeout", "1s")

    assert ended.code == 1
    assert "1 of 1 outcomes did not come in time" in ended.err
    assert "sluice doctor" in ended.err
