"""A seed's world: what is asked for, what goes wrong, and when."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.runtime.engine.limits import Limits
from services.runtime.engine.phase import Phase
from services.runtime.engine.ports import Done, Park, Partition, Record, Verdict
from tests.simulation.broker import Broker
from tests.simulation.group import Group
from tests.simulation.process import Process
from tests.simulation.promises import Place, Promises, Violation
from tests.simulation.work import SimulatedWork, outcome

FAULTY_FOR = 20.0
PATIENCE = 900.0
CALM = 14.0
"""Seconds at the end: what is late must change nothing."""


@dataclass(frozen=True)
class Report:
    """What a seed's run did."""

    records: int
    calls: int
    kills: int
    crashes: int
    condemned: int
    ended_at: float


class World:
    """Everything about one seed; `run` raises `Violation` where a promise is broken."""

    def __init__(self, seed: int) -> None:
        self.random = chance = random.Random(seed)
        self.is_faulty = True
        # Nothing but joins and drains that are long enough: no call may be made twice.
        self._is_peaceful = is_peaceful = chance.random() < 0.15
        rough = not is_peaceful
        self.loss = chance.choice((0.0, 0.01, 0.03, 0.08)) * rough
        self._slow = chance.choice((0.002, 0.02, 0.2) if rough else (0.01, 0.1))
        self._kill = chance.choice((0.0, 0.002, 0.01, 0.03)) * rough
        self._pause = chance.choice((0.0, 0.002, 0.01)) * rough
        self._stop = chance.choice((0.0, 0.001, 0.01) if rough else (0.01, 0.03))
        self.unreadable = chance.choice((0.0, 0.0, 0.1, 0.3))
        self._parks = chance.choice((0.0, 0.0, 0.2))
        self._refusals = chance.choice((0.0, 0.0, 0.1))
        self._wait = chance.choice((0.0, 0.1, 4.0))
        self._call = chance.choice((0.05, 1.0, 8.0) if rough else (0.5,))
        self._closes = chance.choice((0.0, 0.0, 0.2))
        self._impatience = chance.choice((0.0, 0.3)) * rough
        self.grace = chance.choice((0.5, 20.0) if rough else (30.0,))
        self.limits = Limits(
            in_flight=chance.choice((2, 8, 1000) if rough else (1, 2)),
            in_flight_bytes=chance.choice((16, 100, 10_000)),
            incomplete=chance.choice((3, 12, 1536)),
            window=chance.choice((8, 40, 1_000_000)),
            commit_timeout=8.0,
            keepalive=2.0,
            hand_over_timeout=chance.choice((1.0, 30.0) if rough else (30.0,)),
            ordered_topics=frozenset({"in"} if chance.random() < 0.3 else ()),
        )
        self._workers = chance.randint(1 if rough else 2, 3)
        numbers = range(chance.randint(1 if rough else 2, 3))
        self.group = Group({"in": numbers})
        self._records = {Partition("in", number): self._make_log(number) for number in numbers}
        self._arrivals = {each: self._arrive(log) for each, log in self._records.items()}
        self._markers = chance.choice((0, 0, 2))
        poison = frozenset() if is_peaceful else self._choose_poison()
        self._poison = poison
        self.promises = Promises(
            self._records, poison, is_ordered=bool(self.limits.ordered_topics), now=self._now
        )
        self.broker = Broker(
            later=self._later,
            now=self._now,
            shown=self.promises.show,
            committed=self.promises.progress,
        )
        self._processes: list[Process] = []
        self._all: list[Process] = []
        self._data = asyncio.Event()
        self._counter = Counter[str]()

    # --- the input -------------------------------------------------------------------------

    def _make_log(self, number: int) -> list[Record]:
        chance = self.random
        offset = chance.choice((0, 5))
        gap = chance.choice((0.0, 0.3))
        records = []
        for _ in range(chance.randint(1, 14)):
            while chance.random() < gap:
                offset += chance.randint(1, 3)  # a marker, or compacted away
            key = b"key-%d" % chance.randrange(4)
            records.append(Record(Partition("in", number), offset, 0, key, b"value"))
            offset += 1
        return records

    def _arrive(self, log: list[Record]) -> list[float]:
        """Say when each record is written; some logs are there from the beginning."""
        last = self.random.choice((0.0, FAULTY_FOR))
        return sorted(self.random.uniform(0, last) for _ in log)

    def _choose_poison(self) -> frozenset[Place]:
        if self.random.random() > 0.25:
            return frozenset()
        record = self.random.choice([each for log in self._records.values() for each in log])
        return frozenset({(record.partition, record.offset)})

    def log(self, partition: Partition) -> list[Record]:
        """Return what has been written by now."""
        times, now = self._arrivals[partition], self._now()
        return [
            record for record, at in zip(self._records[partition], times, strict=True) if at <= now
        ]

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the input's first and next offset."""
        log, there = self._records[partition], self.log(partition)
        if len(there) < len(log):
            return log[0].offset, there[-1].offset + 1 if there else log[0].offset
        return log[0].offset, log[-1].offset + 1 + self._markers

    # --- time and faults -------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _later(self, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self.delay() * 2, act)

    def delay(self) -> float:
        """Return how long a message takes."""
        return self.random.expovariate(1 / self._slow)

    async def wait_for_data(self, seconds: float) -> None:
        """Wait, like a consumer with an empty buffer."""
        try:
            async with asyncio.timeout(seconds):
                await self._data.wait()
        except TimeoutError:
            pass

    def poke(self) -> None:
        """Wake waiting consumers."""
        self._data.set()
        self._data = asyncio.Event()

    def maybe_strike(self, process: Process, kind: str) -> None:
        """Kill, pause or stop a process at this await, or not."""
        fate = self.random.random()
        if fate < self._kill * (5 if kind in ("end", "offsets") else 1):
            self._strike(process)
            self._end(process, "kills")
        elif fate < self._kill + self._pause and not process.is_paused:
            self._strike(process)
            process.pause()
            for_seconds = self.random.choice((0.5, 5.0, 15.0))
            asyncio.get_running_loop().call_later(for_seconds, process.resume)
        elif fate < self._kill + self._pause + self._stop and not process.engine.is_leaving:
            self._counter["stops"] += 1
            task = asyncio.create_task(self._stop_and_replace(process))
            process._tasks.append(task)

    def _strike(self, process: Process) -> None:
        """Note which records will look guilty because of this: those that were tried alone."""
        for partition, lane in process.engine._lanes.items():
            self.promises.excused.update(
                (partition, offset)
                for offset, level in lane._suspicion.levels.items()
                if level >= self.limits.condemn_after
            )

    async def _stop_and_replace(self, process: Process) -> None:
        hurry = self.random.uniform(0.1, 5.0) if self.random.random() < self._impatience else None
        task = asyncio.create_task(process.stop(hurry))
        self._replace(process)
        try:
            await task
        except Exception as exc:  # noqa: BLE001 -- any exception is a finding
            self.promises.fail(f"{process.name} did not stop: {exc!r}")

    def crash(self, process: Process) -> None:
        """End a process by its own fault."""
        self._end(process, "crashes")

    def _end(self, process: Process, why: str) -> None:
        if process.is_dead:
            return
        self._counter[why] += 1
        process.kill()
        self._replace(process)

    def _replace(self, process: Process) -> None:
        if process not in self._processes:
            return  # it was stopping, and has its successor
        self._processes.remove(process)
        asyncio.get_running_loop().call_later(self.random.uniform(0.1, 3.0), self._start)

    def _start(self) -> None:
        self._counter["starts"] += 1
        process = Process(self, f"worker-{self._counter['starts']}")
        self._processes.append(process)
        self._all.append(process)
        process.start()

    # --- work ------------------------------------------------------------------------------

    def work(self, process: Process) -> SimulatedWork:
        """Make a process's work."""
        return SimulatedWork(
            process,
            wait=self._leave,
            call=self._make_call,
            takes=self._takes,
            ended=self.promises.ended,
        )

    def _takes(self, _: str) -> bool:
        """Close every topic now and then, for as long as there are faults."""
        second = int(self._now() / 3)
        return not (self.is_faulty and random.Random(second).random() < self._closes)

    async def _leave(self) -> None:
        if self._wait:
            await asyncio.sleep(self.random.expovariate(1 / self._wait))

    async def _make_call(self, process: Process, record: Record, attempts: int) -> Verdict:
        place = (record.partition, record.offset)
        self._counter["calls"] += 1
        process.handling.add(place)
        if len(process.handling) > self.limits.in_flight:
            self.promises.fail(f"{process.name} runs {len(process.handling)} calls at once")
        if record.partition in process.fenced:
            self.promises.fail(f"{process.name} calls for {record.partition}, which it has lost")
        self.promises.began(process, record, process.handling)
        try:
            verdict = await self._call_for(process, record, attempts)
        finally:
            process.handling.discard(place)
        if isinstance(verdict, Done):
            self.promises.ended(process, record)
        return verdict

    async def _call_for(self, process: Process, record: Record, attempts: int) -> Verdict:
        chance = self.random
        await asyncio.sleep(chance.expovariate(1 / self._call))
        await process.is_awake()
        if (record.partition, record.offset) in self._poison:
            self.crash(process)
            await asyncio.get_running_loop().create_future()
        if attempts < 2 and chance.random() < self._parks:
            self._counter["parks"] += 1
            return Park(chance.uniform(0.1, 5.0), counts=chance.random() < 0.5)
        value = b"large" if chance.random() < self._refusals else b"outcome"
        return Done([outcome(record, value)])

    # --- the run ---------------------------------------------------------------------------

    async def run(self) -> Report:
        """Live through the faults, heal, and check."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_unheard)
        try:
            return await self._live(loop)
        finally:
            for process in self._all:
                process.cancel()

    def _on_unheard(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.promises.fail(f"{context['message']}: {context.get('exception')!r}")

    async def _live(self, loop: asyncio.AbstractEventLoop) -> Report:
        self._start()
        for _ in range(self._workers - 1):  # the others join while the first is at work
            loop.call_later(self.random.uniform(0, 8), self._start)
        for at in {at for times in self._arrivals.values() for at in times}:
            loop.call_later(at + 0.001, self.poke)
        quiet_until = 0.0
        while self._now() < PATIENCE:
            await asyncio.sleep(1.0)
            self.broker.expire()
            self.group.expire()
            if self._now() > FAULTY_FOR:
                self.is_faulty = False
            self.promises.check()
            for process in self._processes:
                state = process.engine.state()
                if state.is_broken or state.halted:
                    raise Violation(f"{process.name} halted: {state}")
            if self.is_faulty or not (self.promises.are_all_visible and self._is_settled()):
                quiet_until = self._now() + CALM
            elif self._now() > quiet_until:
                break
        else:
            raise Violation(f"not finished after {PATIENCE} s: {self._unsettled()}")
        self._check_end()
        return Report(
            records=sum(map(len, self._records.values())),
            calls=self._counter["calls"],
            kills=self._counter["kills"],
            crashes=self._counter["crashes"],
            condemned=self.promises.condemned,
            ended_at=self._now(),
        )

    def _is_settled(self) -> bool:
        """Whether every partition has one owner, and nobody has two more than another."""
        return not self._unsettled()

    def _unsettled(self) -> str:
        held = [
            [where for where, lane in process.engine._lanes.items() if lane.phase is Phase.OPEN]
            for process in self._processes
        ]
        counts = sorted(map(len, held))
        if sorted(where for each in held for where in each) != sorted(self._records):
            return f"partitions are held so: {held}"
        return f"unevenly shared: {held}" if counts[-1] - counts[0] > 1 else ""

    def _check_end(self) -> None:
        repeated = self._counter["calls"] - self._counter["parks"] - self.promises.outcomes
        if self._is_peaceful and repeated:
            self.promises.fail(f"{repeated} calls were repeated, though every change was planned")
        for process in self._processes:
            state = process.engine.state()
            if state.in_flight or state.waiting or state.parked or state.held_bytes:
                self.promises.fail(f"{process.name} counts what it does not hold: {state}")
            if state.unreadable:
                self.promises.fail(f"{process.name} still complains: {state.unreadable}")
        self.promises.check_end()

    def cpu_time(self) -> float:
        """Return what the process's clock would say: idle in some worlds, busy in others."""
        return self._now() * (0.2 if self._slow < 0.01 else 0.95)
