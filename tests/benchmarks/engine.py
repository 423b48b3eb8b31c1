"""What the engine costs and adds: `make bench-engine`.

In one run on one machine: CPU per request against the bare SDK and against a plain FastStream
subscriber; latency beyond the model's own, idle and at half load; memory and loop lag with up to
5,000 calls in flight; calls repeated by a kill and by a planned restart of three workers.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count as counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from services.ops.local.keys import FIRST_KEY
from services.ops.local.stack import Stack, StackPlan
from tests.benchmarks import inputs, rivals
from tests.benchmarks.inputs import Input
from tests.benchmarks.report import finish
from tests.benchmarks.traffic import Downstream, Upstream
from tests.benchmarks.usage import cpu_seconds, rss_mb
from tests.chaos import collect

PLENTY = "100000000"
MODEL_SECONDS = 0.3
IN_FLIGHT = 200
WARM_UP = 2000
LEVELS = (100, 1000, 5000)
MOST_IN_FLIGHT = 6000
_LAG = re.compile(r'^sluice_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


class Bench:
    """A stack, and what is asked of it; request ids are used once."""

    def __init__(self, stack: Stack, call_log: Path, console: Console) -> None:
        self.stack = stack
        self.call_log = call_log
        self.console = console
        self.upstream = Upstream(stack.bootstrap_servers, stack.topics)
        self._series = counter()
        self._seen_at: dict[str, float] = {}
        self._sent_at: dict[str, float] = {}
        self.downstream = Downstream.of(stack.bootstrap_servers, stack.topics, self._note)

    def _note(self, outcome: dict[str, Any]) -> None:
        self._seen_at.setdefault(outcome["request_id"], time.time())

    def inputs(self, count: int) -> list[Input]:
        """Make requests that were never seen."""
        series = next(self._series)
        return [
            replace(
                each,
                request=each.request.model_copy(
                    update={"request_id": f"{series}-{each.request.request_id}"}
                ),
            )
            for each in inputs.tickets(count)
        ]

    def publish(self, requests: Iterable[Input]) -> list[str]:
        """Publish requests and note when."""
        names = []
        for each in requests:
            self._sent_at[each.request.request_id] = time.time()
            self.upstream.publish([each])
            names.append(each.request.request_id)
        return names

    async def done(self, names: Iterable[str], within: float = 300.0) -> None:
        """Wait for the outcomes of these requests."""
        wanted = set(names)
        async with asyncio.timeout(within):
            while not wanted <= self._seen_at.keys():  # noqa: ASYNC110 -- a thread notes them
                await asyncio.sleep(0.02)

    def added_ms(self, names: Iterable[str]) -> dict[str, float]:
        """Return p50 and p99 of what was added to the model's own time, in milliseconds."""
        own = {
            call.request_id: (call.ended or call.started) - call.started
            for call in collect.calls(self.call_log)
        }
        added = sorted(
            (self._seen_at[name] - self._sent_at[name] - own[name]) * 1000 for name in names
        )
        return {"p50": round(quantile(added, 0.5), 1), "p99": round(quantile(added, 0.99), 1)}

    @property
    def pids(self) -> list[int]:
        """The workers' processes."""
        return [worker.child.pid for worker in self.stack.workers if worker.child.is_running]

    async def lag(self) -> dict[float, float]:
        """Read the loop-lag histogram of the first worker: count by upper bound."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.stack.workers[0].url}/metrics") as answer,
        ):
            return {float(le): float(n) for le, n in _LAG.findall(await answer.text())}


def quantile(values: list[float], share: float) -> float:
    """Return a quantile of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


async def cpu(bench: Bench, count: int) -> dict[str, Any]:
    """Compare CPU time per request, worker and rivals taking turns."""
    stack = bench.stack
    options = ["--url", stack.simulator.url, "--key", FIRST_KEY, "--count", str(count)]
    options += ["--in-flight", str(IN_FLIGHT), "--bootstrap", stack.bootstrap_servers]
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for future in admin.create_topics(
        [NewTopic(name, 8, 1) for name in (rivals.REQUESTS_TOPIC, rivals.RESULTS_TOPIC)]
    ).values():
        future.result(30)
    # Caches and connections take a moment, and the broker compiles itself for longer: meanwhile
    # its compiler has a part of every core, which shows as CPU time of whoever shares it.
    for _ in range(4):
        await bench.done(bench.publish(bench.inputs(WARM_UP)))
    figures: dict[str, float] = {}
    bench.console.print("the worker")
    (pid,) = bench.pids
    before = cpu_seconds(pid)
    await bench.done(bench.publish(bench.inputs(count)))
    figures["worker"] = (cpu_seconds(pid) - before) * 1000 / count
    bench.console.print("the bare SDK")
    figures["sdk"] = (await _rival("sdk", options))["cpu_ms_per_call"]
    bench.console.print("plain FastStream")
    for each in inputs.tickets(count):
        value = each.request.model_dump_json(exclude_unset=True).encode()
        bench.upstream.publish_raw(rivals.REQUESTS_TOPIC, each.request.request_id.encode(), value)
    figures["faststream"] = (await _rival("faststream", options))["cpu_ms_per_call"]
    return {
        "cpu_ms_per_request": {name: round(value, 3) for name, value in figures.items()},
        "cpu_ratio_vs_sdk": round(figures["worker"] / figures["sdk"], 3),
        "cpu_ratio_vs_faststream": round(figures["worker"] / figures["faststream"], 3),
    }


