"""Watches from beside: whether outputs can be read to their end, and whether all is owned."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from tests.chaos.history import Partition, Stall

_PAUSE: Final = 1.0
_SHORT: Final = 3.0
"""Seconds of a stall that is worth no note: transactions are open most of the time."""
_ANSWERS: Final = 5.0
_LOOK_AGAIN: Final = 0.5


class EndWatch:
    """Looks once a second whether the end that readers see moves on, while brokers answer."""

    def __init__(self, bootstrap: str, topics: list[str]) -> None:
        self._bootstrap = bootstrap
        self._admin = _admin(bootstrap)
        self._places = [TopicPartition(*place) for place in partitions_of(self._admin, topics)]
        self._looked_at = time.time()
        self._stood: dict[Partition, tuple[int, float]] = {}
        self._stalls: list[Stall] = []

    @property
    def stalls(self) -> tuple[Stall, ...]:
        """Every stall so far, those that go on among them."""
        until = self._looked_at
        going_on = [Stall(place, since, until) for place, (_, since) in self._stood.items()]
        return tuple(s for s in (*self._stalls, *going_on) if s.until - s.since > _SHORT)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["EndWatch"]:
        """Watch for as long as it is entered."""
        watching = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                visible, written = await asyncio.to_thread(self._ends)
                self._looked_at = time.time()
                self._compare(visible, written, self._looked_at)
            except KafkaException:
                # Brokers that are away show nothing. Afterwards the client would insist on the
                # leaders' epochs of before, which they refuse: a new one asks anew.
                self._admin = _admin(self._bootstrap)
            await asyncio.sleep(_PAUSE)

    def _ends(self) -> tuple[dict[Partition, int], dict[Partition, int]]:
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = dict.fromkeys(self._places, latest)
        visible, written = (
            {
                (place.topic, place.partition): found.result().offset
                for place, found in self._admin.list_offsets(
                    asked, isolation_level=level, request_timeout=_ANSWERS
                ).items()
            }
            for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        )
        return visible, written

    def _compare(
        self, visible: Mapping[Partition, int], written: Mapping[Partition, int], now: float
    ) -> None:
        for place, end in visible.items():
            is_behind = end < written[place]
            stood = self._stood.get(place)
            if stood is not None and (stood[0] != end or not is_behind):
                del self._stood[place]
                self._stalls.append(Stall(place, stood[1], now))
                stood = None
            if is_behind and stood is None:
                self._stood[place] = (end, now)


def partitions_of(admin: AdminClient, topics: list[str]) -> list[Partition]:
    """List the partitions of topics."""
    known = admin.list_topics(timeout=30).topics
    return [(topic, number) for topic in topics for number in known[topic].partitions]


def unowned(
    bootstrap: str, groups: Mapping[str, list[str]], within: float = 20.0
) -> tuple[tuple[str, Partition], ...]:
    """Return the groups' partitions that nobody owns, after giving them some seconds."""
    admin = _admin(bootstrap)
    wanted = {
        (group, place) for group, topics in groups.items() for place in partitions_of(admin, topics)
    }
    deadline = time.monotonic() + within
    while True:
        missing = wanted - _owned(admin, list(groups))
        if not missing or time.monotonic() > deadline:
            return tuple(sorted(missing))
        time.sleep(_LOOK_AGAIN)


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def _owned(admin: AdminClient, groups: list[str]) -> set[tuple[str, Partition]]:
    return {
        (group, (place.topic, place.partition))
        for group, found in admin.describe_consumer_groups(groups).items()
        for member in found.result().members
        if member.assignment is not None
        for place in member.assignment.topic_partitions
    }
