"""The engine: reads what lanes have room for, and follows the group's assignments.

One task, `run`, polls (`polling.py`); every partition has a `Lane`. The group's callbacks only set
flags here, so that no record of an old assignment can slip into a new one.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import chain

import structlog

from services.runtime.engine.cadence import Cadence, Heart
from services.runtime.engine.capacity import Capacity
from services.runtime.engine.lane import Lane
from services.runtime.engine.limits import Limits
from services.runtime.engine.phase import Phase
from services.runtime.engine.polling import Polling
from services.runtime.engine.ports import (
    Log,
    Partition,
    Transactions,
    Work,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineState:
    """What readiness, liveness and metrics need to know; durations in seconds."""

    partitions: tuple[Partition, ...]
    in_flight: int
    waiting: int
    parked: int
    held_bytes: int
    oldest_call: float
    commit_ages: Mapping[Partition, float]
    """Age of the oldest outcome that is not committed, per partition that has any."""
    claiming: Mapping[Partition, float]
    """For how long a partition has been assigned and is not served yet."""
    unreadable: Mapping[Partition, str]
    """Partitions whose last poll failed, and how."""
    last_poll_age: float
    """Since polling last went round, whatever came of it."""
    loop_lag: float
    is_assigned: bool
    """Whether the group has given this process its share, be it empty."""
    is_draining: bool
    halted: Mapping[Partition, str]
    is_broken: bool
    """Whether only a restart helps: an exception escaped from the program's own code."""


