"""The throttle on real processes and real Kafka: 1, 4 and 8 workers against the simulator.

While each fleet works off a backlog that is spread unevenly over the partitions, one worker is
killed, another is paused, and the organisation's limits are halved for a while. A fleet of one is
neither killed nor paused: nobody would be left to use the allowance.
"""

import argparse
import asyncio
import json
import random
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console

from services.ops.local.stack import Stack, StackPlan
from sluice_contracts import CompletionRequested, Message, Priority, Tier

from .report import finish

GROUP: Final = "claude-haiku-5-5"
PARTITIONS: Final = 16
LIMITS: Final = {"requests": 900, "input_tokens": 2_000_000, "output_tokens": 400_000}
BURST: Final = 5.0
WARM_UP: Final = 75.0
"""Seconds for the slow start to reach the limit."""
LEAST_USED: Final = 0.98
MOST_REFUSED: Final = 0.001
TEXT: Final = "Say in two sentences what this customer wants. "
RESULT_BYTES: Final = 4_194_304


@dataclass(frozen=True, slots=True)
class Live:
    """What one fleet did."""

    replicas: int
    seconds: float
    utilisation: float
    share_429: float
    calls: int
    exhausted: int
    wait_ms_interactive_p99: float

    def as_json(self) -> dict[str, Any]:
        """Return the figures that the report prints."""
        return {
            "name": f"live {self.replicas} workers",
            "replicas": self.replicas,
            "burst_s": BURST,
            "utilisation": round(self.utilisation, 4),
            "share_429": round(self.share_429, 5),
            "calls": self.calls,
            "exhausted": self.exhausted,
            "wait_ms_interactive_p99": round(self.wait_ms_interactive_p99, 1),
        }

    @property
    def misses(self) -> bool:
        """Whether it is under a bar."""
        return self.utilisation < LEAST_USED or self.share_429 > MOST_REFUSED or self.exhausted > 0


