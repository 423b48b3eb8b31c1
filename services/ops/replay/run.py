"""Runs a plan: claims its partitions, reads them once, sends what is meant at the given pace.

Tiers are read apart: one that waits for its allowance keeps no other from being read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from services.ops.dead_letters.letter import Letter
from services.ops.replay.lane import Lane, Operator, TakenOver
from services.ops.replay.pace import Pace, Stopped
from services.ops.replay.plan import Plan
from services.ops.replay.store import Plans, Progress
from services.runtime.engine.ports import Transactions
from services.runtime.kafka import KafkaTransactions
from services.runtime.reading import Range, Records, open_reader, read_ranges
from sluice_contracts import Tier
from sluice_contracts.topics import CARRIED_BYTES

MOST: Final = 200
"""Requests in one transaction; the audit record of it names them all."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    sent: int
    """By this run."""
    sent_in_all: int
    refused: int
    partitions: int
    taken_over: int
    """Partitions that another run has gone on with, by what the log says: a run that is stopped
    because the plan is finished may never have met the other one's claim."""
    is_complete: bool
    """Whether everything of the plan is dealt with, whoever did it."""
    stopped: str | None
    """Why it ended before, where it did."""
    reached: Mapping[TopicPartition, int]
    """The next offset of each partition."""


class Run:
    """One run of a plan by one operator.

    Args:
        plan: What is sent.
        plans: Reads how far it is.
        operator: Who sends.
        pace: How fast, and whether at all.
    """

    def __init__(self, plan: Plan, plans: Plans, operator: Operator, pace: Pace) -> None:
        self._plan = plan
        self._plans = plans
        self._pace = pace
        self._is_meant = plan.test()
        transactions: Transactions = KafkaTransactions(
            dict(plans.options),
            group=plan.group,
            largest_output=CARRIED_BYTES,
            transactional_id=lambda p: f"{plan.group}-{p.topic}-{p.number}",
        )
        self.lanes: Final = {
            tp: Lane(
                plan,
                tp,
                names=plans.names,
                transactions=transactions,
                read_progress=self._reader_of(tp),
                operator=operator,
            )
            for tp in plan.partitions()
        }
        self._before = 0

    @property
    def tiers_left(self) -> set[Tier]:
        """Tiers for which something may be left to send."""
        return {lane.tier for lane in self.lanes.values() if not lane.is_done}

    @property
    def refused(self) -> int:
        """Dead letters that could not be sent, over all runs."""
        return sum(lane.progress.refused for lane in self.lanes.values())

    @property
    def sent(self) -> int:
        """Requests sent for this plan, by this run and those before it."""
        return sum(lane.progress.sent for lane in self.lanes.values())

    async def run(self, progress: Mapping[TopicPartition, Progress]) -> Report:
        """Send until everything is sent, the pace is stopped, or others have taken over.

        Args:
            progress: How far the plan was when this run began.
        """
        for tp, at in progress.items():
            if tp in self.lanes:
                self.lanes[tp].progress = at
        self._before = self.sent
        left = [lane for lane in self.lanes.values() if not lane.is_done]
        async with AsyncExitStack() as stack:
            for lane in left:
                stack.push_async_callback(lane.close)
            await _all(lane.claim() for lane in left)
            await self._send_all([lane for lane in left if not lane.is_done])
        return await self._report()

    async def _send_all(self, lanes: Sequence[Lane]) -> None:
        by_tier: dict[Tier, list[Lane]] = {}
        for lane in lanes:
            by_tier.setdefault(lane.tier, []).append(lane)
        await _all(self._send(of_tier) for of_tier in by_tier.values())

    async def _send(self, lanes: Sequence[Lane]) -> None:
        queues: dict[TopicPartition, asyncio.Queue[Records | None]] = {
            lane.tp: asyncio.Queue(maxsize=1) for lane in lanes
        }
        ranges = {
            lane.tp: Range(lane.progress.offset, self._plan.partitions()[lane.tp].end)
            for lane in lanes
        }
        async with asyncio.TaskGroup() as group, open_reader(self._plans.options) as reader:
            for lane in lanes:
                group.create_task(self._serve(lane, queues[lane.tp]))
            async for tp, records in read_ranges(reader, ranges):
                await queues[tp].put(records)
                if self._pace.stopped or all(lane.taken_over for lane in lanes):
                    break
            for queue in queues.values():
                await queue.put(None)

    async def _serve(self, lane: Lane, queue: "asyncio.Queue[Records | None]") -> None:
        """Send what comes for one lane; after its end, only empty the queue."""
        try:
            while (records := await queue.get()) is not None:
                await self._move(lane, records)
            if self._pace.stopped is None:
                await lane.send([], self._plan.partitions()[lane.tp].end)
        except (Stopped, TakenOver):
            while await queue.get() is not None:
                pass

    async def _move(self, lane: Lane, records: Records) -> None:
        tier = self._plans.names.tier(lane.tp.topic)
        assert tier is not None
        letters = [Letter(tier, record) for record in records]
        meant = [letter for letter in letters if self._is_meant(letter)]
        while meant:
            granted = await self._pace.take(lane.tier, min(len(meant), MOST))
            batch, meant = meant[:granted], meant[granted:]
            # What is not meant between two that are is passed over with the first of them.
            upto = meant[0].record.offset if meant else records[-1].offset + 1
            await lane.send(batch, upto)

    async def _report(self) -> Report:
        found = await self._plans.progress(self._plan)
        # A commit is answered before its markers are written, and others see it only then.
        progress = {
            tp: found[tp] if lane.is_behind(found.get(tp)) else lane.progress
            for tp, lane in self.lanes.items()
        }
        ends = self._plan.partitions()
        done = {tp for tp, at in progress.items() if at.offset >= ends[tp].end}
        return Report(
            sent=self.sent - self._before,
            sent_in_all=sum(at.sent for at in progress.values()),
            refused=sum(at.refused for at in progress.values()),
            partitions=len(ends),
            taken_over=sum(
                lane.taken_over or lane.is_behind(found.get(tp)) for tp, lane in self.lanes.items()
            ),
            is_complete=len(done) == len(ends),
            stopped=self._pace.stopped,
            reached={tp: at.offset for tp, at in progress.items()},
        )

    def _reader_of(self, tp: TopicPartition) -> Callable[[], Awaitable[Progress | None]]:
        async def read() -> Progress | None:
            return (await self._plans.progress(self._plan)).get(tp)

        return read


async def _all(coroutines: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)
