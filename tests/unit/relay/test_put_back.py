"""When a delayed retry goes back, where to, and in which order."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.relay.put_back import PutBack
from services.runtime.engine.ports import Done, Headers, Output, Park, Partition, Record
from services.runtime.metrics import Metrics
from sluice_contracts import CompletionFailed, RetryDelay, Tier, TopicNames, decode
from sluice_contracts import headers as h
from sluice_contracts.carried import Hop, Origin, digest
from sluice_contracts.headers import find

NAMES = TopicNames("it-x.")
REQUESTS = NAMES.requests(Tier.SONNET)
RETRIES = Partition(NAMES.retries(RetryDelay.ONE_MINUTE), 5)
BODY = b'{"request_id":"a","prompt":"p","tenant":"legal","user":"ann","metadata":{"x":"y"}}'
HOP = Hop(
    return_topic=REQUESTS,
    origin=Origin(REQUESTS, 5, 77, 900_000),
    attempts=4,
    not_before_ms=0,
    failing_since=datetime(1970, 1, 1, tzinfo=UTC),
    history=("4 timed_out x",),
)
MINE: Headers = (("mine", b"1"), (h.ORIGIN_PARTITION, b"99"), (h.ORIGIN_TOPIC, b"foreign"))


class _Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _relay(clock: _Clock) -> PutBack:
    return PutBack(NAMES, Metrics("relay"), clock)


def _record(offset: int, at: float = 1_000.0, not_before: float = 0.0, hop: Hop = HOP) -> Record:
    headers = replace(hop, not_before_ms=int(not_before * 1000)).on(MINE, BODY, {})
    return Record(RETRIES, offset, int(at * 1000), b"k", BODY, headers)


def _back(record: Record) -> Done:
    return Done([Output(REQUESTS, 5, record.key, record.value, record.headers)])


async def test_a_record_rests_for_its_topics_delay() -> None:
    """Not a moment earlier than the broker's timestamp and the delay."""
    clock = _Clock()
    relay, record = _relay(clock), _record(0)
    assert Park(60.0, counts=False) == await relay.handle(record, 0)
    clock.now = 1_059.5
    assert Park(0.5, counts=False) == await relay.handle(record, 0)
    clock.now = 1_060.0
    assert _back(record) == await relay.handle(record, 0)


async def test_a_not_before_a_moment_later_is_waited_for() -> None:
    """What the worker promised counts, where it is a little later than the delay."""
    assert Park(68.0, counts=False) == await _relay(_Clock()).handle(
        _record(0, not_before=1_068.0), 0
    )


@pytest.mark.parametrize(("seconds", "topic"), [(75, "1m"), (150, "1m"), (250, "5m"), (9e9, "30m")])
async def test_a_not_before_long_after_is_another_rest(seconds: float, topic: str) -> None:
    """Nothing goes back early, and nothing holds a partition for long."""
    clock = _Clock()
    relay, record = _relay(clock), _record(0, not_before=1_000.0 + seconds)
    assert Park(60.0, counts=False) == await relay.handle(record, 0)
    clock.now = 1_060.0
    rest = NAMES.retries(RetryDelay(topic))
    again = Output(rest, 5, record.key, record.value, record.headers)
    assert Done([again]) == await relay.handle(record, 0)


async def test_the_first_record_holds_the_others() -> None:
    """Order within a partition survives a due time that is out of order."""
    clock = _Clock()
    relay = _relay(clock)
    first, second = _record(0, not_before=1_070.0), _record(1)
    assert Park(70.0, counts=False) == await relay.handle(first, 0)
    clock.now = 1_060.0
    assert Park(10.0, counts=False) == await relay.handle(second, 0)
    clock.now = 1_070.0
    assert Park(0.001, counts=False) == await relay.handle(second, 0)
    assert _back(first) == await relay.handle(first, 0)
    assert _back(second) == await relay.handle(second, 0)


async def test_a_partition_that_comes_back_begins_anew() -> None:
    """A record that another relay has moved meanwhile holds nothing."""
    clock = _Clock()
    relay = _relay(clock)
    await relay.handle(_record(0), 0)
    relay.forget(RETRIES)
    clock.now = 1_060.0
    assert _back(_record(1)) == await relay.handle(_record(1), 0)


