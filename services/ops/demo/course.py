"""What happens during the demo: requests arrive, the API misbehaves, the key is replaced."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import aiohttp

from services.ops.demo.reading import CommittedReader
from services.ops.demo.samples import Sample, broken, samples
from services.ops.demo.tally import Tally
from services.ops.local.stack import Stack
from services.ops.sending import Sender
from services.runtime.settings import KafkaSettings

REQUESTS: Final = 240
LIVE_REQUESTS: Final = 8
_PER_SECOND: Final = 24
_WAIT_SECONDS: Final = 90.0
_LIVE_WAIT_SECONDS: Final = 300.0
_LOOK: Final = 0.2
_OVERLAP: Final = 3.0  # above the interval in which the demo's workers look for a new key
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

_TROUBLE: Final[tuple[tuple[float, str, list[dict[str, Any]]], ...]] = (
    (0.15, "the API is overloaded (529) for six calls", [{"kind": "overloaded", "count": 6}]),
    (
        0.35,
        "the API limits four calls (429, retry-after 1 s)",
        [{"kind": "rate_limited", "count": 4, "retry_after": 1, "model": "haiku"}],
    ),
    (
        0.65,
        "two calls end in a 500, one in a cut connection",
        [{"kind": "server_error", "count": 2}, {"kind": "cut_in_body", "count": 1}],
    ),
    (
        0.8,
        "one answer is refused, two break their schema",
        [{"kind": "refusal", "count": 1}, {"kind": "schema_violation", "count": 2}],
    ),
)
_ROTATED_AT: Final = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    published: int
    outcomes: int
    total: int


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in the end."""

    tally: Tally
    calls: list[dict[str, Any]]
    """The simulator's log; empty when the real API was called."""
    is_complete: bool
    """False when the wait for outcomes was given up."""


async def run(stack: Stack, say: Say, show: Callable[[Progress], None]) -> Result:
    """Publish, disturb, wait for the outcomes and read everything again from the beginning."""
    is_live = stack.plan.live_key is not None
    name = f"demo-{uuid4().hex[:8]}"
    records = [*samples(name, LIVE_REQUESTS if is_live else REQUESTS), *broken(name)]
    published = 0

    def progressed(tally: Tally) -> None:
        show(Progress(published, len(tally.outcomes), len(records)))

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(
            _watch(
                stack, len(records), progressed, _LIVE_WAIT_SECONDS if is_live else _WAIT_SECONDS
            )
        )
        async with Sender.open(_kafka(stack)) as sender:
            for published, sample in enumerate(_mixed(records), 1):
                await sender.send(stack.topics.requests(sample.tier), sample.record)
                if not is_live:
                    await _disturb(stack, published, len(records), say, tasks)
                await asyncio.sleep(1 / _PER_SECOND)
        is_complete = await watching
    tally = await asyncio.to_thread(_read_again, stack)
    return Result(tally, [] if is_live else await _calls(stack), is_complete)


def _mixed(records: list[Sample]) -> list[Sample]:
    """Spread the broken ones, which stand at the end, among the others."""
    step = max(1, len(records) // 5)
    good, bad = records[:-4], records[-4:]
    for number, sample in enumerate(bad, 1):
        good.insert(min(number * step, len(good)), sample)
    return good


async def _disturb(
    stack: Stack, published: int, total: int, say: Say, tasks: asyncio.TaskGroup
) -> None:
    for share, what, faults in _TROUBLE:
        if published == round(share * total):
            await _control(stack, "faults", faults)
            say(what)
    if published == round(_ROTATED_AT * total):
        tasks.create_task(_rotate(stack, say))


async def _rotate(stack: Stack, say: Say) -> None:
    say("the API key is replaced in Secrets Manager")
    await stack.keys.rotate(overlap=_OVERLAP)
    say("the old key is revoked")


async def _control(stack: Stack, path: str, body: object) -> None:
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
        session.post(f"{stack.simulator.url}/_sim/{path}", json=body) as answer,
    ):
        await answer.read()


async def _watch(
    stack: Stack, total: int, progressed: Callable[[Tally], None], patience: float
) -> bool:
    """Follow the topics until every request has an outcome; False when that takes too long."""
    tally = Tally(stack.topics)
    with CommittedReader(stack.bootstrap_servers, stack.topics) as reader:
        try:
            async with asyncio.timeout(patience):
                while len(tally.asked) < total or not tally.is_complete:
                    tally.add_all(await asyncio.to_thread(lambda: list(reader.read(_LOOK))))
                    progressed(tally)
        except TimeoutError:
            return False
    return True


def _read_again(stack: Stack) -> Tally:
    tally = Tally(stack.topics)
    with CommittedReader(stack.bootstrap_servers, stack.topics) as reader:
        tally.add_all(reader.read_to_end())
    return tally


async def _calls(stack: Stack) -> list[dict[str, Any]]:
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
        session.get(f"{stack.simulator.url}/_sim/calls") as answer,
    ):
        calls = [json.loads(line) for line in (await answer.text()).splitlines()]
    return [call for call in calls if call["path"] == "/v1/messages"]


def _kafka(stack: Stack) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=stack.bootstrap_servers, topic_prefix=stack.plan.topic_prefix
    )
