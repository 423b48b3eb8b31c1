"""Reads topics as downstream does, `read_committed`, with a client that the worker does not use."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Self, cast

from services.ops.demo.tally import Found
from services.ops.failure import CommandFailed
from sluice_contracts import Headers, Tier, TopicNames

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
except ImportError as exc:
    raise CommandFailed(
        "the demo checks its result with confluent-kafka, which an installed sluice does not have; "
        "run it from a checkout: make demo"
    ) from exc

if TYPE_CHECKING:
    from confluent_kafka import Message

_ANSWER_SECONDS: Final = 15.0
_AT_ONCE: Final = 500


class CommittedReader:
    """Reads every record of the request, result and dead-letter topics, from the beginning."""

    def __init__(self, bootstrap_servers: str, names: TopicNames) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "demo-reader",  # required by the client; nothing is committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )
        kinds = (names.requests, names.results, names.dead_letters)
        wanted = [topic(tier) for tier in Tier for topic in kinds]
        known = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics
        places = [TopicPartition(t, p, 0) for t in wanted for p in known[t].partitions]
        self._unfinished = {(place.topic, place.partition) for place in places}
        self._consumer.assign(places)

    def read(self, seconds: float) -> Iterator[Found]:
        """Yield what there is, waiting so long for the first record."""
        for message in self._consumer.consume(_AT_ONCE, timeout=seconds):
            error = message.error()
            place = (message.topic(), message.partition())
            if error is None:
                yield _found(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                self._unfinished.discard(place)
            else:
                raise KafkaException(error)

    def read_to_end(self) -> Iterator[Found]:
        """Yield everything up to the end of every partition."""
        while self._unfinished:
            yield from self.read(_ANSWER_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _found(message: "Message") -> Found:
    # The client types what an error's message may lack; a record has all of it.
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers = cast("Headers", tuple(message.headers() or ()))
    return Found(topic, partition, offset, message.value(), headers)
