"""The main job on real input: `make bench-real KILLS=5 ROTATIONS=10`.

Every ticket through haiku, the contracts through sonnet and opus, the two-turn conversations
through sonnet, against the simulator at the limits of the tier Scale. Meanwhile the worker is
killed and the key rotated without overlap, at even distances. Then the run is judged from the
topics, the simulator's log and nothing else.
"""

import argparse
import asyncio
import itertools
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from services.ops.local.rooms import Room
from services.ops.local.stack import Stack, StackPlan
from sluice_contracts import FailureCode
from tests.benchmarks import inputs
from tests.benchmarks.report import finish
from tests.benchmarks.traffic import Downstream, Upstream
from tests.benchmarks.usage import Usage, samples
from tests.chaos import collect
from tests.chaos.checker import check
from tests.chaos.history import Call, Fault, History
from tests.chaos.upstream import AccountingUpstream
from tests.chaos.world import process_of

_PATIENCE = 900.0
"""Seconds for everything; three times what it takes."""
_DRAIN = 5.0
_REFUSED = 401
_REFRESH = 10.0
"""Seconds that reading the new key may take at most, until the call is sent again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to the system meanwhile, and how much of each input is taken."""

    kills: int = 0
    rotations: int = 0
    limit: int | None = None


async def main(plan: Plan, console: Console) -> int:
    """Run, judge, report; returns the exit code."""
    with TemporaryDirectory() as directory:
        call_log = Path(directory) / "calls.jsonl"
        wanted = StackPlan(
            simulator_arguments=("--call-log", str(call_log)),
            environment={"LOG__LEVEL": "warning"},
        )
        async with Stack.running(
            wanted, report=lambda what: console.print(f"starting {what}")
        ) as stack:
            return await _measure(stack, call_log, plan, console)


async def _measure(stack: Stack, call_log: Path, plan: Plan, console: Console) -> int:
    upstream = AccountingUpstream(stack.bootstrap_servers, stack.topics)
    conversations = {f"mt-{row['question_id']}-1": row for row in inputs.rows("mt_bench/questions")}
    if plan.limit is not None:
        conversations = dict(itertools.islice(conversations.items(), plan.limit))

    def second_turn(outcome: dict[str, Any]) -> None:
        row = conversations.pop(outcome["request_id"], None)
        if row is not None and "failure" not in outcome:
            upstream.publish([inputs.second_turn(row, outcome["text"] or "(nothing)")])

    usage, course = Usage(), Course(stack.workers[0])
    started = time.monotonic()
    with Downstream.of(stack.bootstrap_servers, stack.topics, second_turn) as downstream:
        async with usage.watching(lambda: [stack.workers[0].child.pid]):
            total = await asyncio.to_thread(_publish, upstream, plan.limit) + len(conversations)
            console.print(f"{total} requests to come, {upstream.published} published")
            disturbing = asyncio.create_task(course.run(stack, downstream, total, plan))
            is_done = await _watch(downstream, total, console)
            await disturbing
        wall = time.monotonic() - started
        await asyncio.to_thread(upstream.flush)
        await asyncio.sleep(_DRAIN)  # a second outcome, were there one, would come now
    await course.ask()
    await stack.workers[0].stop()
    history = await asyncio.to_thread(
        partial(
            collect.history, stack.bootstrap_servers, stack.topics, call_log,
            sent=tuple(upstream.sent), faults=tuple(course.faults),
        )
    )  # fmt: skip
    verdict = check(history)
    for violation in verdict.violations[:20]:
        console.print(f"[red]{violation}[/]")
    results = [record for record in history.written if record.kind == "result"]
    refused = _refused_again(history)
    figures = {
        "published": verdict.requests,
        "succeeded": sum(record.succeeded for record in results),
        "failed": sum(not record.succeeded for record in results),
        "dead_letters": sum(record.kind == "dead_letter" for record in history.written),
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "repeated_calls": verdict.repeated_calls,
        "kills": len(course.faults),
        "rotations": course.rotations,
        "calls_failed_by_rotation": max(len(refused), course.refused),
        "wall_s": round(wall, 1),
        "worker_cpu_ms_per_request": round(usage.cpu_seconds * 1000 / max(len(results), 1), 3),
        "worker_rss_mb": round(usage.peak_rss_mb, 1),
    }
    detail = {
        "failed_by_code": downstream.failed,
        "repeats_unexplained": verdict.repeats_unexplained,
        "violations": len(verdict.violations),
        "calls": len(history.calls),
        "calls_sent_again_after_rotation": sum(call.status == _REFUSED for call in history.calls),
        "gates_closed_by_rotation": course.gates_closed,
    }
    finish(console, figures, detail)
    is_disturbed = (plan.kills, plan.rotations) == (len(course.faults), course.rotations)
    is_unharmed = not refused and not course.refused and not course.gates_closed
    return 0 if is_done and is_disturbed and is_unharmed and verdict.holds else 1


