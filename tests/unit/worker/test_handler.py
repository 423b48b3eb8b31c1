"""From a record to its verdict, on the real SDK and a scripted wire."""

import asyncio
import json
from dataclasses import replace

import pytest

from services.runtime.engine.ports import Done, Park
from services.worker.cancellations import Cancelled
from services.worker.settings import (
    AdmitSettings,
    GuardSettings,
    RetrySettings,
)
from sluice_contracts import CompletionSucceeded, Tier
from sluice_contracts import headers as h
from sluice_contracts.carried import digest
from sluice_contracts.topics import TopicNames
from tests.unit.worker.conftest import Build, answered, refused, settings_with
from tests.unit.worker.reading import (
    ASK,
    AUDIT,
    LETTERS,
    RESULTS,
    failure_of,
    header_of,
    outcome_of,
    topics_of,
)

pytestmark = pytest.mark.looptime

NAMES = TopicNames()
OTHER = {**ASK, "request_id": "other"}
BUSY = refused(429, "rate_limit_error", headers={"retry-after": "7", "x-should-retry": "true"})


async def test_a_request_becomes_one_result_and_one_audit_record(build: Build) -> None:
    """The result lands on the partition number and key of its request."""
    worker = await build()
    verdict = await worker.handler.handle(worker.record(ASK, headers=(("mine", b"1"),)), 0)
    result, audit = verdict.outputs
    assert [RESULTS, AUDIT] == topics_of(verdict)
    assert (3, b"key", "1", "0", "1") == (
        result.partition,
        result.key,
        header_of(result, "mine"),
        header_of(result, h.GENERATION),
        header_of(result, h.ATTEMPT),
    )
    event = outcome_of(verdict)
    assert isinstance(event, CompletionSucceeded)
    assert ("Hello.", "0.00015", 1) == (event.text, event.cost.amount, event.attempts)
    assert "not_requested" == event.validation.verdict
    assert "end_turn" == json.loads(audit.value)["stop_reason"]


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"[]", b'{"request_id": 5}'])
async def test_what_is_no_request_is_a_dead_letter_with_its_bytes(
    build: Build, value: bytes | None
) -> None:
    """Nothing is called, and the letter holds the key and value byte for byte."""
    worker = await build()
    verdict = await worker.handler.handle(worker.record(value), 0)
    assert ([RESULTS, LETTERS], 0) == (topics_of(verdict), len(worker.wire.requests))
    letter = verdict.outputs[1]
    assert (value, b"key", 3) == (letter.value, letter.key, letter.partition)
    assert "invalid_event" == header_of(letter, h.FAILURE_CODE)
    event = failure_of(verdict)
    assert (None, None, None, 0) == (event.usage, event.cost, event.model, event.attempts)
    assert f"{NAMES.requests(event.tier)}/3/1" == event.request_id


async def test_told_to_wait_is_parked_and_no_attempt(build: Build) -> None:
    """A 429 with `retry-after` waits at least that long and uses up nothing."""
    worker = await build(BUSY)
    verdict = await worker.handler.handle(worker.record(ASK), 0)
    assert isinstance(verdict, Park)
    assert (True, False) == (7 <= verdict.delay <= 8, verdict.counts)


