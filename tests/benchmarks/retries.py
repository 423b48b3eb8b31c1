"""Every error class on 10,000 real tickets, with kill -9 of worker and relay: `make bench-retries`.

A marked request meets its fault at every call, or at its first one; the others meet none. Some are
cancelled while they wait: in their topic, for the throttle, in memory, on a retry topic. Worker and
relay are killed meanwhile. In the end an operator, who is killed once, replays three causes. Each
request must end where the error table says, by the row that it says; the chaos checker judges the
rest. Bounds of retries are tightened, so that it takes minutes, not hours; the guard is not.
"""

import argparse
import asyncio
import itertools
import json
import os
import pickle
import random
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from services.ops.local.rooms import Room
from services.ops.local.stack import Stack, StackPlan
from sluice_contracts import CancellationRequested, Tier, encode
from sluice_contracts import headers as h
from tests.benchmarks import fault_plan, inputs
from tests.benchmarks.fault_plan import Case, kind_of
from tests.benchmarks.report import finish
from tests.benchmarks.retry_endings import Expected, judge
from tests.benchmarks.traffic import Downstream
from tests.benchmarks.usage import samples
from tests.chaos import collect
from tests.chaos.checker import check
from tests.chaos.history import Bounds, Fault
from tests.chaos.upstream import AccountingUpstream
from tests.chaos.world import process_of

_PATIENCE: Final = 1_500.0
_DRAIN: Final = 6.0
_CALL_TIMEOUT: Final = 12.0
_SETTINGS: Final = {
    "LOG__LEVEL": "warning",
    "CLAUDE__TIMEOUT": f"{_CALL_TIMEOUT:.0f}s",
    "CLAUDE__STREAM_READ_TIMEOUT": f"{_CALL_TIMEOUT:.0f}s",
    "RETRY__MAX_ATTEMPTS": "4",
    "RETRY__BASE_DELAY": "2s",
    "RETRY__PARK_LIMIT": "5s",  # so that many retries rest on the topic of one minute
    "GUARD__FIRST_PROBE": "500ms",
    "ENGINE__SESSION_TIMEOUT": "20s",  # long enough for a machine that runs all of this at once
    "ENGINE__IN_FLIGHT": "300",  # so that most of the backlog waits in its topic
    "ADMIT__TOOLS": json.dumps([fault_plan.ALLOWED_TOOL]),
    "ADMIT__REPLY_TO": json.dumps([fault_plan.NARROW_TOPIC]),
    "ADMIT__MAX_REQUEST_BYTES": "3000000",
}
_FEW: Final = {
    "claude-sonnet-5-5": {"requests": 12, "input_tokens": 30_000, "output_tokens": 2_000_000}
}
_OUTAGE: Final = 5.0
_REPLAYED: Final = ("refused", "unreachable", "truncated")


async def main(arguments: argparse.Namespace, console: Console) -> int:
    """Run, judge, report; returns the exit code."""
    with TemporaryDirectory() as directory:
        call_log = Path(directory) / "calls.jsonl"
        wanted = StackPlan(
            simulator_arguments=(
                "--call-log", str(call_log), "--latency.scale", "0.2",
                "--limits.groups", json.dumps(_FEW),
            ),
            environment=_SETTINGS,
        )  # fmt: skip
        async with Stack.running(
            wanted, report=lambda what: console.print(f"starting {what}")
        ) as stack:
            return await Bench(stack, call_log, arguments, console).run()