async def _rival(name: str, options: list[str]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.rivals", name, *options,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 300)
    return dict(json.loads(said.splitlines()[-1]))


async def latency(bench: Bench, per_second: float) -> dict[str, Any]:
    """Measure the time added beyond the model's own, idle and at half load."""
    bench.console.print("latency, idle")
    idle = []
    for each in bench.inputs(120):
        names = bench.publish([each])
        await bench.done(names)
        idle += names
    bench.console.print(f"latency at {per_second:.0f} requests a second")
    half = []
    started = time.monotonic()
    for index, each in enumerate(bench.inputs(int(per_second * 20))):
        await asyncio.sleep(max(0.0, started + index / per_second - time.monotonic()))
        half += bench.publish([each])
    await bench.done(half)
    return {
        "added_latency_ms": {"idle": bench.added_ms(idle), "half_load": bench.added_ms(half[200:])},
        "half_load_per_s": round(per_second, 1),
    }


async def in_flight(bench: Bench, levels: Iterable[int]) -> dict[str, Any]:
    """Hold calls open and look at memory and at how late the loop wakes."""
    found = {}
    for level in levels:
        bench.console.print(f"{level} calls in flight")
        names = bench.publish(bench.inputs(level))
        async with asyncio.timeout(120):
            while await _calls_in_flight(bench) < level:  # noqa: ASYNC110 -- the worker is asked
                await asyncio.sleep(0.2)
        before = await bench.lag()
        await asyncio.sleep(10)
        rss = rss_mb(bench.pids[0])
        after = await bench.lag()
        found[str(level)] = {"rss_mb": round(rss, 1), "loop_lag_ms_p99": _p99(before, after)}
        await bench.done(names)
    return {"in_flight": found}


async def _calls_in_flight(bench: Bench) -> int:
    facts = await bench.stack.workers[0].facts()
    return int(facts["in_flight"]) if facts is not None else 0


def _p99(before: dict[float, float], after: dict[float, float]) -> float:
    """Return the upper bound of the bucket that holds the 99th percentile, in milliseconds."""
    counts = {le: after[le] - before.get(le, 0.0) for le in sorted(after)}
    total = max(counts.values(), default=0.0)
    return next((le * 1000 for le, n in counts.items() if n >= 0.99 * total), 0.0)


async def repeats(bench: Bench) -> dict[str, Any]:
    """Count the calls that a kill repeats, and that a rolling restart of three workers repeats."""
    worker = bench.stack.workers[0]
    bench.console.print("a kill")
    before = _repeated(bench)
    names = bench.publish(bench.inputs(600))
    await bench.done(names[:100])
    await worker.kill()
    await worker.restart()
    await worker.ready()
    await bench.done(names)
    killed = _repeated(bench) - before
    bench.console.print("a rolling restart of three workers")
    others = [bench.stack.add_worker(), bench.stack.add_worker()]
    await asyncio.gather(*(other.ready() for other in others))
    await asyncio.sleep(5)
    before = _repeated(bench)
    stop = asyncio.Event()
    publishing = asyncio.create_task(_keep_publishing(bench, 60, stop))
    for each in bench.stack.workers:
        await asyncio.sleep(2)
        await each.restart()
        await each.ready()
    stop.set()
    await bench.done(await publishing)
    return {"repeats_per_kill": killed, "repeats_on_planned_restart": _repeated(bench) - before}


async def _keep_publishing(bench: Bench, per_second: float, stop: asyncio.Event) -> list[str]:
    names = []
    for each in bench.inputs(10_000):
        names += bench.publish([each])
        await asyncio.sleep(1 / per_second)
        if stop.is_set():
            break
    return names


def _repeated(bench: Bench) -> int:
    calls = [(c.request_id, c.generation, c.attempt) for c in collect.calls(bench.call_log)]
    return len(calls) - len(set(calls))


@asynccontextmanager
async def started(seconds: float, most: int, console: Console) -> AsyncIterator[Bench]:
    """Start a stack whose model takes this long, with so many calls in flight at most."""
    limits = [f"--limits.default.{name}" for name in ("requests", "input-tokens", "output-tokens")]
    with TemporaryDirectory() as directory:
        call_log = Path(directory) / "calls.jsonl"
        plan = StackPlan(
            relay=False,
            simulator_arguments=(
                "--call-log", str(call_log), "--latency.first-token-s", str(seconds),
                "--latency.sigma", "0", "--latency.tokens-per-second", "1000000",
                "--latency.speed-sigma", "0", "--answers.gzip-share", "0",
                *(word for name in limits for word in (name, PLENTY)),
            ),
            environment={
                "LOG__LEVEL": "info",
                "ENGINE__IN_FLIGHT": str(most),
                "CLAUDE__MAX_CONNECTIONS": str(most),
                "THROTTLE__MAX_IN_FLIGHT": str(most),
                **{
                    f"THROTTLE__START__{name}": PLENTY
                    for name in ("REQUESTS", "INPUT_TOKENS", "OUTPUT_TOKENS")
                },
            },
        )  # fmt: skip
        async with Stack.running(plan, report=lambda what: console.print(f"starting {what}")) as up:
            bench = Bench(up, call_log, console)
            with bench.downstream:
                yield bench


async def main(count: int, console: Console) -> None:
    """Measure everything and say it."""
    figures: dict[str, Any] = {}
    async with started(MODEL_SECONDS, IN_FLIGHT, console) as bench:
        figures |= await cpu(bench, count)
        capacity = 1000 / figures["cpu_ms_per_request"]["worker"]
        # Broker, simulator and worker share the cores: half of what the worker alone could do is
        # already their limit, so half load is half of that.
        figures |= await latency(bench, min(capacity / 4, 200.0))
        figures |= await repeats(bench)
    async with started(25.0, MOST_IN_FLIGHT, console) as bench:
        figures |= await in_flight(bench, LEVELS)
    finish(console, figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    asyncio.run(main(parser.parse_args().count, Console(stderr=True)))