async def test_the_last_attempt_ends_in_a_dead_letter_with_its_history(build: Build) -> None:
    """Attempts are counted over hops and parkings; their history is on the letter."""
    worker = await build(refused(500))
    verdict, record = await worker.handle(worker.record(ASK)), None
    rests = []
    while len(verdict.outputs) > 1 and verdict.outputs[0].topic != RESULTS:
        rests.append(verdict.outputs[0].topic)
        record = worker.put_back(verdict.outputs[0])
        verdict = await worker.handle(record)
    delays = ["1m", "5m", "30m", "30m"]
    assert [f"claude.retries.{delay}.v1" for delay in delays] == rests
    assert [RESULTS, LETTERS, AUDIT] == topics_of(verdict)
    letter = verdict.outputs[1]
    assert ("upstream_failed", "8", "1", None, None) == (
        header_of(letter, h.FAILURE_CODE),
        header_of(letter, h.ATTEMPT),
        header_of(letter, h.ORIGIN_OFFSET),
        header_of(letter, h.NOT_BEFORE),
        header_of(letter, h.RETURN_TOPIC),
    )
    # Spring Kafka reads numbers, not text.
    assert (1).to_bytes(8, "big") == dict(letter.headers)["kafka_dlt-original-offset"]
    history = (header_of(letter, h.ATTEMPT_HISTORY) or "").split(";")
    expected = [f"{number} upstream_failed" for number in range(1, 9)]
    assert expected == [entry.rsplit(" ", 1)[0] for entry in history]
    assert 8 == failure_of(verdict).attempts


async def test_a_long_wait_goes_to_a_retry_topic(build: Build) -> None:
    """The hop is the request byte for byte, and not due before the API lets it come back."""
    headers = {"retry-after": "100", "x-should-retry": "true"}
    worker = await build(refused(429, "rate_limit_error", headers=headers))
    record = worker.record(ASK, headers=(("mine", b"1"),))
    verdict = await worker.handler.handle(record, 0)
    hop = verdict.outputs[0]
    assert (["claude.retries.1m.v1", AUDIT], 3) == (topics_of(verdict), hop.partition)
    assert (record.value, record.key, "0", "1") == (
        hop.value,
        hop.key,
        header_of(hop, h.ATTEMPT),
        header_of(hop, "mine"),
    )
    assert record.partition.topic == header_of(hop, h.RETURN_TOPIC)
    due = int(header_of(hop, h.NOT_BEFORE) or 0) - record.timestamp_ms
    assert 100_000 <= due < 101_000


async def test_a_backlog_is_no_failure(build: Build) -> None:
    """Age counts from the first failure, not from when a record was written."""
    worker = await build(refused(500))
    record = worker.record(ASK, age=10 * 24 * 3600)
    assert isinstance(await worker.handler.handle(record, 0), Park)


async def test_waits_that_are_no_attempts_end_by_their_age(build: Build) -> None:
    """A request that is told to wait for ever is given up, however short the history kept of it."""
    worker = await build(BUSY, settings=settings_with(retry=RetrySettings(max_age="10m")))
    began = asyncio.get_running_loop().time()
    verdict = await worker.handle(worker.record(ASK))
    assert ("rate_limited", 10) == (
        failure_of(verdict).failure.code,
        round((asyncio.get_running_loop().time() - began) / 60),
    )
    letter = verdict.outputs[1]
    assert 20 == len((header_of(letter, h.ATTEMPT_HISTORY) or "").split(";"))


async def test_the_age_counts_over_hops(build: Build) -> None:
    """When the first attempt failed is written once and carried on."""
    headers = {"retry-after": "3000", "x-should-retry": "true"}
    settings = settings_with(retry=RetrySettings(max_age="2h"))
    worker = await build(refused(429, headers=headers), settings=settings)
    verdict, hops = await worker.handle(worker.record(ASK)), []
    while verdict.outputs[0].topic != RESULTS:
        hops.append(header_of(verdict.outputs[0], h.FAILING_SINCE))
        await asyncio.sleep(3000)
        verdict = await worker.handle(worker.put_back(verdict.outputs[0]))
    assert (2, 1) == (len(hops), len(set(hops)))
    assert "rate_limited" == failure_of(verdict).failure.code