class Bench:
    """One run."""

    def __init__(
        self, stack: Stack, call_log: Path, arguments: argparse.Namespace, console: Console
    ) -> None:
        self._stack = stack
        self._call_log = call_log
        self._requests: int = arguments.requests
        self._kills: int = arguments.kills
        self._keep: Path | None = arguments.keep
        self._per_kind = max(1, min(20, arguments.requests // 100))
        self._console = console
        self._upstream = AccountingUpstream(stack.bootstrap_servers, stack.topics)
        self._tickets = itertools.cycle(inputs.tickets())
        self._expected: Expected = {}
        self._cancelled_at: dict[str, float] = {}
        self._faults: list[Fault] = []
        self._gates_closed: set[str] = set()
        self._began = time.monotonic()

    async def run(self) -> int:
        """Publish, disturb, replay, judge."""
        stack = self._stack
        await asyncio.to_thread(self._make_narrow_topic)
        await self._control("POST", "faults", self._injected())
        with Downstream.of(stack.bootstrap_servers, stack.topics) as downstream:
            await self._meet_an_outage(downstream)
            await self._let_wait()
            await asyncio.to_thread(self._publish)
            self._cancel("cancelled_in_topic")
            self._say(f"{len(self._expected)} requests published")
            disturbing = asyncio.create_task(self._disturb(downstream))
            await self._watch(downstream)
            await disturbing
            await self._replay()
            await self._watch(downstream)
            await asyncio.sleep(_DRAIN)
        await self._look_at_gates()
        await asyncio.gather(*(room.stop() for room in stack.rooms))
        return await asyncio.to_thread(self._report)

    def _make_narrow_topic(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._stack.bootstrap_servers, "log_level": 0})
        narrow = NewTopic(fault_plan.NARROW_TOPIC, 1, 1, config={"max.message.bytes": "200"})
        for made in admin.create_topics([narrow]).values():
            made.result(30)

    # --- what is published -------------------------------------------------------------------

    def _injected(self) -> list[dict[str, Any]]:
        """List the simulator's faults; one for each mark, however many requests hold it."""
        every = fault_plan.cases(fault_plan.KINDS, self._per_kind)
        marked = {case.mark: case.fault for case in every if case.fault is not None}
        return list(marked.values())

    def _put(self, case: Case | None, name: str, tier: Tier = Tier.HAIKU) -> None:
        """Publish one request, as bare JSON, with what is wrong with it."""
        body = next(self._tickets).request.model_dump(mode="json", exclude_defaults=True)
        headers = [(h.REQUEST_ID, name.encode()), ("shop", b"bern")]
        topic = self._stack.topics.requests(tier)
        if case is None:
            values = [json.dumps({**body, "request_id": name}).encode()]
            self._expected[name, 0] = [("succeeded", None)]
        else:
            body["variables"]["text"] += f" {case.mark}"
            values = list(case.records(body))
            self._expected[name, 0] = [(case.kind.ending, case.kind.row)]
            if case.kind.label == "conflict":
                self._expected[name, 0].append(("invalid_event", None))
        for value in values:
            self._upstream.publish_raw(topic, name.encode(), value, headers)

    def _publish(self) -> None:
        """Mix what goes wrong into the tickets; the last ones are cancelled in their topic."""
        cases = fault_plan.cases(fault_plan.MAIN, self._per_kind)
        last = [case for case in cases if case.kind.label == "cancelled_in_topic"]
        mixed = [case for case in cases if case not in last]
        plain = self._requests - len(cases)
        everything: list[Case | None] = [*mixed, *[None] * max(plain, 0)]
        random.Random(7).shuffle(everything)
        for number, case in enumerate([*everything, *last]):
            self._put(case, case.name if case else f"ticket-{number}")
        self._upstream.flush()

    async def _meet_an_outage(self, downstream: Downstream) -> None:
        """Publish some requests while nobody listens where the API was."""
        await self._control("POST", "outage", {"seconds": _OUTAGE})
        await self._until_nobody_listens()
        cases = fault_plan.cases((fault_plan.OUTAGE,), self._per_kind)
        for case in cases:
            self._put(case, case.name)
        await downstream.until(len(cases), _OUTAGE + 60)

    async def _until_nobody_listens(self) -> None:
        address = urlsplit(self._stack.simulator.url)
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection(address.hostname, address.port)
                except OSError:
                    return
                writer.close()
                await asyncio.sleep(0.02)

    async def _let_wait(self) -> None:
        """Publish what waits for the throttle, in memory or on a retry topic, and cancel it."""
        tier = fault_plan.THROTTLED_TIER
        for case in fault_plan.cases(fault_plan.CANCELLED, self._per_kind):
            self._put(case, case.name)
        for case in fault_plan.cases(fault_plan.THROTTLED, self._per_kind):
            if case.kind.label == "deadline_in_throttle":
                soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
                kind = replace(case.kind, body={**case.kind.body, "deadline": soon})
                self._put(Case(kind, case.number), case.name, tier)
            else:
                self._put(case, case.name, tier)
        self._upstream.flush()
        await self._until_called({kind.label for kind in fault_plan.CANCELLED})
        self._cancel("cancelled_in_throttle", *(kind.label for kind in fault_plan.CANCELLED))

    async def _until_called(self, labels: set[str], within: float = 60.0) -> None:
        """Wait until each of these has failed once; by then it waits for the next attempt."""
        wanted = {name for name, _ in self._expected if kind_of(name) in labels}
        async with asyncio.timeout(within):
            while wanted - {c.request_id for c in collect.calls(self._call_log)}:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await asyncio.sleep(0.5)

    def _cancel(self, *labels: str) -> None:
        producer = Producer({"bootstrap.servers": self._stack.bootstrap_servers, "log_level": 0})
        names = [name for name, _ in self._expected if kind_of(name) in labels]
        for request_id in names:
            event = CancellationRequested(request_id=request_id, reason="b", requested_by="bench")
            said = encode(event, source="/bench", time=datetime.now(UTC))
            producer.produce(
                self._stack.topics.cancellations, said.value, key=said.key,
                headers=list(said.headers),
            )  # fmt: skip
        producer.flush(30)
        self._cancelled_at |= dict.fromkeys(names, time.time())

    # --- what is done meanwhile --------------------------------------------------------------

    async def _watch(self, downstream: Downstream) -> None:
        while downstream.count < len(self._expected):
            if time.monotonic() - self._began > _PATIENCE:
                self._say("[red]not everything has its outcome[/]")
                return
            await asyncio.sleep(5)
            self._say(f"{downstream.count} of {len(self._expected)}")

    async def _disturb(self, downstream: Downstream) -> None:
        """Kill worker and relay in turn at even distances of progress, the last ones at the end.

        By then nothing is left but what waits for its next attempt.
        """
        assert self._stack.relay is not None
        rooms: list[Room] = [self._stack.workers[0], self._stack.relay] * self._kills
        total = len(self._expected)
        for number, room in enumerate(rooms):
            is_last = number >= len(rooms) - 2
            at = total * 19 // 20 if is_last else total * (number + 1) // (len(rooms) + 1)
            if not await downstream.until(at, _PATIENCE):
                return
            await self._look_at_gates()
            process, began = process_of(room), time.time()
            await room.kill()
            is_worker = room is not self._stack.relay
            self._faults.append(Fault("kill", began, time.time(), process if is_worker else ""))
            await room.restart()
            await room.ready()
            self._say(f"killed and restarted {room.name}")

    async def _look_at_gates(self) -> None:
        """Note for which causes tiers ever stood still, before the worker forgets it."""
        found = await samples(self._stack.workers[0].url, "sluice_gate_closed")
        self._gates_closed |= {labels["code"] for labels, _ in found}

    async def _replay(self) -> None:
        """Put some causes back, by an operator who is killed and begins anew."""
        await self._control("DELETE", "faults")
        codes = [word for code in _REPLAYED for word in ("--code", code)]
        plan = json.loads(await self._sluice("plan", "--why", "bench", "--json", *codes))
        meant = [
            identity
            for identity, endings in self._expected.items()
            if any(ending in _REPLAYED for ending, _ in endings)
        ]
        for name, generation in meant:
            self._expected[name, generation + 1] = [("succeeded", None)]
        self._say(f"replaying {plan['found']['selected']} of {len(meant)} meant")
        run = ("run", plan["plan_id"], "--rate", str(len(meant) / 6), "--canary", "0", "--json")
        first = await self._operator(*run)
        await asyncio.sleep(5)
        first.kill()
        await first.wait()
        await self._sluice(*run)

    async def _operator(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.ops", "replay", *arguments,
            env={**os.environ, **self._stack.environment},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def _sluice(self, *arguments: str) -> bytes:
        process = await self._operator(*arguments)
        said, errors = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"sluice replay {' '.join(arguments)}: {errors.decode()}")
        return said

    async def _control(self, method: str, path: str, body: Any = None) -> None:
        url = f"{self._stack.simulator.url}/_sim/{path}"
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.request(method, url, json=body) as answer,
        ):
            await answer.read()

    # --- what came of it ---------------------------------------------------------------------

    def _report(self) -> int:
        stack, wall = self._stack, time.monotonic() - self._began
        history = collect.history(
            stack.bootstrap_servers, stack.topics, self._call_log,
            sent=tuple(self._upstream.sent), faults=tuple(self._faults),
            bounds=Bounds(call_timeout=_CALL_TIMEOUT),
        )  # fmt: skip
        if self._keep is not None:
            self._keep.write_bytes(pickle.dumps(history))
        verdict = check(history)
        judged = judge(history, self._expected, self._cancelled_at)
        for wrong in (*judged.wrong, *verdict.violations)[:60]:
            self._console.print(f"[red]{wrong}[/]")
        figures = {
            "requests": verdict.requests,
            "by_code": judged.by_code,
            "early": verdict.early,
            "lost": verdict.lost,
            "duplicates": verdict.duplicates,
            "misrouted": len(judged.wrong),
        }
        kills = Counter("worker" if fault.worker else "relay" for fault in self._faults)
        detail = {
            "misrouted_kinds": judged.wrong_kinds,
            "hops": sum(record.kind == "retry" for record in history.written),
            "cancelled": judged.cancelled,
            "replayed": sum(len(plan.selected) for plan in history.plans),
            "kills": dict(kills),
            "repeated_calls": verdict.repeated_calls,
            "repeats_unexplained": verdict.repeats_unexplained,
            "violations": len(verdict.violations),
            "gates_closed": sorted(self._gates_closed),
            "wall_s": round(wall, 1),
        }
        finish(self._console, figures, detail)
        is_disturbed = kills == Counter(worker=self._kills, relay=self._kills)
        # The guard must not mistake so many single causes for one that everybody shares.
        is_guarded = self._gates_closed <= {kind.ending for kind in fault_plan.FATAL}
        is_right = verdict.holds and not judged.wrong
        return 0 if is_right and is_disturbed and is_guarded else 1

    def _say(self, what: str) -> None:
        self._console.print(f"{time.monotonic() - self._began:5.0f} s: {what}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3, help="of the worker, and of the relay")
    parser.add_argument("--keep", type=Path, help="write what was observed to this file")
    sys.exit(asyncio.run(main(parser.parse_args(), Console(stderr=True))))
