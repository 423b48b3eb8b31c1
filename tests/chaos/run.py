"""One run: disturb, heal, wait, collect, check, report."""

import asyncio
import pickle
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from services.ops.local.rooms import RoomError
from sluice_contracts.topics import RetryDelay
from tests.benchmarks.report import finish
from tests.chaos import collect, watch
from tests.chaos.checker import check
from tests.chaos.history import Fate, Fault, History, Partition
from tests.chaos.kinds import DISTURBANCES, HARMLESS, KINDS, STORMS
from tests.chaos.recovery import recovery
from tests.chaos.schedule import Schedule
from tests.chaos.world import WORKERS, NeverHappenedError, World

_WARM_UP: Final = 3.0
_BETWEEN: Final = (0.5, 2.5)
_BETWEEN_STORMS: Final = (4.0, 10.0)
_CALM: Final = 0.7
"""Share of the abrupt faults that are left alone until the system has recovered; the others meet
what comes next on their way."""
_CALM_SECONDS: Final = 65.0
_HEAL: Final = 180.0
"""Seconds for everything to get its outcome; a retry topic holds its records for one minute."""
_STRAY: Final = 3.0
"""Seconds in which a second outcome, were there one, would come."""
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to run."""

    minutes: float
    brokers: int
    seed: int
    rate: float
    kinds: tuple[str, ...]
    keep: Path | None = None


async def run(wanted: Wanted, console: Console) -> int:
    """Run, judge, report; return the exit code."""
    console.print(f"seed {wanted.seed}")
    with TemporaryDirectory() as directory:
        call_log = Path(directory) / "calls.jsonl"
        async with World.running(
            brokers=wanted.brokers,
            rate=wanted.rate,
            random=Random(wanted.seed),
            call_log=call_log,
        ) as world:
            console.print(f"logs in {world.stack.run.logs}")
            nemesis = Nemesis(world, wanted, console)
            await nemesis.disturb()
            await nemesis.heal()
            await world.stream.end()
            if not await world.stream.settled(_HEAL):
                nemesis.complain(
                    f"{world.stream.published - world.stream.finished} requests have no outcome "
                    f"{_HEAL:.0f} s after everything was healed"
                )
            console.print(
                f"{world.stream.published} published, {world.stream.finished} with an outcome, "
                f"failed: {world.stream.failed}"
            )
            await asyncio.sleep(_STRAY)
            unowned = await asyncio.to_thread(_unowned, world)
            await nemesis.stop()
            history = await asyncio.to_thread(_history, world, call_log, nemesis.faults, unowned)
    if wanted.keep is not None:
        wanted.keep.mkdir(parents=True, exist_ok=True)
        (wanted.keep / "history.pickle").write_bytes(pickle.dumps(history))
    return _report(history, nemesis.complaints, console)


class Nemesis:
    """Does the faults, and keeps the log of them."""

    def __init__(self, world: World, wanted: Wanted, console: Console) -> None:
        self._world = world
        self._wanted = wanted
        self._console = console
        self._started = time.time()
        self.faults: list[Fault] = []
        self.complaints: list[str] = []
        """What went wrong that no topic shows."""

    def complain(self, what: str) -> None:
        """Note something that must not happen."""
        self._say(f"[red]{what}[/]")
        self.complaints.append(what)

    async def disturb(self) -> None:
        """Do faults until the time is over and each kind has occurred."""
        await asyncio.sleep(_WARM_UP)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._phases(DISTURBANCES, _BETWEEN))
            tasks.create_task(self._phases(STORMS, _BETWEEN_STORMS))

    async def _phases(self, kinds: Collection[str], between: tuple[float, float]) -> None:
        """Deal first what may repeat no call: nothing can be charged to a fault by then."""
        chosen = [name for name in kinds if name in self._wanted.kinds]
        harmless = [name for name in chosen if name in HARMLESS]
        # A generator for each track: the two must not take each other's numbers.
        random = Random(f"{self._wanted.seed} {min(kinds)}")
        whole = self._wanted.minutes * 60
        share = len(harmless) / max(len(chosen), 1)
        if harmless:
            await self._deal(Schedule(harmless, random), between, random, whole * share)
        if chosen != harmless:
            rest = Schedule(chosen, random, done=harmless)
            await self._deal(rest, between, random, whole * (1 - share))

    async def _deal(
        self, schedule: Schedule, between: tuple[float, float], random: Random, seconds: float
    ) -> None:
        end = time.time() + seconds
        latest = end + len(schedule.missing) * 30
        for name in schedule.deal():
            now = time.time()
            if (now > end and schedule.is_complete) or now > latest:
                break
            if await self._do(name):
                schedule.occurred(name)
            if KINDS[name].is_abrupt and random.random() < _CALM:
                await self._world.stream.recovered(time.time(), _CALM_SECONDS)
            await asyncio.sleep(random.uniform(*between))
        if schedule.missing:
            self.complain(f"could not be done: {', '.join(schedule.missing)}")

    async def _do(self, name: str) -> bool:
        kind = KINDS[name]
        self._say(f"{name} …")
        try:
            struck = await kind.do(self._world)
        except NeverHappenedError as exc:
            self._say(f"{name}: {exc}")
            return False
        except (RoomError, RuntimeError) as exc:
            self.complain(f"{name}: {exc}")
            return True
        self.faults.append(kind.fault(name, struck))
        stream = self._world.stream
        self._say(
            f"{name} for {struck.until - struck.at:.2f} s; {stream.published} published, "
            f"{stream.finished} with an outcome"
        )
        return True

    async def heal(self) -> None:
        """Let everything behave."""
        self._say("healing …")
        try:
            await self._world.heal()
        except RoomError as exc:
            self.complain(str(exc))

    async def stop(self) -> None:
        """End the workers as a deployment does."""
        for room in self._world.stack.workers[:WORKERS]:
            try:
                await self._world.stop(room)
            except RuntimeError as exc:
                self.complain(str(exc))

    def _say(self, what: str) -> None:
        self._console.print(f"{time.time() - self._started:6.1f} {what}")


def _history(
    world: World,
    call_log: Path,
    faults: Sequence[Fault],
    unowned: tuple[tuple[str, Partition], ...],
) -> History:
    return collect.history(
        world.stack.bootstrap_servers,
        world.stack.topics,
        call_log,
        sent=world.stream.sent,
        faults=tuple(faults),
        stalls=world.ends.stalls,
        unowned=unowned,
        seen=dict(world.stream.seen_at),
    )


def _unowned(world: World) -> tuple[tuple[str, Partition], ...]:
    names = world.stack.topics
    wanted = {
        collect.WORKERS: collect.request_topics(names),
        collect.RELAYS: [names.retries(delay) for delay in RetryDelay],
    }
    return watch.unowned(world.stack.bootstrap_servers, wanted)


def _report(history: History, complaints: Sequence[str], console: Console) -> int:
    verdict = check(history)
    wrong = [*complaints, *verdict.violations]
    for each in wrong[:_SHOWN]:
        console.print(f"[red]{each}[/]")
    if len(wrong) > _SHOWN:
        console.print(f"[red]and {len(wrong) - _SHOWN} more[/]")
    resting = {record.request_id for record in history.written if record.kind == "retry"}
    aborted = sum(fate is Fate.ABORTED for fate in history.fates.values())
    console.print(
        f"{len(history.calls)} calls, {len(history.progress)} commits, {len(resting)} requests "
        f"rested on a retry topic, {aborted} records of aborted transactions"
    )
    figures = {
        "requests": verdict.requests,
        "faults": dict(sorted(Counter(fault.kind for fault in history.faults).items())),
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "repeated_calls": verdict.repeated_calls,
        "repeats_unexplained": verdict.repeats_unexplained,
        "recovery_s": recovery(history),
    }
    finish(console, figures)
    return 1 if wrong else 0
