"""The adapters over aiokafka, where the client's own ways must not reach the engine."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import IllegalOperation, UnknownTopicOrPartitionError

from services.runtime.engine.ports import (
    Committed,
    Indeterminate,
    Output,
    Partition,
    Refused,
)
from services.runtime.kafka import KafkaProducer


class _Client:
    """Waits for its connection to close, as aiokafka's does: `gather` of a shared future."""

    def __init__(self) -> None:
        self._closed = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        await asyncio.gather(self._closed)


class _Producer:
    def __init__(self) -> None:
        self.client = _Client()

    async def stop(self) -> None:
        await self.client.close()


@pytest.mark.looptime
async def test_a_connection_that_does_not_close_cancels_nobody() -> None:
    """Closing a producer whose connection hangs ends in bounded time and raises nothing."""
    producer = KafkaProducer(cast("Any", _Producer()), Partition("requests", 0), "group")

    await producer.close()

    assert asyncio.get_running_loop().time() <= 5.0


class _Cluster:
    def __init__(self, topics: set[str]) -> None:
        self._topics = topics

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0} if topic in self._topics else None


class _Answering:
    """A client that some broker answers, or none."""

    def __init__(self, *, is_answered: bool, topics: set[str]) -> None:
        self._is_answered = is_answered
        self.cluster = _Cluster(topics)

    async def force_metadata_update(self) -> bool:
        return self._is_answered


class _Failing:
    """A producer whose every request fails in one way."""

    def __init__(self, error: Exception, client: _Answering | None = None) -> None:
        self._error = error
        self.client = client

    async def send(self, *_: object, **__: object) -> None:
        raise self._error

    async def send_offsets_to_transaction(self, *_: object) -> None:
        raise self._error


def _producer(error: Exception, client: _Answering | None = None) -> KafkaProducer:
    return KafkaProducer(cast("Any", _Failing(error, client)), Partition("requests", 0), "group")


@pytest.mark.parametrize(
    ("is_answered", "topics", "expected"),
    [(False, set(), Indeterminate), (True, {"results"}, Indeterminate), (True, set(), Refused)],
)
async def test_a_topic_is_missing_only_where_a_broker_says_so(
    *, is_answered: bool, topics: set[str], expected: type[Exception]
) -> None:
    """While no broker answers, the client calls every topic unknown: no record is to blame."""
    client = _Answering(is_answered=is_answered, topics=topics)
    producer = _producer(UnknownTopicOrPartitionError(), client)

    acknowledged = await producer.send(Output("results", 0, b"key", b"value"))

    with pytest.raises(expected):
        await acknowledged


@pytest.mark.parametrize(("partition", "expected"), [(0, Indeterminate), (9, Refused)])
async def test_a_partition_that_does_not_exist_is_refused(
    partition: int, expected: type[Exception]
) -> None:
    """The client asserts it; of what it asserts else, the result is looked up."""
    client = _Answering(is_answered=True, topics={"results"})
    producer = _producer(AssertionError("Unrecognized partition"), client)

    with pytest.raises(expected):
        await (await producer.send(Output("results", partition, b"key", b"value")))


async def test_a_record_with_neither_key_nor_value_is_refused() -> None:
    """The client would not send it, whatever the brokers say."""
    producer = _producer(AssertionError(), _Answering(is_answered=True, topics={"results"}))

    with pytest.raises(Refused):
        await (await producer.send(Output("results", 0, None, None)))


async def test_a_transaction_that_the_client_gave_up_has_an_unknown_result() -> None:
    """A producer that fails between two sends stops no partition: its result is looked up."""
    producer = _producer(IllegalOperation())

    with pytest.raises(Indeterminate):
        await (await producer.send(Output("results", 0, b"key", b"value")))
    with pytest.raises(Indeterminate):
        await producer.send_progress(Committed(1, ""))