async def test_partitions_do_not_hold_each_other() -> None:
    """Each partition has its own first record."""
    clock = _Clock()
    relay = _relay(clock)
    await relay.handle(_record(0), 0)
    other = replace(_record(9, at=900.0), partition=Partition(RETRIES.topic, 4))
    done = await relay.handle(other, 0)
    assert isinstance(done, Done)
    assert [(REQUESTS, 4)] == [(output.topic, output.partition) for output in done.outputs]


FOREIGN = replace(HOP, return_topic="claude.requests.sonnet.v1")


@pytest.mark.parametrize("headers", [(), MINE, FOREIGN.on((), BODY, {}), HOP.on((), b"other", {})])
async def test_a_record_that_no_worker_of_this_system_wrote_is_given_up(headers: Headers) -> None:
    """It cannot be put back, so it gets an outcome and a dead letter that say why, where it is."""
    clock = _Clock()
    clock.now = 2_000.0
    record = replace(_record(0), headers=headers)
    done = await _relay(clock).handle(record, 0)
    assert isinstance(done, Done)
    outcome, letter = done.outputs
    assert [(NAMES.results(Tier.HAIKU), 5), (NAMES.dead_letters(Tier.HAIKU), 5)] == [
        (output.topic, output.partition) for output in done.outputs
    ]
    event = decode(outcome.value, outcome.headers)
    assert isinstance(event, CompletionFailed)
    assert ("a", "invalid_event") == (event.request_id, event.failure.code)
    assert (b"k", BODY) == (letter.key, letter.value)
    assert "invalid_event" == find(letter.headers, h.FAILURE_CODE)


async def test_a_refused_record_is_given_up_with_all_that_is_known() -> None:
    """Its outcome and dead letter say what a worker's would."""
    relay = _relay(_Clock())
    record = _record(0)
    outcome, letter = relay.refused(record, _back(record).outputs[0], "too large").outputs
    assert [(NAMES.results(Tier.SONNET), 5), (NAMES.dead_letters(Tier.SONNET), 5)] == [
        (output.topic, output.partition) for output in (outcome, letter)
    ]
    event = decode(outcome.value, outcome.headers)
    assert isinstance(event, CompletionFailed)
    assert ("legal", "ann", {"x": "y"}, 4, 100_000) == (
        event.tenant,
        event.user,
        event.metadata,
        event.attempts,
        event.timing.total_ms,
    )
    assert {
        "mine": "1",
        h.FAILURE_CODE: "request_too_large",
        h.ATTEMPT: "4",
        h.ATTEMPT_HISTORY: "4 timed_out x",
        h.ORIGIN_TOPIC: REQUESTS,
        h.ORIGIN_PARTITION: "5",
        h.ORIGIN_OFFSET: "77",
        h.TENANT: "legal",
        h.PROMPT: "p",
        h.RETURN_TOPIC: None,
        "kafka_dlt-original-topic": REQUESTS,
    } == {name: find(letter.headers, name) for name in _SAID}
    assert digest(BODY) == find(outcome.headers, h.REQUEST_DIGEST)


_SAID = (
    "mine", h.FAILURE_CODE, h.ATTEMPT, h.ATTEMPT_HISTORY, h.ORIGIN_TOPIC, h.ORIGIN_PARTITION,
    h.ORIGIN_OFFSET, h.TENANT, h.PROMPT, h.RETURN_TOPIC, "kafka_dlt-original-topic",
)  # fmt: skip


async def test_an_outcome_goes_where_the_request_was_allowed_to_send_it() -> None:
    """As the worker wrote it down; the dead letter stays where operators look."""
    record = _record(0, hop=replace(HOP, outcome_topic="team.answers.v1"))
    done = _relay(_Clock()).condemn(record, 3)
    assert [("team.answers.v1", None), (NAMES.dead_letters(Tier.SONNET), 5)] == [
        (output.topic, output.partition) for output in done.outputs
    ]