class Engine:
    """Runs `Work` on the records of whatever partitions the group assigns."""

    def __init__(
        self,
        *,
        group: str,
        log: Log,
        transactions: Transactions,
        work: Work,
        limits: Limits,
        heart: Heart | None = None,
        opened: Callable[[Partition], None] = lambda _: None,
    ) -> None:
        """Take the ports and the work.

        Args:
            group: The consumer group.
            log: The reading side.
            transactions: The writing side.
            work: What is done with records.
            limits: What may be held, and for how long anything is waited for.
            heart: Measures the process; one of its own by default.
            opened: Told of each partition that is taken anew: others may have had it since, so
                what the work remembers of its records is void. Not told of adopted ones.
        """
        self._opened = opened
        self._group = group
        self._log = log
        self._transactions = transactions
        self._work = work
        self._limits = limits
        self._heart = heart or Heart()
        self._capacity = Capacity(limits)
        self._cadence = Cadence(limits, self._heart)
        self._lanes: dict[Partition, Lane] = {}
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._rejoining: asyncio.TimerHandle | None = None
        self._assignment = 0
        self._is_assigned = False
        self._is_draining = False
        self._polling = Polling(log, work, self._capacity, limits)

    # --- the consumer's side ---------------------------------------------------------------

    async def run(self) -> None:
        """Poll until cancelled; polling goes on, empty, while nothing is to be taken."""
        heart = asyncio.create_task(self._heart.beat())
        try:
            while True:
                assignment = self._assignment
                lanes = () if self._is_draining else tuple(self._lanes.values())
                await self._polling.turn(lanes, lambda: assignment == self._assignment)  # noqa: B023
        finally:
            heart.cancel()
            if self._rejoining is not None:
                self._rejoining.cancel()

    # --- the group's side ------------------------------------------------------------------

    async def revoked(self) -> None:
        """Stop taking records and publish what is ready; calls go on, and may be adopted."""
        self._assignment += 1
        self._is_assigned = False
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.revoked()
        try:
            async with asyncio.timeout(self._limits.revoke_timeout):
                await asyncio.gather(*(lane.flush() for lane in lanes))
        except TimeoutError:
            _log.warning("revoke.flush_timed_out", seconds=self._limits.revoke_timeout)

    def assigned(
        self, partitions: Collection[Partition], release: Collection[Partition] = ()
    ) -> None:
        """Take the partitions that are new, adopt those that stayed, let go of the others.

        Args:
            partitions: The group's answer.
            release: Of these, the ones that another member is to get: their calls are finished,
                then another round is asked for, in which they are free.
        """
        self._assignment += 1
        self._is_assigned = True
        for partition, lane in list(self._lanes.items()):
            is_over = self._tasks[lane].done()
            # One that was drained while the group was asked is free now, as it was to be.
            is_free = lane.phase is Phase.DRAINED and (self._is_draining or partition in release)
            if partition not in partitions or (is_over and not is_free):
                self._close(self._lanes.pop(partition))
            elif not is_over:
                lane.assigned()
        for partition in partitions:
            if partition in self._lanes:
                if partition in release:
                    self._let_go(self._lanes[partition])
            elif not self._is_draining:
                self._open(partition)
                if partition in release:
                    self._let_go(self._lanes[partition])
        if self._drained:
            self._ask_for_round()  # one that was asked for meanwhile may not have been heard
        self._capacity.freed.set()

    @property
    def _drained(self) -> bool:
        return any(lane.phase is Phase.DRAINED for lane in self._lanes.values())

    def claims(self) -> Mapping[Partition, bool]:
        """Tell what this process holds, and whether a partition must drain before it can move."""
        return {
            partition: lane.is_busy
            for partition, lane in self._lanes.items()
            if lane.phase not in (Phase.DRAINED, Phase.CLOSED)
        }

    @property
    def is_leaving(self) -> bool:
        """Whether this process is finishing its calls before it ends."""
        return self._is_draining

    def _let_go(self, lane: Lane) -> None:
        """Drain a lane that another member is to get, within bounds."""
        lane.drain()
        if lane.phase is Phase.DRAINED:
            self._tasks[lane].cancel()  # it is claiming still, or has ended
            self._ask_for_round()
        else:
            _log.info("partition.handing_over", partition=lane.partition)
            asyncio.get_running_loop().call_later(
                self._limits.hand_over_timeout, self._cut_short, lane
            )

    def _cut_short(self, lane: Lane) -> None:
        if lane.phase is Phase.DRAINING and self._lanes.get(lane.partition) is lane:
            lane.calls.cancel()

    def _ask_for_round(self) -> None:
        """Ask the group to share out anew, soon: others may be drained until then."""
        if self._rejoining is None:
            self._rejoining = asyncio.get_running_loop().call_later(
                self._limits.hand_over_gather, self._rejoin
            )

    def _rejoin(self) -> None:
        self._rejoining = None
        if self._drained:
            self._log.rejoin()

    # --- the end ---------------------------------------------------------------------------

    async def drain(self, grace: float) -> None:
        """Take nothing more, finish calls for `grace` seconds, publish, hand back every partition.

        What has not finished by then is cancelled and stays incomplete: its call is repeated. A
        partition that has finished before the others goes to another member at once.
        """
        self._is_draining = True
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.drain()
            if lane.phase is Phase.DRAINED:
                self._tasks[lane].cancel()  # it is claiming still, or has let go
        if tasks := [self._tasks[lane] for lane in lanes]:
            _, late = await asyncio.wait(tasks, timeout=grace)
            if late:
                for lane in lanes:
                    lane.calls.cancel()
                await asyncio.wait(late, timeout=self._limits.commit_timeout)
        await self.stop()

    async def stop(self) -> None:
        """Let go of everything at once; nothing is lost, running calls will be repeated."""
        self._is_draining = True
        for partition in list(self._lanes):
            self._close(self._lanes.pop(partition))
        await asyncio.gather(*self._closing, return_exceptions=True)  # they were cancelled

    # --- lanes and their tasks -------------------------------------------------------------

    def _open(self, partition: Partition) -> None:
        self._opened(partition)
        lane = Lane(
            partition,
            group=self._group,
            log=self._log,
            transactions=self._transactions,
            work=self._work,
            limits=self._limits,
            capacity=self._capacity,
            cadence=self._cadence,
        )
        if not self._is_assigned:
            lane.revoked()
        self._lanes[partition] = lane
        self._tasks[lane] = task = asyncio.create_task(lane.serve())
        task.add_done_callback(lambda _: self._ended(lane))

    def _ended(self, lane: Lane) -> None:
        """Claim anew what was lost to no member of the group; offer what has been let go."""
        if self._lanes.get(lane.partition) is not lane:
            return
        if lane.phase is Phase.DRAINED:
            self._ask_for_round()
        elif lane.phase is Phase.CLOSED and not self._is_draining:
            del self._tasks[self._lanes.pop(lane.partition)]
            self._open(lane.partition)

    def _close(self, lane: Lane) -> None:
        task = self._tasks.pop(lane)
        task.cancel()
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- health ----------------------------------------------------------------------------

    def state(self) -> EngineState:
        """Say how things are; cheap enough for every probe."""
        now = asyncio.get_running_loop().time()
        lanes = self._lanes
        starts = chain.from_iterable(
            (start for _, start in lane.calls.running.values()) for lane in lanes.values()
        )
        return EngineState(
            partitions=tuple(sorted(lanes)),
            in_flight=self._capacity.running,
            waiting=self._capacity.held - self._capacity.running,
            parked=sum(len(lane.calls.parked) for lane in lanes.values()),
            held_bytes=self._capacity.bytes,
            oldest_call=now - min(starts, default=now),
            commit_ages={
                partition: now - lane.ready_since
                for partition, lane in lanes.items()
                if lane.ready_since is not None
            },
            claiming={
                partition: now - lane.began_at
                for partition, lane in lanes.items()
                if lane.phase is Phase.CLAIMING
            },
            unreadable=self._polling.unreadable,
            last_poll_age=self._polling.age(now),
            loop_lag=self._heart.late_by(now),
            is_assigned=self._is_assigned,
            is_draining=self._is_draining,
            halted={p: lane.halted for p, lane in lanes.items() if lane.halted is not None},
            is_broken=any(lane.is_broken for lane in lanes.values()),
        )