def _refused_again(history: History) -> list[Call]:
    """Return the calls whose last word was a 401: the key of after the refresh was refused as well.

    Each is sent twice under one name; a worker that was killed in between had no second chance.
    """
    last: dict[tuple[str, int, str, str], Call] = {}
    for call in sorted(history.calls, key=lambda call: call.started):
        last[call.request_id, call.generation, call.attempt, call.worker] = call
    return [
        call
        for call in last.values()
        if call.status == _REFUSED
        and not any(
            fault.worker == call.worker and fault.at - call.ended < _REFRESH
            for fault in history.faults
        )
    ]


def _publish(upstream: Upstream, limit: int | None) -> int:
    upstream.publish(inputs.contracts(limit))
    upstream.publish(inputs.first_turns(limit))
    upstream.publish(inputs.tickets(limit))
    upstream.flush()
    return upstream.published


async def _watch(downstream: Downstream, total: int, console: Console) -> bool:
    columns = ("outcomes", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + _PATIENCE
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("outcomes", total=total)
        while downstream.count < total and time.monotonic() < deadline:
            progress.update(task, completed=downstream.count)
            await asyncio.sleep(0.2)
        progress.update(task, completed=downstream.count)
    return downstream.count >= total


class Course:
    """What is done to the system meanwhile, and what the worker's metrics say of it."""

    def __init__(self, worker: Room) -> None:
        self._worker = worker
        self.faults: list[Fault] = []
        self.rotations = 0
        self.refused = 0
        """Calls that failed as `not_authorised`, by the worker's own count."""
        self.gates_closed = 0
        """Tiers that ever stood still for it, in any of the worker's lives."""

    async def run(self, stack: Stack, downstream: Downstream, total: int, plan: Plan) -> None:
        """Kill and rotate at even distances of progress: a slow machine changes nothing."""
        kills, rotations = plan.kills, plan.rotations
        steps = sorted(
            [(total * (k + 1) // (kills + 1), "kill") for k in range(kills)]
            + [(total * (2 * r + 1) // (2 * rotations + 1), "rotate") for r in range(rotations)]
        )
        for at, what in steps:
            if not await downstream.until(min(at, total - 1), _PATIENCE):
                return
            if what == "rotate":
                await stack.keys.rotate()
                self.rotations += 1
            else:
                await self._kill()

    async def ask(self) -> None:
        """Take from the worker's metrics what ends with its process."""
        code = FailureCode.NOT_AUTHORISED
        failed = await samples(self._worker.url, "sluice_calls_total", result=code)
        closed = await samples(self._worker.url, "sluice_gate_closed", code=code)
        self.refused += int(sum(value for _, value in failed))
        self.gates_closed += len(closed)  # there is no sample of a gate that never closed

    async def _kill(self) -> None:
        await self.ask()
        process, began = process_of(self._worker), time.time()
        await self._worker.kill()
        self.faults.append(Fault("kill", began, time.time(), process))
        await self._worker.restart()
        await self._worker.ready()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--rotations", type=int, default=0)
    parser.add_argument("--limit", type=int, help="take so many of each kind only")
    given = parser.parse_args()
    sys.exit(
        asyncio.run(main(Plan(given.kills, given.rotations, given.limit), Console(stderr=True)))
    )
