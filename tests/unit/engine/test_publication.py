"""Outcomes and progress become visible together, once, whatever the producer answers."""

import asyncio
from collections.abc import Awaitable

import pytest

from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import (
    Committed,
    Fenced,
    Indeterminate,
    Output,
    Partition,
    Refused,
)
from services.runtime.engine.publication import Lost, Publication

pytestmark = pytest.mark.looptime

PARTITION = Partition("in", 0)
OUTPUT = Output("out", 0, None, b"outcome")
BEFORE, AFTER, FOREIGN = Committed(5, "before"), Committed(6, "after"), Committed(9, "foreign")


class Broker:
    """What is visible; each commit fails as scripted, before or after it took effect."""

    def __init__(self, *faults: tuple[str, Exception]) -> None:
        self.faults = list(faults)
        self.visible: list[Output] = []
        self.progress = BEFORE
        self.order: list[str] = []
        self.may_claim = True
        self.stale: list[Committed] = []

    async def fence(self, partition: Partition) -> "Producer":
        """Initialise."""
        assert partition == PARTITION
        self.order.append("fence")
        return Producer(self)

    async def committed(self, partition: Partition) -> Committed:
        """Read progress."""
        assert partition == PARTITION
        self.order.append("fetch")
        return self.stale.pop(0) if self.stale else self.progress

    def fault(self, where: str) -> None:
        """Fail here if the script says so."""
        if self.faults and self.faults[0][0] == where:
            raise self.faults.pop(0)[1]


class Producer:
    """One transaction at a time; unusable after a failure."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._outputs: list[Output] = []
        self._progress = BEFORE

    async def begin(self) -> None:
        """Open a transaction."""
        self._broker.fault("begin")
        self._outputs = []

    async def send(self, output: Output) -> Awaitable[None]:
        """Send."""
        self._outputs.append(output)
        return self._acknowledge()

    async def _acknowledge(self) -> None:
        await asyncio.sleep(0.01)
        self._broker.fault("send")

    async def send_progress(self, progress: Committed) -> None:
        """Add progress."""
        await asyncio.sleep(0.01)
        self._broker.fault("progress")
        self._progress = progress

    async def commit(self) -> None:
        """Commit; a fault comes before or after it took effect."""
        self._broker.fault("commit")
        self._broker.visible += self._outputs
        self._broker.progress = self._progress
        self._broker.fault("answer")

    async def close(self) -> None:
        """Let go."""
        self._broker.order.append("close")


async def _publication(broker: Broker) -> Publication:
    async def may_claim() -> bool:
        return broker.may_claim

    publication = Publication(
        PARTITION,
        log=broker,  # type: ignore[arg-type]
        transactions=broker,
        limits=Limits(),
        may_claim=may_claim,
        doubted=lambda: broker.order.append("doubt"),
    )
    publication.last = await publication.claim()
    return publication


async def test_a_claim_fences_before_it_reads() -> None:
    """What is read first, the old owner could still change."""
    broker = Broker()
    await _publication(broker)
    assert broker.order == ["fence", "fetch"]


@pytest.mark.parametrize("stale", [Committed(-1, ""), Committed(4, "older"), BEFORE])
async def test_a_broker_that_just_started_is_asked_until_it_says_the_same_twice(
    stale: Committed,
) -> None:
    """It answers for a moment from before what it acknowledged: believed, that repeats outcomes."""
    broker = Broker(("answer", Indeterminate("broker killed")))
    publication = await _publication(broker)
    broker.stale = [stale]
    await publication.publish([OUTPUT], AFTER)
    assert broker.visible == [OUTPUT]
    assert publication.last == AFTER


async def test_a_group_that_seems_new_is_asked_twice() -> None:
    """That nothing is committed would repeat everything."""
    broker = Broker()
    broker.stale = [Committed(-1, "")]
    publication = await _publication(broker)
    assert publication.last == BEFORE


async def test_who_was_fenced_says_so_before_it_asks_on() -> None:
    """Until it is the owner again, nothing that costs may start."""
    broker = Broker()
    publication = await _publication(broker)
    broker.faults = [("commit", Fenced())]
    broker.order.clear()
    await publication.publish([OUTPUT], AFTER)
    assert ["doubt", "close", "fence", "fetch", "fetch"] == broker.order
    assert publication.is_settled


@pytest.mark.parametrize(
    "faults",
    [
        (),
        (("send", Indeterminate("lost")),),
        (("progress", Indeterminate("lost")),),
        (("commit", Indeterminate("lost")),),
        (("answer", Indeterminate("lost")),),
        (("commit", TimeoutError()), ("begin", Indeterminate("away")), ("answer", TimeoutError())),
        (("commit", Fenced()),),
    ],
    ids=lambda faults: "-".join(where for where, _ in faults) or "none",
)
async def test_outcomes_are_visible_once(faults: tuple[tuple[str, Exception], ...]) -> None:
    """Whether the lost commit had taken effect or not."""
    broker = Broker(*faults)
    publication = await _publication(broker)
    await publication.publish([OUTPUT], AFTER)
    assert broker.visible == [OUTPUT]
    assert publication.last == broker.progress == AFTER


async def test_what_somebody_else_committed_ends_it() -> None:
    """Everything in memory is void."""
    broker = Broker(("commit", Fenced()))
    publication = await _publication(broker)
    broker.progress = FOREIGN
    with pytest.raises(Lost):
        await publication.publish([OUTPUT], AFTER)
    assert not broker.visible


async def test_who_may_not_claim_does_not_fence() -> None:
    """A zombie leaves its successor alone."""
    broker = Broker(("commit", Fenced()))
    publication = await _publication(broker)
    broker.may_claim = False
    broker.order.clear()
    with pytest.raises(Lost):
        await publication.publish([OUTPUT], AFTER)
    assert ["doubt"] == broker.order


async def test_a_refused_output_leaves_nothing_behind() -> None:
    """The next attempt starts with a new producer."""
    broker = Broker(("send", Refused(OUTPUT, "too large")))
    publication = await _publication(broker)
    with pytest.raises(Refused):
        await publication.publish([OUTPUT], AFTER)
    assert broker.visible == []
    assert publication.last == BEFORE
    await publication.publish([OUTPUT], AFTER)
    assert broker.visible == [OUTPUT]