FORGED = (
    (h.ATTEMPT, b"2000"), (h.NOT_BEFORE, b"1"), (h.FAILING_SINCE, b"2020-01-01T00:00:00+00:00"),
    (h.ATTEMPT_HISTORY, b"1 overloaded 2020-01-01T00:00:00+00:00"),
    (h.RETURN_TOPIC, b"claude.requests.opus.v1"), (h.OUTCOME_TOPIC, b"claude.audit.v1"),
    (h.ORIGIN_TOPIC, b"foreign"), (h.ORIGIN_PARTITION, b"99"), (h.ORIGIN_OFFSET, b"7"),
    (h.ORIGIN_TIMESTAMP, b"1"), (h.REQUEST_DIGEST, b"0123456789abcdef"),
)  # fmt: skip


async def test_a_caller_cannot_send_its_request_elsewhere(build: Build) -> None:
    """Headers of ours on a request say nothing; a hop is written from what is known here."""
    worker = await build(refused(500), settings=settings_with(retry=RetrySettings(park_limit="0s")))
    record = worker.record(ASK, headers=FORGED)
    verdict = await worker.handler.handle(record, 0)
    hop = verdict.outputs[0]
    assert ("claude.retries.1m.v1", 3) == (hop.topic, hop.partition)
    said = {name: header_of(hop, name) for name, _ in FORGED}
    assert (said.pop(h.FAILING_SINCE) or "").startswith("2026-11-23T12:00:00.")
    assert (said.pop(h.ATTEMPT_HISTORY) or "").startswith("1 upstream_failed 2026-11-23T12:00:00.")
    assert 60_000 <= int(said.pop(h.NOT_BEFORE) or 0) - record.timestamp_ms <= 60_100
    assert {
        h.ATTEMPT: "1",
        h.RETURN_TOPIC: record.partition.topic,
        h.OUTCOME_TOPIC: None,
        h.ORIGIN_TOPIC: record.partition.topic,
        h.ORIGIN_PARTITION: "3",
        h.ORIGIN_OFFSET: "1",
        h.ORIGIN_TIMESTAMP: str(record.timestamp_ms),
        h.REQUEST_DIGEST: digest(record.value),
    } == said
    assert len(hop.headers) == len({name for name, _ in hop.headers})


async def test_a_wrong_key_stops_the_tier_and_spends_nothing(build: Build) -> None:
    """Records are handed back until a canary passes; then they go through as if nothing was."""
    denied = refused(401, "authentication_error")
    worker = await build(denied, denied, denied, answered())
    topic = NAMES.requests(Tier.HAIKU)
    assert worker.handler.takes(topic)
    waiting = asyncio.create_task(worker.handle(worker.record(ASK)))
    await asyncio.sleep(1.5)
    assert "not_authorised" in worker.handler.closed["haiku"]
    assert not worker.handler.takes(topic)
    assert worker.handler.takes(NAMES.requests(Tier.OPUS))
    called = len(worker.wire.requests)
    assert isinstance(await worker.handler.handle(worker.record(OTHER), 0), Park)
    assert called == len(worker.wire.requests)
    verdict = await waiting
    assert ([RESULTS, AUDIT, AUDIT], {}) == (topics_of(verdict), worker.handler.closed)


async def test_a_record_that_fails_fatally_while_canaries_pass_is_to_blame(build: Build) -> None:
    """One poisonous request cannot hold its tier for ever."""
    worker = await build()
    poison = {**ASK, "messages": [{"role": "user", "content": "poison"}]}

    denied = refused(403, "permission_error")
    worker.wire.choose = lambda call: denied if b"poison" in call.content else answered()
    verdict = await worker.handle(worker.record(poison))
    assert "not_authorised" == failure_of(verdict).failure.code


