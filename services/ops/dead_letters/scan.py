"""Streams dead letters past a filter: memory is a fetch a partition, however many there are."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.ops.dead_letters.letter import Letter, Place
from services.ops.dead_letters.selection import Selection
from services.runtime.reading import (
    Options,
    Range,
    open_reader,
    partitions_of,
    ranges_of,
    read_ranges,
)
from sluice_contracts import TopicNames


@dataclass(slots=True)
class Progress:
    """How far a scan is, for a progress bar."""

    total: int = 0
    """Offsets in the ranges: an upper bound, transaction markers count too."""
    read: int = 0
    selected: int = 0


Watch = Callable[[Progress], None]


class DeadLetters:
    """The dead-letter topics of a system.

    Args:
        options: How to connect.
        names: Topic names.
    """

    def __init__(self, options: Options, names: TopicNames) -> None:
        self.options: Final = options
        self.names: Final = names

    async def pin(self, selection: Selection) -> dict[TopicPartition, Range]:
        """Return what the topics of a selection hold at this moment."""
        partitions = await partitions_of(
            self.options, [self.names.dead_letters(tier) for tier in selection.scope]
        )
        async with open_reader(self.options) as reader:
            return await ranges_of(reader, partitions, since_ms=selection.since_ms)

    async def select(
        self,
        selection: Selection,
        *,
        ranges: Mapping[TopicPartition, Range] | None = None,
        watch: Watch = lambda _: None,
    ) -> AsyncIterator[Letter]:
        """Yield the dead letters that are meant, in order within a partition."""
        ranges = await self.pin(selection) if ranges is None else ranges
        is_meant = selection.test()
        progress = Progress(total=sum(end - start for start, end in ranges.values()))
        watch(progress)
        async with open_reader(self.options) as reader:
            async for tp, records in read_ranges(reader, ranges):
                tier = self.names.tier(tp.topic)
                assert tier is not None
                for record in records:
                    letter = Letter(tier, record)
                    if is_meant(letter):
                        progress.selected += 1
                        yield letter
                progress.read += len(records)
                watch(progress)
        progress.read = progress.total
        watch(progress)

    async def find(self, place: Place) -> Letter | None:
        """Return the dead letter at a place, or None where there is none."""
        tp = TopicPartition(self.names.dead_letters(place.tier), place.partition)
        async with open_reader(self.options) as reader:
            return await self._read_one(reader, tp, place)

    async def _read_one(
        self, reader: AIOKafkaConsumer, tp: TopicPartition, place: Place
    ) -> Letter | None:
        if tp not in await partitions_of(self.options, [tp.topic]):
            return None
        start, end = (await ranges_of(reader, [tp]))[tp]
        if not start <= place.offset < end:
            return None
        async for _, records in read_ranges(reader, {tp: Range(place.offset, place.offset + 1)}):
            for record in records:
                return Letter(place.tier, record)
        return None
