"""Sending back under lost answers, crashes and a second operator: each request exactly once."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.selection import Selection
from services.ops.replay.lane import Lane, Operator, TakenOver
from services.ops.replay.plan import Plan
from services.ops.replay.store import Progress
from services.runtime.engine.ports import (
    Committed,
    Fenced,
    Indeterminate,
    Output,
    Partition,
    Refused,
)
from services.runtime.reading import Range
from sluice_contracts import Tier, TopicNames
from tests.simulation.broker import Broker, Concurrent, StaleEpoch

NAMES = TopicNames()
HERE = TopicPartition(NAMES.dead_letters(Tier.HAIKU), 3)
COUNT = 40
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class _World:
    """A model broker behind a wire that loses requests and answers."""

    def __init__(self, seed: int, *, losses: float = 0.05, forgets: float = 0.0) -> None:
        self.random = Random(seed)
        self._forgets = forgets
        """Seconds after a producer is fenced for which the coordinator knows of no offset."""
        self._forgets_until = 0.0
        self._losses = losses
        self.visible: list[Output] = []
        loop = asyncio.get_running_loop()

        def void(_: object) -> None:
            """Drop a handle."""

        self.broker = Broker(
            later=lambda do: void(loop.call_later(self.random.uniform(0.001, 0.05), do)),
            now=loop.time,
            shown=self.visible.append,
            committed=lambda _, __: None,
        )

    async def ask(self, do: Callable[[], Any]) -> Any:
        await asyncio.sleep(self.random.uniform(0.001, 0.02))
        if self.random.random() < self._losses:
            raise Indeterminate("the request was lost")
        while True:
            try:
                answer = do()
                break
            except StaleEpoch:
                raise Fenced from None
            except Concurrent:  # the broker did nothing: the client asks again
                await asyncio.sleep(0.02)
        if self.random.random() < self._losses:
            raise Indeterminate("the answer was lost")
        return answer

    async def fence(self, partition: Partition) -> "_Producer":
        name = f"replay-{partition.topic}-{partition.number}"
        epoch = await self.ask(lambda: self.broker.initialise(name))
        self._forgets_until = asyncio.get_running_loop().time() + self._forgets
        return _Producer(self, name, epoch, partition)

    async def progress(self) -> Progress | None:
        found = await self.ask(lambda: self.broker.offsets.get(Partition(*HERE)))
        if asyncio.get_running_loop().time() < self._forgets_until:
            return None
        return found and Progress.read(OffsetAndMetadata(found.offset, found.metadata))

    def sent(self) -> Counter[str]:
        """Count the requests that readers see, by id."""
        topic = NAMES.requests(Tier.HAIKU)
        return Counter(
            (dict(each.headers)["x-request-id"] or b"").decode()
            for each in self.visible
            if each.topic == topic
        )

    def audited(self) -> Counter[str]:
        """Count the requests that the audit topic names."""
        records = [json.loads(e.value or b"") for e in self.visible if e.topic == NAMES.audit]
        return Counter(name for each in records for _, name, _ in each["details"]["sent"])


class _Producer:
    def __init__(self, world: _World, name: str, epoch: int, partition: Partition) -> None:
        self._world = world
        self._at = (name, epoch)
        self._partition = partition
        self._batch: list[Output] = []

    async def begin(self) -> None:
        """Begin locally."""
        self._batch.clear()

    async def send(self, output: Output) -> Awaitable[None]:
        self._batch.append(output)
        sending = (
            self._refuse()
            if output.value == b"poison"
            else self._world.ask(lambda: self._world.broker.produce(*self._at, output))
        )
        future = asyncio.ensure_future(sending)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def _refuse(self) -> None:
        # As brokers do: the batch is refused, whichever of its records is to blame.
        raise Refused(self._batch[0], "too large")

    async def send_progress(self, progress: Committed) -> None:
        await self._world.ask(
            lambda: self._world.broker.add_offsets(*self._at, self._partition, progress)
        )

    async def commit(self) -> None:
        await self._world.ask(lambda: self._world.broker.end(*self._at))

    async def close(self) -> None:
        """Close at once."""


def _letter(offset: int, value: bytes = b"{}") -> Letter:
    headers = (("x-request-id", f"r{offset}".encode()),)
    record: Any = ConsumerRecord(*HERE, offset, 0, 0, b"k", value, None, 0, 0, headers)
    return Letter(Tier.HAIKU, record)


def _plan() -> Plan:
    return Plan(
        plan_id="p", created_at=NOW, by="ada", why="test", selection=Selection(),
        ranges={HERE.topic: {HERE.partition: Range(0, COUNT)}}, max_generation=2,
    )  # fmt: skip


def _lane(world: _World) -> Lane:
    return Lane(
        _plan(), HERE, names=NAMES, transactions=world, read_progress=world.progress,
        operator=Operator("ada", lambda: NOW),
    )  # fmt: skip


async def _operate(world: _World) -> None:
    """Send what is left, five at a time, until it is done or somebody takes over."""
    lane = _lane(world)
    await lane.claim()
    while not lane.is_done:
        first = lane.progress.offset
        upto = min(first + 5, COUNT)
        await lane.send([_letter(offset) for offset in range(first, upto)], upto)


async def _keep_operating(world: _World) -> None:
    """Crash at random moments, begin again, until everything is sent."""
    while True:
        with suppress(TakenOver, Indeterminate, TimeoutError):
            async with asyncio.timeout(world.random.uniform(0.1, 1.5)):
                await _operate(world)
                return
        await asyncio.sleep(world.random.uniform(0, 1))


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(40))
async def test_crashes_and_two_operators_send_each_once(seed: int) -> None:
    """Whatever is lost, killed or fenced on the way."""
    world = _World(seed)
    async with asyncio.timeout(600):
        await asyncio.gather(_keep_operating(world), _keep_operating(world))
        await asyncio.sleep(1)
    expected = Counter({f"r{offset}": 1 for offset in range(COUNT)})
    assert expected == world.sent()
    assert expected == world.audited()


@pytest.mark.looptime
async def test_a_coordinator_that_has_just_started_is_not_believed_at_once() -> None:
    """For a moment it answers from before what it acknowledged; believed, all is sent again."""
    world = _World(0, losses=0, forgets=0.2)
    first, second = _lane(world), _lane(world)
    await first.claim()
    await first.send([_letter(0)], 1)
    await asyncio.sleep(1)
    await second.claim()
    assert (1, 1) == (second.progress.offset, second.progress.sent)


@pytest.mark.looptime
async def test_the_earlier_operator_is_told() -> None:
    """Its next transaction fails, and nothing of it is seen."""
    world = _World(0, losses=0)
    first, second = _lane(world), _lane(world)
    await first.claim()
    await first.send([_letter(0)], 1)
    await second.claim()
    with pytest.raises(TakenOver):
        await first.send([_letter(1)], 2)
    assert (True, 1, 1) == (first.taken_over, second.progress.offset, second.progress.sent)
    assert {"r0": 1} == world.sent()


@pytest.mark.looptime
async def test_a_run_that_sends_no_more_still_sees_who_went_on() -> None:
    """It may be stopped, because the plan is finished, before any transaction of it fails."""
    world = _World(0, losses=0)
    first, second = _lane(world), _lane(world)
    await first.claim()
    await first.send([_letter(0)], 1)
    assert not first.is_behind(await world.progress())
    await second.claim()
    await second.send([_letter(1)], 2)
    await asyncio.sleep(1)  # the marker of the transaction is written after its commit is answered
    found = await world.progress()
    assert (True, False) == (first.is_behind(found), second.is_behind(found))


@pytest.mark.looptime
async def test_what_the_broker_refuses_stays_a_dead_letter() -> None:
    """The others of its batch are sent, and the audit names the one that was not."""
    world = _World(0, losses=0)
    lane = _lane(world)
    await lane.claim()
    await lane.send([_letter(0), _letter(1, b"poison"), _letter(2)], 3)
    await asyncio.sleep(1)
    audit = [json.loads(e.value or b"") for e in world.visible if e.topic == NAMES.audit]
    assert (2, 1) == (lane.progress.sent, lane.progress.refused)
    assert {"r0": 1, "r2": 1} == world.sent()
    assert [[1, f"{NAMES.requests(Tier.HAIKU)} refuses it: too large"]] == [
        refused for each in audit for refused in each["details"]["refused"]
    ]
