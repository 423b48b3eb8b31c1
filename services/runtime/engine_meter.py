"""What the engine does, as metrics: its ports measured from outside, its state read at a scrape.

The engine knows nothing of this, so that its simulation measures nothing either.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from services.runtime.engine.engine import EngineState
from services.runtime.engine.ports import (
    Committed,
    Done,
    Fenced,
    Indeterminate,
    Output,
    Partition,
    Producer,
    Record,
    Transactions,
    Verdict,
    Work,
)
from services.runtime.metrics import Metrics

_LOOK: Final = 15.0
"""Seconds between two looks at the lag: two questions to the brokers for each partition."""


class MeteredTransactions:
    """Makes producers that count their commits."""

    def __init__(self, transactions: Transactions, metrics: Metrics) -> None:
        self._transactions = transactions
        self._metrics = metrics

    async def fence(self, partition: Partition) -> Producer:
        """Initialise the producer of this partition."""
        return _MeteredProducer(await self._transactions.fence(partition), self._metrics)


class _MeteredProducer:
    def __init__(self, producer: Producer, metrics: Metrics) -> None:
        self._producer = producer
        self._metrics = metrics
        self._began = 0.0
        self._records = 0
        self.send_progress = producer.send_progress
        self.close = producer.close

    async def begin(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._records = 0
        await self._producer.begin()

    async def send(self, output: Output) -> Awaitable[None]:
        self._records += 1
        return await self._producer.send(output)

    async def commit(self) -> None:
        result = "indeterminate"
        try:
            await self._producer.commit()
            result = "committed"
        except Fenced:
            result = "fenced"
            raise
        finally:
            self._metrics.engine_commits.labels(result).inc()
            if result == "committed":
                took = asyncio.get_running_loop().time() - self._began
                self._metrics.engine_commit_seconds.observe(took)
                self._metrics.engine_commit_records.observe(self._records)


class MeteredWork:
    """Work that counts what the engine gives up."""

    def __init__(self, work: Work, metrics: Metrics) -> None:
        self._work = work
        self._metrics = metrics
        self.takes = work.takes
        self.relinquish = work.relinquish

    def handle(self, record: Record, attempts: int) -> Coroutine[Any, Any, Verdict]:
        """Take a record to its verdict."""
        return self._work.handle(record, attempts)

    def condemn(self, record: Record, crashes: int) -> Done:
        """Give the verdict for a record that was in flight at crashes."""
        self._metrics.engine_condemned.inc()
        return self._work.condemn(record, crashes)

    def refused(self, record: Record, output: Output, reason: str) -> Done:
        """Give another verdict where the broker refuses an output."""
        self._metrics.engine_refused.inc()
        return self._work.refused(record, output, reason)


class Offsets(Protocol):
    """What tells a partition's lag: a part of the engine's log."""

    async def committed(self, partition: Partition) -> Committed:
        """Read the committed offset."""
        ...

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the first and the next offset of the log."""
        ...


class EngineMeter:
    """Shows the engine's state; the lag, which the brokers have to be asked for, while it runs."""

    def __init__(
        self, state: Callable[[], EngineState], offsets: Offsets, metrics: Metrics
    ) -> None:
        self._state = state
        self._offsets = offsets
        self._metrics = metrics
        self._shown: frozenset[Partition] = frozenset()
        metrics.engine_partitions.set_function(lambda: len(state().partitions))
        metrics.engine_parked.set_function(lambda: state().parked)
        metrics.engine_in_flight_bytes.set_function(lambda: state().held_bytes)
        metrics.engine_oldest_seconds.set_function(lambda: state().oldest_call)
        metrics.engine_incomplete.set_function(self._incomplete)

    def _incomplete(self) -> int:
        state = self._state()
        return state.in_flight + state.waiting + state.parked

    async def run(self) -> None:
        """Look at the lag of every owned partition again and again, until cancelled."""
        while True:
            owned = frozenset(self._state().partitions)
            for partition in self._shown - owned:
                self._metrics.engine_lag.remove(*map(str, partition))
            self._metrics.engine_rebalances.labels("assigned").inc(len(owned - self._shown))
            self._metrics.engine_rebalances.labels("revoked").inc(len(self._shown - owned))
            self._shown = owned
            for partition in owned:
                await self._look(partition)
            await asyncio.sleep(_LOOK)

    async def _look(self, partition: Partition) -> None:
        try:
            first, end = await self._offsets.bounds(partition)
            offset = (await self._offsets.committed(partition)).offset
        except Indeterminate:
            return  # what was shown last stands until the brokers answer again
        lag = self._metrics.engine_lag.labels(partition.topic, str(partition.number))
        lag.set(end - max(offset, first))