async def test_a_run_of_dead_letters_closes_the_gate(build: Build) -> None:
    """Then one request is tried at a time; each that fails alike costs one dead letter."""
    guard = GuardSettings(dead_letter_run=3)
    worker = await build(answered(), settings=settings_with(guard=guard))
    broken = refused(400, "invalid_request_error")
    worker.wire.choose = lambda call: answered() if b"canary" in call.content else broken
    records = [worker.record({**ASK, "request_id": f"r{number}"}) for number in range(13)]
    for record in records[:3]:
        await worker.handler.handle(record, 0)
    assert "request_rejected" in worker.handler.closed["haiku"]
    waiting = [asyncio.create_task(worker.handle(record)) for record in records[3:]]
    await asyncio.sleep(60)
    letters = sum(task.done() for task in waiting)
    assert 2 <= letters <= 4  # after 5, 10, 20 and 40 s, and up to 11 s until one asks
    worker.wire.choose = None
    verdicts = await asyncio.gather(*waiting)
    codes = [getattr(outcome_of(verdict), "failure", None) for verdict in verdicts]
    assert letters <= sum(code is not None for code in codes) <= letters + 1
    assert ({}, {}) == (worker.handler.closed, worker.handler.doubted)


async def test_broken_upstream_raises_an_alarm_and_stops_nobody(build: Build) -> None:
    """What costs nothing to refuse is refused at full speed."""
    worker = await build(settings=settings_with(guard=GuardSettings(dead_letter_run=3)))
    for _ in range(10):
        await worker.handler.handle(worker.record(b"?"), 0)
    assert {} == worker.handler.closed


async def test_a_cancelled_request_is_never_called(build: Build) -> None:
    """It fails as `cancelled`, unpaid."""
    worker = await build()
    worker.cancellations.add("r1", Cancelled(at_ms=0, by="ann", reason="wrong file"))
    verdict = await worker.handler.handle(worker.record(ASK), 0)
    assert ("cancelled", 0) == (failure_of(verdict).failure.code, len(worker.wire.requests))


async def test_the_second_record_of_a_request_ends_in_silence(build: Build) -> None:
    """A copy is completed without a call and without a second outcome."""
    worker = await build()
    await worker.handler.handle(worker.record(ASK), 0)
    assert Done() == await worker.handler.handle(worker.record(ASK), 0)
    assert 1 == len(worker.wire.requests)


async def test_another_body_under_the_same_id_is_refused(build: Build) -> None:
    """Its outcome carries no digest, so that it is not taken for the id's own."""
    worker = await build()
    await worker.handler.handle(worker.record(ASK), 0)
    verdict = await worker.handler.handle(worker.record({**ASK, "user": "bob"}), 0)
    assert ("invalid_event", None) == (
        failure_of(verdict).failure.code,
        header_of(verdict.outputs[0], "x-request-digest"),
    )


