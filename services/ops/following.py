"""Reads the output topics live, in no consumer group: looking moves nobody's progress."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.ops.observed import Observed, observe
from services.runtime.connection import connection_options
from services.runtime.reading import open_reader, partitions_of, ranges_of
from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames

_POLL_MS: Final = 250


class What(StrEnum):
    """Which topics to look at."""

    ALL = "all"
    RESULTS = "results"
    DEAD_LETTERS = "dead-letters"


class Start(StrEnum):
    """Where to begin."""

    END = "end"
    BEGINNING = "beginning"


def topics_of(names: TopicNames, tiers: Iterable[Tier], what: What) -> list[str]:
    """Name the topics to look at."""
    results = [] if what is What.DEAD_LETTERS else [names.results(tier) for tier in tiers]
    letters = [] if what is What.RESULTS else [names.dead_letters(tier) for tier in tiers]
    return [*results, *letters]


class Following:
    """A reader placed on some topics; what comes after its opening is not missed."""

    def __init__(
        self, reader: AIOKafkaConsumer, names: TopicNames, partitions: list[TopicPartition]
    ) -> None:
        self._reader = reader
        self._names = names
        self._partitions = partitions

    async def read(self) -> AsyncIterator[list[Observed]]:
        """Yield what came, for ever; an empty list says that nothing did for a moment."""
        while True:
            batches = await self._reader.getmany(*self._partitions, timeout_ms=_POLL_MS)
            seen = [
                observe(
                    self._names,
                    topic=record.topic,
                    partition=record.partition,
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                    value=record.value,
                    headers=record.headers,
                )
                for records in batches.values()
                for record in records
            ]
            yield sorted(seen, key=lambda one: one.at)


@asynccontextmanager
async def following(
    settings: KafkaSettings,
    topics: Iterable[str],
    *,
    start: Start = Start.END,
    since_ms: int | None = None,
) -> AsyncIterator[Following]:
    """Open a `read_committed` reader at the topics' end, beginning, or a moment.

    Raises:
        TopicMissing: A topic does not exist.
    """
    options = connection_options(settings, role="tail")
    partitions = await partitions_of(options, topics)
    async with open_reader(options) as reader:
        reader.assign(partitions)
        ranges = await ranges_of(reader, partitions, since_ms=since_ms)
        for partition, span in ranges.items():
            at_end = start is Start.END and since_ms is None
            reader.seek(partition, span.end if at_end else span.start)
        yield Following(reader, TopicNames(settings.topic_prefix), partitions)
