"""The whole worker without sockets: the real SDK talks to a scripted wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from services.runtime.engine.ports import Headers, Output, Park, Partition, Record, Verdict
from services.runtime.metrics import Metrics
from services.runtime.secret import Secret
from services.runtime.secrets import SecretStore
from services.worker.attempt import Attempt, Past
from services.worker.calling import Caller
from services.worker.cancellations import Cancellations
from services.worker.claude import Call, Claude
from services.worker.gate import Gate
from services.worker.guard import DeadLetterGuard
from services.worker.handler import Handler
from services.worker.judging import Judge
from services.worker.library import PromptLibrary
from services.worker.meters import Meters
from services.worker.models import ModelFacts
from services.worker.pipeline import Pipeline
from services.worker.publish import Publisher
from services.worker.reporting import Reporter
from services.worker.seen import Load, Seen
from services.worker.seen import Past as SeenBefore
from services.worker.settings import WorkerSettings
from services.worker.throttle import Throttle, ThrottleSettings
from sluice_contracts import RetryDelay, Tier, TopicNames
from sluice_contracts import headers as h

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NAMES = TopicNames()
Reply = httpx2.Response | Exception


def message(text: str | None = "Hello.", **changes: Any) -> dict[str, Any]:
    """Return an answer of the API; None leaves it without blocks."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [] if text is None else [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1_000, "output_tokens": 100},
        **changes,
    }


def answered(text: str | None = "Hello.", **changes: Any) -> httpx2.Response:
    """Return a success."""
    return httpx2.Response(200, headers={"request-id": "req_1"}, json=message(text, **changes))


