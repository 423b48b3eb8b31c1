"""A worker that starts reads from the results which requests were answered lately."""

import time

import pytest
from aiokafka import AIOKafkaProducer

from services.runtime.engine.ports import Partition, Record
from services.worker.past_outcomes import PastOutcomes
from services.worker.seen import Claim, Identity, Seen
from sluice_contracts import Tier, TopicNames
from sluice_contracts import headers as h
from sluice_contracts.carried import Origin, digest, on_outcome
from tests.conftest import Broker

pytestmark = pytest.mark.kafka
BODY = b'{"request_id":"a"}'


async def _answer(
    broker: Broker, topic: str, request_id: str, *, origin: Origin, body: str | None
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    headers = on_outcome((), origin, generation=0, attempts=1, body=body)
    named = [*headers, (h.REQUEST_ID, request_id.encode())]
    await producer.send_and_wait(topic, b"{}", partition=1, headers=named)
    await producer.stop()


async def test_what_was_answered_is_known(kafka: Broker, topics: TopicNames) -> None:
    """By id, generation and digest, also where the answer went elsewhere (`reply_to`).

    A refused other body is no answer to its id, nor is an answer to another partition's request.
    """
    here = Partition(topics.requests(Tier.HAIKU), 1)
    results, elsewhere = topics.results(Tier.HAIKU), topics.streams
    origin = Origin(*here, 5, 0)
    for topic, name, place, body in (
        (results, "a", origin, digest(BODY)),
        (results, "b", origin, None),
        (elsewhere, "c", origin, digest(BODY)),
        (elsewhere, "d", Origin(here.topic, 0, 5, 0), digest(BODY)),
    ):
        await _answer(kafka, topic, name, origin=place, body=body)
    past = PastOutcomes(
        {"bootstrap_servers": kafka.bootstrap_servers}, topics, window=3600, entries=10,
        reply_to={elsewhere, "no.such.topic"}, clock=time.time,
    )  # fmt: skip
    seen = Seen(past.load, window=3600, entries=10)

    async def claim(name: str, generation: int, body: bytes = BODY) -> Claim:
        record = Record(here, 9, 0, None, body)
        return await seen.claim(record, Identity(name, generation), digest(body), is_hop=False)

    assert Claim.DUPLICATE is await claim("a", 0)
    assert Claim.CONFLICT is await claim("a", 0, b"{}")
    assert Claim.FIRST is await claim("a", 1)
    assert Claim.FIRST is await claim("b", 0)
    assert Claim.DUPLICATE is await claim("c", 0)
    assert Claim.FIRST is await claim("d", 0)
