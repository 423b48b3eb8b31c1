"""What became of each record, by the transaction markers in the log itself.

Batches are fetched as they are stored and read here, field by field: neither a client's filter nor
the broker's index of aborted transactions is asked, so both are checked with what is found.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from tests.chaos.history import Fate, Partition, Place

_BATCH: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, checksum, attributes, last offset's distance, two time
stamps, producer id, producer epoch, first sequence number, count of records."""
_LENGTH_AT: Final = 12
"""Bytes of a batch that its length does not count."""
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_ABORT, _COMMIT = 0, 1
_FETCH: Final = 4_194_304
_EVERYTHING: Final = 0
"""The isolation level at which nothing is left out."""


class Batch(NamedTuple):
    """One batch of records, or one marker."""

    first: int
    last: int
    producer: int
    is_transactional: bool
    marker: int | None
    """What it says of its producer's transaction, where it is a marker."""


def fates(bootstrap: str, topics: Collection[str]) -> dict[Place, Fate]:
    """Read the fate of every record of these topics."""
    return asyncio.run(_fates(bootstrap, topics))


async def _fates(bootstrap: str, topics: Collection[str]) -> dict[Place, Fate]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id="checker-raw")
    found: dict[Place, Fate] = {}
    await client.bootstrap()
    try:
        await client.set_topics(topics)
        for topic in topics:
            for number in sorted(client.cluster.partitions_for_topic(topic) or ()):
                found |= judged((topic, number), await read(client, topic, number))
    finally:
        await client.close()
    return found


async def read(client: AIOKafkaClient, topic: str, number: int) -> list[Batch]:
    """Fetch a partition as it is stored, up to its end; what an answer cuts off comes again."""
    node = client.cluster.leader_for_partition(TopicPartition(topic, number))
    stored: list[Batch] = []
    offset = 0
    while True:
        wanted = [(topic, [(number, offset, _FETCH)])]
        answer = await client.send(node, FetchRequest(100, 1, _FETCH, _EVERYTHING, wanted))
        partition = answer.topics[0][1][0]
        error, end, data = partition[1], partition[2], partition[-1]
        if error:
            raise RuntimeError(f"{topic}/{number}: fetching answered {error}")
        fetched = list(batches(data or b""))
        if not fetched:
            if offset < end:
                raise RuntimeError(f"{topic}/{number}: nothing at {offset} of {end}")
            return stored
        stored += fetched
        offset = fetched[-1].last + 1


def batches(data: bytes) -> Iterator[Batch]:
    """Read batches one after the other; the last one of an answer may be cut off."""
    at = 0
    while at + _BATCH.size <= len(data):
        first, length, _, magic, _, attributes, distance, _, _, producer, *_ = _BATCH.unpack_from(
            data, at
        )
        end = at + _LENGTH_AT + length
        if end > len(data):
            return
        if magic != 2:
            raise ValueError(f"a batch of format {magic} at offset {first}")
        marker = _marker(data, at + _BATCH.size) if attributes & _CONTROL else None
        is_transactional = bool(attributes & _TRANSACTIONAL)
        yield Batch(first, first + distance, producer, is_transactional, marker)
        at = end


def _marker(data: bytes, at: int) -> int:
    """Read a marker's only record: four numbers of varying length, then its key's second half."""
    at = _after_varint(data, at) + 1  # its length and its attributes
    for _ in range(3):  # the distances of its time and offset, the length of its key
        at = _after_varint(data, at)
    _, kind = struct.unpack_from(">hh", data, at)
    return int(kind)


def _after_varint(data: bytes, at: int) -> int:
    while data[at] & 0x80:
        at += 1
    return at + 1


def judged(partition: Partition, found: Iterable[Batch]) -> dict[Place, Fate]:
    """Give each record the fate that the next marker of its producer decides."""
    fates: dict[Place, Fate] = {}
    waiting: defaultdict[int, list[Place]] = defaultdict(list)
    ends = {_COMMIT: Fate.COMMITTED, _ABORT: Fate.ABORTED}
    for batch in found:
        if batch.marker is not None:
            for place in waiting.pop(batch.producer, ()):
                fates[place] = ends[batch.marker]
            continue
        for offset in range(batch.first, batch.last + 1):
            place = (*partition, offset)
            fates[place] = Fate.OPEN if batch.is_transactional else Fate.PLAIN
            if batch.is_transactional:
                waiting[batch.producer].append(place)
    return fates