async def test_a_bug_costs_one_record(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is tried again while it is free, then `internal_error`."""
    worker = await build()
    monkeypatch.setattr("services.worker.pipeline.render", lambda *_: 1 / 0)
    record = worker.record(ASK)
    assert isinstance(await worker.handler.handle(record, 0), Park)
    verdict = await worker.handler.handle(record, 7)
    failure = failure_of(verdict).failure
    assert ("internal_error", True) == (failure.code, "ZeroDivisionError" in failure.detail)


async def test_a_result_that_the_broker_refuses_becomes_afailure_of(build: Build) -> None:
    """What its call cost stays on the books, on the tier's own topic."""
    worker = await build()
    record = worker.record(ASK, headers=(("mine", b"x" * 9_999),))
    result = (await worker.handler.handle(record, 0)).outputs[0]
    replaced = worker.handler.refused(record, result, "too large")
    event = failure_of(replaced)
    assert ([RESULTS, LETTERS], 100) == (
        topics_of(replaced),
        event.usage and event.usage.output_tokens,
    )
    assert (record.value, None) == (
        replaced.outputs[1].value,
        header_of(replaced.outputs[0], "mine"),
    )
    assert ("default", record.headers[0][1].decode()) == (
        event.tenant,
        header_of(replaced.outputs[1], "mine"),
    )


async def test_a_callers_topic_that_refuses_costs_no_header(build: Build) -> None:
    """Its own topic's limit says nothing of ours, and downstream needs the headers."""
    worker = await build()
    record = worker.record(ASK, headers=(("mine", b"x"),))
    result = (await worker.handler.handle(record, 0)).outputs[0]
    replaced = worker.handler.refused(record, replace(result, topic="theirs"), "too large")
    assert ([RESULTS, LETTERS], "x") == (
        topics_of(replaced),
        header_of(replaced.outputs[0], "mine"),
    )


async def test_a_dead_letter_that_the_broker_refuses_rests_without_its_value(build: Build) -> None:
    """It says where the value is, so that nothing stands still for one record."""
    worker = await build()
    record = worker.record(ASK)
    letter = worker.handler.condemn(record, 3).outputs[1]
    replaced = worker.handler.refused(record, letter, "too large")
    assert (None, "1", b"key") == (
        replaced.outputs[1].value,
        header_of(replaced.outputs[1], h.ORIGIN_OFFSET),
        replaced.outputs[1].key,
    )


@pytest.mark.parametrize("value", [None, json.dumps(ASK).encode()])
async def test_every_letter_can_be_sent(build: Build, value: bytes | None) -> None:
    """Kafka's clients refuse a record with neither key nor value: the id takes the key's place."""
    worker = await build()
    record = worker.record(value, key=None)
    letter = worker.handler.condemn(record, 3).outputs[1]
    if value is not None:
        assert (None, value, None) == (letter.key, letter.value, header_of(letter, h.ORIGINAL_KEY))
        letter = worker.handler.refused(record, letter, "too large").outputs[1]
    name = "r1" if value is not None else f"{NAMES.requests(Tier.HAIKU)}/3/1"
    assert (name.encode(), None, "null") == (
        letter.key,
        letter.value,
        header_of(letter, h.ORIGINAL_KEY),
    )


async def test_a_record_that_kills_workers_is_given_up(build: Build) -> None:
    """The poison guard's verdict is a dead letter that names the crashes."""
    worker = await build()
    known = {"tenant": "legal", "user": "ann", "metadata": {"a": "b"}}
    verdict = worker.handler.condemn(worker.record({**ASK, **known}), 3)
    event = failure_of(verdict)
    assert ("internal_error", True) == (event.failure.code, "3 crashes" in event.failure.detail)
    assert known == {name: getattr(event, name) for name in known}
    assert "legal" == header_of(verdict.outputs[1], h.TENANT)
    assert Done() == await worker.handler.handle(worker.record({**ASK, **known}), 0)


async def test_a_deadline_ends_the_retries(build: Build) -> None:
    """No attempt is promised for after the deadline."""
    retry = RetrySettings(base_delay="50s")
    worker = await build(BUSY, settings=settings_with(retry=retry))
    ask = {**ASK, "deadline": "2026-11-23T12:00:05Z"}
    verdict = await worker.handler.handle(worker.record(ask), 0)
    assert "deadline_passed" == failure_of(verdict).failure.code


async def test_an_allowed_reply_to_gets_the_outcome_whatever_it_is(build: Build) -> None:
    """On any of its partitions; the dead letter stays where operators look."""
    allowed = AdmitSettings(reply_to=frozenset({"team.answers.v1"}))
    worker = await build(settings=settings_with(admit=allowed))
    late = {**ASK, "reply_to": "team.answers.v1", "deadline": "2026-11-23T11:00:00Z"}
    verdict = await worker.handler.handle(worker.record(late), 0)
    assert ["team.answers.v1", LETTERS] == topics_of(verdict)
    assert (None, 3) == tuple(output.partition for output in verdict.outputs)
    elsewhere = {**ASK, "request_id": "r2", "reply_to": "claude.audit.v1"}
    verdict = await worker.handler.handle(worker.record(elsewhere), 0)
    assert ([RESULTS, LETTERS], "not_authorised") == (
        topics_of(verdict),
        failure_of(verdict).failure.code,
    )