def main() -> int:
    """Run every fleet and return the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-throttle-live", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--seconds", type=float, default=120.0, help="measured, each")
    options = parser.parse_args()
    console = Console(stderr=True)
    results = []
    for workers in options.workers:
        results.append(asyncio.run(_measure(workers, options.seconds, console)))
        console.print(results[-1].as_json())
    figures = {
        "benchmark": "throttle-live",
        "bars": {"utilisation": LEAST_USED, "share_429": MOST_REFUSED, "exhausted": 0},
        "missed": [result.as_json()["name"] for result in results if result.misses],
        "scenarios": [result.as_json() for result in results],
    }
    finish(console, figures)
    return 1 if any(result.misses for result in results) else 0


async def _measure(workers: int, seconds: float, console: Console) -> Live:
    limits = [
        f"--limits.default.{name.replace('_', '-')}={value}" for name, value in LIMITS.items()
    ]
    plan = StackPlan(
        workers=workers,
        relay=False,
        partitions=PARTITIONS,
        simulator_arguments=(*limits, f"--limits.burst-s={BURST}"),
        environment={"TIERS": '["haiku"]', "LOG__LEVEL": "warning"},
    )
    async with (
        Stack.running(plan, report=lambda said: console.print(f"waiting for {said}")) as stack,
        aiohttp.ClientSession() as http,
    ):
        count = round((WARM_UP + seconds) * LIMITS["requests"] / 60 * 1.3)
        console.print(f"{workers} workers are ready; publishing a backlog")
        await _submit(stack, count)
        console.print(f"{count} requests published; {WARM_UP:.0f} s to warm up")
        await asyncio.sleep(WARM_UP)
        console.print(f"measuring for {seconds:.0f} s")
        since = datetime.now(UTC)
        before = await _account(stack, http)
        trouble = asyncio.create_task(_trouble(stack, http, seconds))
        urgent = asyncio.create_task(_submit_urgent(stack))
        await asyncio.sleep(seconds)
        after = await _account(stack, http)
        halved = await trouble
        urgent.cancel()
        console.print("reading the outcomes")
        waits, dead = await _outcomes(stack, since)
    elapsed = after["now"] - before["now"]
    used = {name: after["total"][name] - before["total"][name] for name in LIMITS}
    refused = after["total"]["refused"] - before["total"]["refused"]
    allowed = (elapsed - halved / 2) / 60
    calls = used["requests"] + refused
    return Live(
        replicas=workers,
        seconds=elapsed,
        utilisation=max(used[name] / (limit * allowed) for name, limit in LIMITS.items()),
        share_429=refused / max(1.0, calls),
        calls=round(calls),
        exhausted=dead,
        wait_ms_interactive_p99=waits[int(0.99 * len(waits))] if waits else 0.0,
    )


async def _submit(stack: Stack, count: int) -> None:
    """Publish a backlog, most of it on few partitions."""
    rng = random.Random(1)
    weights = [rng.paretovariate(1.2) for _ in range(PARTITIONS)]
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, linger_ms=20)
    await producer.start()
    try:
        topic = stack.topics.requests(Tier.HAIKU)
        for number in range(count):
            partition = rng.choices(range(PARTITIONS), weights)[0]
            # Every partition has some to do, so that no worker is without work by chance.
            if number < 4 * PARTITIONS:
                partition = number % PARTITIONS
            value = _request("normal", Priority.STANDARD, rng)
            await producer.send(topic, value, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def _submit_urgent(stack: Stack) -> None:
    """Publish an interactive request every second, to any partition."""
    rng = random.Random(2)
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    await producer.start()
    try:
        while True:
            value = _request("urgent", Priority.INTERACTIVE, rng)
            partition = rng.randrange(PARTITIONS)
            await producer.send(stack.topics.requests(Tier.HAIKU), value, partition=partition)
            await asyncio.sleep(1.0)
    finally:
        await producer.stop()


def _request(kind: str, priority: Priority, rng: random.Random) -> bytes:
    request = CompletionRequested(
        request_id=f"{kind}-{uuid4().hex}",
        messages=[Message(role="user", content=TEXT * rng.randrange(5, 60))],
        max_tokens=1_024,
        priority=priority,
    )
    return request.model_dump_json(exclude_defaults=True).encode()


async def _trouble(stack: Stack, http: aiohttp.ClientSession, seconds: float) -> float:
    """Kill one, pause one, halve the limits; return for how many seconds they were halved."""
    await asyncio.sleep(seconds * 0.15)
    if len(stack.workers) > 1:
        await stack.workers[0].kill()
    await asyncio.sleep(seconds * 0.15)
    if len(stack.workers) > 1:
        stack.workers[1].pause()
        await asyncio.sleep(seconds * 0.08)
        stack.workers[1].resume()
    began = await _set_limits(stack, http, 0.5)
    await asyncio.sleep(seconds * 0.25)
    return await _set_limits(stack, http, 1.0) - began


async def _set_limits(stack: Stack, http: aiohttp.ClientSession, part: float) -> float:
    body = {"group": GROUP, **{name: limit * part for name, limit in LIMITS.items()}}
    async with http.put(f"{stack.simulator.url}/_sim/limits", data=json.dumps(body)) as answer:
        answer.raise_for_status()
    return float((await _account(stack, http))["now"])


async def _account(stack: Stack, http: aiohttp.ClientSession) -> dict[str, Any]:
    url = f"{stack.simulator.url}/_sim/account/{GROUP}?since=1e12"
    async with http.get(url) as answer:
        found: dict[str, Any] = (await answer.json())[GROUP]
    return found


async def _outcomes(stack: Stack, since: datetime) -> tuple[list[float], int]:
    """Return how long interactive calls that ended since then waited, and all failures' number."""
    topic = stack.topics.results(Tier.HAIKU)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.bootstrap_servers,
        isolation_level="read_committed",
        max_partition_fetch_bytes=RESULT_BYTES,
        group_id=None,
    )
    await consumer.start()
    waits: list[float] = []
    failed = 0
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)  # more are written while we read
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            batches = await consumer.getmany(timeout_ms=1_000)
            for record in (record for records in batches.values() for record in records):
                outcome = json.loads(record.value)
                failed += "failure" in outcome
                is_new = datetime.fromisoformat(outcome["completed_at"]) >= since
                if is_new and outcome["request_id"].startswith("urgent-"):
                    waits.append(outcome["timing"]["throttled_ms"])
    finally:
        await consumer.stop()
    return sorted(waits), failed


if __name__ == "__main__":
    sys.exit(main())
