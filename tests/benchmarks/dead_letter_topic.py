"""Fills dead-letter topics as workers would have, for benchmarks of the tools."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice

from confluent_kafka import Producer

from sluice_contracts import Tier, TopicNames, encode
from tests.benchmarks.inputs import Input, tickets

_WHEN = datetime(2026, 1, 1, tzinfo=UTC)
CODES = ("output_invalid", "refused", "request_rejected", "timed_out", "overloaded")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it is written."""

    request_id: str
    code: str
    generation: int
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def letters(count: int, names: TopicNames, partitions: int) -> Iterator[Letter]:
    """Make dead letters of real tickets, over and over where there are fewer of them.

    In turn to the partitions and causes; every third one has been replayed before.
    """
    known: list[Input] = list(tickets())
    for number, given in enumerate(islice(cycle(known), count)):
        request_id = f"{given.request.request_id}-{number}"
        request = given.request.model_copy(update={"request_id": request_id})
        said = encode(request, source="/bench", time=_WHEN)
        code, generation = CODES[number % len(CODES)], int(number % 3 == 0)
        headers = (
            *((name, value or b"") for name, value in said.headers),
            ("shop", b"bern"),
            ("x-generation", str(generation).encode()),
            ("x-attempt", b"3"),
            ("x-root-id", request_id.encode()),
            ("x-failure-code", code.encode()),
            ("x-failure-detail", b"made for a benchmark"),
            ("x-tenant", request.tenant.encode()),
            ("x-prompt", (request.prompt or "").encode()),
            ("x-origin-topic", names.requests(Tier.HAIKU).encode()),
            ("x-origin-partition", b"0"),
            ("x-origin-offset", str(number).encode()),
            ("x-origin-timestamp", b"1700000000000"),
        )
        yield Letter(
            request_id, code, generation, number % partitions, said.key, said.value, headers
        )


def fill(bootstrap: str, names: TopicNames, count: int, partitions: int) -> Iterator[Letter]:
    """Write dead letters, and yield each as it is handed over.

    Raises:
        RuntimeError: Not all were acknowledged in the end.
    """
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 200_000}
    )
    for letter in letters(count, names, partitions):
        while True:
            try:
                producer.produce(
                    names.dead_letters(Tier.HAIKU), letter.value, key=letter.key,
                    headers=list(letter.headers), partition=letter.partition,
                )  # fmt: skip
                break
            except BufferError:
                producer.poll(0.2)
        producer.poll(0)
        yield letter
    if producer.flush(120):
        raise RuntimeError("dead letters were not acknowledged")
