"""What the engine is measured against: the bare SDK, and a plain FastStream subscriber.

`python -m tests.benchmarks.rivals sdk|faststream …` makes the same calls as the worker with the
same transport and prints its CPU time. Both get their bodies ready-made: what rendering,
validating, pacing and exactly-once cost is the worker's alone.
"""

import argparse
import asyncio
import json
import resource
import time
from typing import Any

import uvloop
from anthropic import AsyncAnthropic, DefaultAioHttpClient
from faststream import FastStream
from faststream.kafka import KafkaBroker

from services.worker.library import PromptLibrary
from services.worker.models import ModelFacts
from services.worker.render import render
from services.worker.settings import ClaudeSettings
from sluice_contracts import CompletionRequested, Tier
from tests.benchmarks import inputs

REQUESTS_TOPIC = "rival.requests"
RESULTS_TOPIC = "rival.results"


def bodies(count: int) -> dict[str, dict[str, Any]]:
    """Render the calls of so many tickets, by request id."""
    model = ClaudeSettings().of(Tier.HAIKU)
    library, facts = PromptLibrary(), ModelFacts(model.model)
    return {
        each.request.request_id: render(each.request, None, library, model, facts).body
        for each in inputs.tickets(count)
    }


def client(url: str, key: str) -> AsyncAnthropic:
    """Make the SDK's client as its documentation recommends for many calls."""
    return AsyncAnthropic(
        api_key=key,
        base_url=url,
        max_retries=0,
        http_client=DefaultAioHttpClient(),
        open_telemetry=False,
    )


class Stopwatch:
    """CPU time of this process between the first call and the last."""

    def __init__(self) -> None:
        self._cpu, self._wall = _cpu(), time.monotonic()

    def say(self, count: int) -> None:
        """Print what so many calls cost."""
        print(
            json.dumps(
                {
                    "calls": count,
                    "cpu_ms_per_call": (_cpu() - self._cpu) * 1000 / count,
                    "wall_s": time.monotonic() - self._wall,
                }
            ),
            flush=True,
        )


async def sdk(url: str, key: str, count: int, in_flight: int) -> None:
    """Make the calls with nothing around them."""
    ready = list(bodies(count).values())
    waiting = iter(ready)
    async with client(url, key) as claude:

        async def caller() -> None:
            for body in waiting:
                await claude.messages.create(**body)

        # Connections first: the worker is warm, too.
        await asyncio.gather(*(claude.messages.create(**body) for body in ready[:in_flight]))
        watch = Stopwatch()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        watch.say(count)


async def faststream(url: str, key: str, bootstrap: str, count: int, in_flight: int) -> None:
    """Take the requests from Kafka and publish the answers, with FastStream's own concurrency."""
    ready, done = bodies(count), 0
    broker = KafkaBroker(bootstrap, logger=None)
    app = FastStream(broker, logger=None)
    watch: Stopwatch | None = None
    async with client(url, key) as claude:

        @broker.subscriber(
            REQUESTS_TOPIC, group_id="rival", auto_offset_reset="earliest", max_workers=in_flight
        )
        @broker.publisher(RESULTS_TOPIC)
        async def complete(request: CompletionRequested) -> dict[str, Any]:
            nonlocal watch, done
            watch = watch or Stopwatch()
            answer = await claude.messages.create(**ready[request.request_id])
            done += 1
            if done == count:
                watch.say(count)
                app.exit()
            return {"request_id": request.request_id, "answer": answer.model_dump()}

        await app.run()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rival", choices=["sdk", "faststream"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    given = parser.parse_args()
    if given.rival == "sdk":
        uvloop.run(sdk(given.url, given.key, given.count, given.in_flight))
    else:
        uvloop.run(faststream(given.url, given.key, given.bootstrap, given.count, given.in_flight))
