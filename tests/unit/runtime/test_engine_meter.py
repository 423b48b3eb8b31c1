"""The engine's ports and state as metrics."""

# ruff: noqa: ARG002 -- the ports name what these doubles do not need

import asyncio
from collections.abc import Awaitable

import pytest

from services.runtime.engine.engine import EngineState
from services.runtime.engine.ports import (
    Committed,
    Done,
    Fenced,
    Indeterminate,
    Output,
    Partition,
    Record,
    Verdict,
)
from services.runtime.engine_meter import EngineMeter, MeteredTransactions, MeteredWork
from services.runtime.metrics import Metrics

pytestmark = pytest.mark.looptime
PLACE = Partition("requests", 3)
OUTPUT = Output("results", 3, b"k", b"v")
RECORD = Record(PLACE, 7, 0, b"k", b"v")


class Ports:
    """A producer whose commit takes 20 ms and ends as told, and what makes it."""

    def __init__(self, ends: Exception | None = None) -> None:
        self.ends = ends
        self.sent: list[Output] = []

    async def fence(self, _: Partition) -> "Ports":
        """Make the producer."""
        return self

    async def begin(self) -> None:
        """Open a transaction."""

    async def send(self, output: Output) -> Awaitable[None]:
        """Take a record."""
        self.sent.append(output)
        return asyncio.sleep(0)

    async def send_progress(self, _: Committed) -> None:
        """Take progress."""

    async def commit(self) -> None:
        """End the transaction."""
        await asyncio.sleep(0.02)
        if self.ends is not None:
            raise self.ends

    async def close(self) -> None:
        """Let go."""


@pytest.mark.parametrize(
    ("ends", "result"),
    [(None, "committed"), (Fenced(), "fenced"), (Indeterminate(), "indeterminate"),
     (TimeoutError(), "indeterminate")],
)  # fmt: skip
async def test_every_end_of_a_transaction_is_counted(ends: Exception | None, result: str) -> None:
    """A transaction counts by how it ended; only one that landed counts its time and records."""
    metrics, ports = Metrics("test"), Ports(ends)
    producer = await MeteredTransactions(ports, metrics).fence(PLACE)
    await producer.begin()
    for _ in range(3):
        await (await producer.send(OUTPUT))
    await producer.send_progress(Committed(8, ""))
    if ends is None:
        await producer.commit()
    else:
        with pytest.raises(type(ends)):
            await producer.commit()

    value = metrics.registry.get_sample_value
    landed = ends is None
    assert value("sluice_engine_commits_total", {"result": result}) == 1
    assert value("sluice_engine_commit_records_sum") == (3 if landed else 0)
    assert value("sluice_engine_commit_seconds_sum") == pytest.approx(0.02 if landed else 0)
    assert [OUTPUT] * 3 == ports.sent


class Handling:
    """Work that finishes everything."""

    async def handle(self, record: Record, attempts: int) -> Verdict:
        """Finish."""
        return Done()

    def takes(self, topic: str) -> bool:
        """Take every topic."""
        return True

    def relinquish(self, partition: Partition) -> None:
        """End nothing."""

    def condemn(self, record: Record, crashes: int) -> Done:
        """Give up."""
        return Done([OUTPUT])

    def refused(self, record: Record, output: Output, reason: str) -> Done:
        """Replace."""
        return Done([output])


async def test_what_is_given_up_is_counted() -> None:
    """A condemned record and a refused output count, a handled record does not."""
    metrics = Metrics("test")
    work = MeteredWork(Handling(), metrics)

    assert Done() == await work.handle(RECORD, 0)
    assert Done([OUTPUT]) == work.condemn(RECORD, 3)
    assert Done([OUTPUT]) == work.refused(RECORD, OUTPUT, "too large")
    value = metrics.registry.get_sample_value
    assert value("sluice_engine_condemned_records_total") == 1
    assert value("sluice_engine_refused_outputs_total") == 1


class Offsets:
    """A log that holds offsets 5 to 50, with so many committed."""

    def __init__(self, committed: int) -> None:
        self.at = committed
        self.is_gone = False

    async def committed(self, _: Partition) -> Committed:
        """Read the committed offset."""
        return Committed(self.at, "")

    async def bounds(self, _: Partition) -> tuple[int, int]:
        """Read the log's bounds."""
        if self.is_gone:
            raise Indeterminate
        return 5, 50


def state(*partitions: Partition) -> EngineState:
    """An engine that owns these partitions."""
    return EngineState(
        partitions=partitions, in_flight=4, waiting=2, parked=1, held_bytes=900, oldest_call=1.5,
        commit_ages={}, claiming={}, unreadable={}, last_poll_age=0, loop_lag=0,
        is_assigned=True, is_draining=False, halted={}, is_broken=False,
    )  # fmt: skip


async def test_the_state_is_read_at_a_scrape_and_the_lag_in_between() -> None:
    """Gauges follow the engine's state; the lag follows the log, for owned partitions only."""
    metrics, now = Metrics("test"), [state(PLACE)]
    offsets = Offsets(-1)
    running = asyncio.create_task(EngineMeter(lambda: now[0], offsets, metrics).run())
    value = metrics.registry.get_sample_value
    lag = {"topic": "requests", "partition": "3"}

    await asyncio.sleep(1)
    assert value("sluice_engine_incomplete_records") == 7
    assert value("sluice_engine_parked_records") == 1
    assert value("sluice_engine_in_flight_bytes") == 900
    assert value("sluice_engine_lag_records", lag) == 45

    offsets.at = 48
    await asyncio.sleep(15)
    assert value("sluice_engine_lag_records", lag) == 2

    offsets.is_gone = True
    await asyncio.sleep(15)
    assert value("sluice_engine_lag_records", lag) == 2

    now[0] = state()
    await asyncio.sleep(15)
    assert value("sluice_engine_lag_records", lag) is None
    assert value("sluice_engine_partitions") == 0
    assert value("sluice_engine_rebalances_total", {"kind": "assigned"}) == 1
    assert value("sluice_engine_rebalances_total", {"kind": "revoked"}) == 1
    running.cancel()