def refused(
    status: int, kind: str = "api_error", *, said: str = "no", code: str | None = None,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:  # fmt: skip
    """Return an error answer."""
    error: dict[str, Any] = {"type": kind, "message": said}
    if code is not None:
        error["details"] = {"error_code": code}
    return httpx2.Response(
        status,
        headers={"request-id": "req_bad", **(headers or {})},
        json={"type": "error", "error": error},
    )


@dataclass
class Wire:
    """What the API says to each call in turn; the last reply is repeated."""

    replies: list[Reply] = field(default_factory=lambda: [answered()])
    requests: list[httpx2.Request] = field(default_factory=list)
    choose: Callable[[httpx2.Request], Reply] | None = None
    """Replies by what is asked instead."""
    seconds: float = 0.0
    """How long each answer takes."""

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a call."""
        # A copy: a resend with another key changes the request itself.
        sent = httpx2.Request(request.method, request.url, headers=dict(request.headers))
        sent._content = request.content
        self.requests.append(sent)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        reply = self._next(request)
        if isinstance(reply, Exception):
            raise reply
        return httpx2.Response(reply.status_code, headers=reply.headers, content=reply.content)

    def _next(self, request: httpx2.Request) -> Reply:
        if self.choose is not None:
            return self.choose(request)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was asked, call by call."""
        return [json.loads(request.content) for request in self.requests]


class Keys:
    """A secret store's outside: the keys of a rotation, in order."""

    def __init__(self, *values: str) -> None:
        self.keys = [Secret(value, version=str(n)) for n, value in enumerate(values)]
        self.reads = 0

    async def read(self) -> Secret:
        """Read the newest key."""
        self.reads += 1
        return self.keys[-1]

    def store(self) -> SecretStore:
        """Hold the first key."""
        return SecretStore(
            self.read, self.keys[0], poll_interval=None, refresh_interval=1,
            metrics=Metrics("test"),
        )  # fmt: skip


@dataclass
class Worker:
    """A handler on its wire, and what went around it."""

    handler: Handler
    wire: Wire
    settings: WorkerSettings
    metrics: Metrics
    cancellations: Cancellations
    throttle: Throttle
    chunks: list[Output]
    ready: asyncio.Event
    offset: int = 0

    def record(
        self, body: dict[str, Any] | bytes | None, *, headers: Headers = (), age: float = 0.0,
        tier: Tier = Tier.HAIKU, key: bytes | None = b"key",
    ) -> Record:  # fmt: skip
        """Return the next record of a request topic, on partition 3."""
        self.offset += 1
        value = json.dumps(body).encode() if isinstance(body, dict) else body
        at = NOW - timedelta(seconds=age)
        return Record(
            Partition(NAMES.requests(tier), 3), self.offset, int(at.timestamp() * 1000), key, value,
            headers,
        )  # fmt: skip

    def put_back(self, hop: Output) -> Record:
        """Return what the relay makes of a record that rests on a retry topic."""
        assert hop.topic in {NAMES.retries(delay) for delay in RetryDelay}
        topic = h.find(hop.headers, h.RETURN_TOPIC)
        assert topic is not None
        assert hop.partition is not None
        self.offset += 1
        at = int(NOW.timestamp() * 1000)
        place = Partition(topic, hop.partition)
        return Record(place, self.offset, at, hop.key, hop.value, hop.headers)

    async def handle(self, record: Record, attempts: int = 0) -> Verdict:
        """Handle a record as the engine does: again and again while it is told to come again."""
        while True:
            verdict = await self.handler.handle(record, attempts)
            if not isinstance(verdict, Park):
                return verdict
            attempts += verdict.counts
            await asyncio.sleep(verdict.delay)


def settings_with(**changes: Any) -> WorkerSettings:
    """Return settings that no environment and no file touches."""
    plenty = {"requests": 10**6, "input_tokens": 10**9, "output_tokens": 10**9}
    given = {"throttle": ThrottleSettings.model_validate({"start": plenty, "slow_start": 1})}
    return WorkerSettings(_env_file=None, **{**given, **changes})


async def nothing_seen(_: Partition) -> AsyncIterator[SeenBefore]:
    """Load a window in which nothing happened."""
    nothing: tuple[SeenBefore, ...] = ()
    for past in nothing:
        yield past


Build = Callable[..., Any]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Make workers; they end with the test."""
    async with AsyncExitStack() as stack:

        async def make(
            *replies: Reply, settings: WorkerSettings | None = None,
            facts: ModelFacts | None = None,
        ) -> Worker:  # fmt: skip
            return await stack.enter_async_context(
                Standing(Wire(list(replies) or [answered()]), settings or settings_with(), facts)
            )

        yield make


class Standing:
    """A worker for as long as it is entered."""

    def __init__(
        self, wire: Wire, settings: WorkerSettings, facts: ModelFacts | None = None
    ) -> None:
        self._wire, self._settings, self._facts = wire, settings, facts
        self._stack = AsyncExitStack()
        self._began = 0.0
        self.load: Load = nothing_seen
        self.ready = asyncio.Event()
        """Whether the cancellations are known."""
        self.ready.set()

    async def __aenter__(self) -> Worker:
        """Put it together."""
        settings, wire = self._settings, self._wire
        self._began = asyncio.get_running_loop().time()
        metrics, publisher, reporter = Metrics("worker"), Publisher(NAMES), Reporter()
        throttle = Throttle(settings.throttle, metrics=metrics)
        transport = httpx2.MockTransport(wire)
        claude = await self._stack.enter_async_context(
            Claude(settings.claude, Keys("sk-one").store(), throttle.observe, transport)
        )
        chunks: list[Output] = []

        async def send(output: Output) -> None:
            chunks.append(output)

        async def canary() -> None:
            await claude.call(Call(b'{"canary": true}'))

        cancellations = Cancellations(entries=100)
        seen = Seen(self.load, window=3600, entries=1000)
        caller = Caller(
            claude=claude, throttle=throttle, publisher=publisher, send=send, names=NAMES,
            settings=settings,
        )  # fmt: skip
        facts = {t: self._facts or ModelFacts(settings.claude.of(t).model) for t in Tier}
        guard = settings.guard
        gates = {t: Gate(t, canary, guard, metrics) for t in Tier}
        pipeline = Pipeline(
            settings=settings, library=PromptLibrary(), facts=facts, caller=caller,
            count_tokens=claude.count_tokens, publisher=publisher, claims=seen,
            cancelled=cancellations, gates=gates, reporter=reporter,
        )  # fmt: skip
        guards = {
            t: DeadLetterGuard(run=guard.dead_letter_run, window=guard.window, share=guard.share)
            for t in Tier
        }
        judge = Judge(
            publisher=publisher, reporter=reporter, gates=gates, guards=guards, seen=seen,
            retry=settings.retry,
        )  # fmt: skip
        handler = Handler(
            pipeline=pipeline, judge=judge, gates=gates, seen=seen, names=NAMES,
            meters={t: Meters(metrics, t) for t in Tier}, hold_left=caller.hold_left,
            is_ready=self.ready.is_set, clock=lambda: NOW + self._passed(),
        )  # fmt: skip
        await self._stack.enter_async_context(handler)
        return Worker(handler, wire, settings, metrics, cancellations, throttle, chunks, self.ready)

    def _passed(self) -> timedelta:
        return timedelta(seconds=asyncio.get_running_loop().time() - self._began)

    async def __aexit__(self, *_: object) -> None:
        """Take it apart."""
        await self._stack.aclose()


def attempt_at(
    record: Record, *, spent: int = 0, tier: Tier = Tier.HAIKU, past: Past | None = None
) -> Attempt:
    """Begin an attempt at NOW; needs a running loop."""
    meters = Meters(Metrics("test"), tier)
    return Attempt(record, tier, spent=spent, now=NOW, past=past or Past(), meters=meters)
