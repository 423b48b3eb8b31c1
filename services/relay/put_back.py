"""Puts a delayed retry back on its request topic when it is due: the relay's whole meaning.

A record rests for its topic's delay, by the broker's clock (the retry topics are LogAppendTime).
Only the first record of a partition that is still here may go, so the order of a partition
survives. One that is not to be tried before a later time (`x-not-before`) holds the others if it is
a moment, and else rests again, on the topic whose delay is nearest.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from services.relay.give_up import Epitaph, give_up
from services.runtime.engine.ports import Done, Output, Park, Partition, Record, Verdict
from services.runtime.metrics import Metrics
from sluice_contracts import FailureCode, RetryDelay, Tier, TopicNames
from sluice_contracts import headers as h
from sluice_contracts.carried import Hop

log = structlog.get_logger(__name__)

_BEHIND: Final = 0.001
"""Seconds after which a due record that is not first looks again; the first is due as well."""
_LONG: Final = 86_400.0
_MOMENT: Final = 10.0
"""Seconds for which a first record may hold the others beyond its topic's delay."""


class PutBack:
    """The engine's `Work` of the relay.

    Args:
        names: Topic names.
        metrics: Where lateness is counted.
        clock: Unix time in seconds; compared with the brokers', so keep the hosts' clocks close.
    """

    def __init__(self, names: TopicNames, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._names = names
        self._metrics = metrics
        self._clock = clock
        self._delays: Final = {names.retries(delay): delay for delay in RetryDelay}
        self._requests: Final = {names.requests(tier): tier for tier in Tier}
        self._resting: defaultdict[Partition, OrderedDict[int, float]] = defaultdict(OrderedDict)
        for topic, delay in self._delays.items():
            metrics.relay_held.labels(delay).set_function(partial(self._held, topic))

    async def handle(self, record: Record, attempts: int) -> Verdict:  # noqa: ARG002 -- the port's
        """Put the record back if it is due and first, else park it until it may be."""
        resting = self._resting[record.partition]
        due = resting.setdefault(record.offset, self.due(record))
        now = self._clock()
        if now < due:
            return Park(due - now, counts=False)
        first = next(iter(resting))
        if first != record.offset:
            return Park(max(resting[first] - now, _BEHIND), counts=False)
        del resting[record.offset]
        return self._moved(record, late=now - due)

    def forget(self, partition: Partition) -> None:
        """Drop what is remembered of a partition that another relay may have had meanwhile."""
        self._resting.pop(partition, None)

    def takes(self, topic: str) -> bool:  # noqa: ARG002 -- the port's
        """Move whatever rests here."""
        return True

    def relinquish(self, partition: Partition) -> None:
        """End nothing: no record is ever at work, they rest."""

    def condemn(self, record: Record, crashes: int) -> Done:
        """Give up a record that was in hand at too many crashes."""
        detail = f"the relay crashed {crashes} times with this record in hand; see its log"
        return self._given_up(record, FailureCode.INTERNAL_ERROR, detail)

    def refused(self, record: Record, output: Output, reason: str) -> Done:
        """Give up a record that its request topic refuses for good."""
        detail = f"topic {output.topic} refuses the record, {reason}; compare max.message.bytes"
        return self._given_up(record, FailureCode.REQUEST_TOO_LARGE, detail)

    def due(self, record: Record) -> float:
        """Return the moment from which a record may leave its topic, Unix seconds."""
        delay = self._delays[record.partition.topic]
        rests_until = record.timestamp_ms / 1000 + delay.duration.total_seconds()
        not_before = _not_before(record)
        return not_before if rests_until < not_before <= rests_until + _MOMENT else rests_until

    def _held(self, topic: str) -> int:
        return sum(len(held) for at, held in self._resting.items() if at.topic == topic)

    def _moved(self, record: Record, *, late: float) -> Done:
        hop = Hop.read(record.headers, record.value)
        if hop is None or hop.return_topic not in self._requests:
            detail = (
                "nothing on the record says which request topic it came from as a worker of this"
                " system writes it; only workers write to retry topics"
            )
            return self._given_up(record, FailureCode.INVALID_EVENT, detail)
        delay = self._delays[record.partition.topic]
        self._metrics.relay_moved.labels(delay).inc()
        left = _not_before(record) - self._clock()
        topic = hop.return_topic
        if left > 0:
            topic = self._names.retries(RetryDelay.nearest(timedelta(seconds=min(left, _LONG))))
        else:
            self._metrics.relay_late_seconds.labels(delay).observe(late)
        number = record.partition.number
        return Done([Output(topic, number, record.key, record.value, record.headers)])

    def _given_up(self, record: Record, code: FailureCode, detail: str) -> Done:
        self._resting[record.partition].pop(record.offset, None)
        hop = Hop.read(record.headers, record.value)
        tier = self._requests.get(hop.return_topic if hop is not None else "", Tier.HAIKU)
        log.error("record.given_up", partition=record.partition, offset=record.offset, code=code)
        return Done(give_up(record, hop, Epitaph(tier, code, detail, self._clock()), self._names))


def _not_before(record: Record) -> float:
    return (h.find_int(record.headers, h.NOT_BEFORE) or 0) / 1000
