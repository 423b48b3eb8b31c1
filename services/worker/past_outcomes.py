"""Reads the outcomes of the last while back from where they went, for the duplicate guard."""

from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

import structlog

from services.runtime.engine.ports import Headers, Partition
from services.runtime.reading import Options, Unreadable, read_back
from services.worker.seen import Identity, Past, PastUnknown
from sluice_contracts import TopicNames
from sluice_contracts import headers as h

_log = structlog.get_logger(__name__)
_PATIENCE: Final = 30.0
"""Longest wait, in seconds, for the outcomes of one partition. While they cannot be read, new ones
cannot be written there either: waiting costs nothing."""


class PastOutcomes:
    """Reads what `Seen` needs to know about a request partition.

    Args:
        options: How to connect.
        names: Topic names.
        reply_to: Other topics where outcomes may have gone, on any of their partitions.
        window: Seconds to look back.
        entries: Outcomes of one partition to read at most, the youngest.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        options: Options,
        names: TopicNames,
        *,
        reply_to: Collection[str],
        window: float,
        entries: int,
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._names = names
        self._reply_to = dict.fromkeys(sorted(reply_to))
        self._window = window
        self._entries = entries
        self._clock = clock

    async def load(self, partition: Partition) -> AsyncIterator[Past]:
        """Yield the outcomes of a request partition, oldest first on each topic.

        Raises:
            PastUnknown: They cannot be read now.
        """
        tier = self._names.tier(partition.topic)
        assert tier is not None, f"{partition.topic} is not a request topic"
        batches = read_back(
            self._options,
            {self._names.results(tier): partition.number, **self._reply_to},
            since_ms=int((self._clock() - self._window) * 1000),
            most=self._entries,
            within=_PATIENCE,
        )
        try:
            async for records in batches:
                for record in records:
                    past = self._past(tuple(record.headers), record.timestamp, partition)
                    if past is not None:
                        yield past
        except Unreadable as exc:
            _log.warning(
                "past_outcomes.unread", topic=partition.topic, partition=partition.number,
                error=str(exc),
            )  # fmt: skip
            raise PastUnknown(f"its outcomes cannot be read: {exc}") from exc

    def _past(self, headers: Headers, written_ms: int, asked: Partition) -> Past | None:
        request_id, body = h.find(headers, h.REQUEST_ID), h.find(headers, h.REQUEST_DIGEST)
        came_from = h.find(headers, h.ORIGIN_TOPIC), h.find_int(headers, h.ORIGIN_PARTITION)
        if request_id is None or body is None or came_from != asked:
            return None
        identity = Identity(request_id, h.find_int(headers, h.GENERATION) or 0)
        return Past(identity, body, max(0.0, self._clock() - written_ms / 1000))
