"""The world that throttles are judged in: load, a server with the simulator's limiter, replicas.

Real are the limiter of the simulator and, for ours, every class of the worker's throttle. Modelled
are the network (10 to 20 ms one way), answers (0.5 s to the first token, then 150 tokens a second)
and Kafka's topic for the exchange (`log.py`).
"""

import asyncio
import math
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.simulator.limiter import Limiter, Limits, Refusal
from sluice_contracts import Priority, TokenUsage

if TYPE_CHECKING:
    from .clients import Client

FIRST_TOKEN: Final = 0.5
TOKENS_PER_SECOND: Final = 150.0
NETWORK: Final = (0.01, 0.02)
EPOCH: Final = datetime(2026, 11, 1, tzinfo=UTC)
INTERACTIVE: Final = 0.05
"""Part of the requests that is interactive."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for, and how sizes differ."""

    limits: Limits
    overload: float = 1.3
    """Offered load over what the binding limit allows."""
    input_median: float = 1_500
    output_median: float = 300
    sigma: float = 0.6
    """Of the logarithm of sizes."""
    cached: int = 0
    """Tokens of a prefix that is charged when written to the cache and free when read."""
    cache_hits: float = 0.995
    characters_per_token: float = 3.6
    estimate_noise: float = 0.05
    """Of the logarithm: how badly characters tell tokens."""
    max_tokens: int = 4_096

    @property
    def capacity(self) -> float:
        """How many requests a second the limits allow on average."""
        mean = math.exp(self.sigma**2 / 2)
        charged = self.input_median * mean + self.cached * (1 - self.cache_hits)
        produced = self.output_median * mean
        limits = self.limits
        return (
            min(limits.requests, limits.input_tokens / charged, limits.output_tokens / produced)
            / 60
        )

    def draw(self, rng: random.Random) -> "Request":
        """Draw one request."""
        inputs = max(1, round(rng.lognormvariate(math.log(self.input_median), self.sigma)))
        is_hit = rng.random() < self.cache_hits
        # The prefix is the same text every time; only what varies is told badly.
        told = inputs * rng.lognormvariate(0.0, self.estimate_noise) + self.cached
        return Request(
            characters=max(1, round(told * self.characters_per_token)),
            input_tokens=inputs,
            cache_read=self.cached if is_hit else 0,
            cache_written=0 if is_hit else self.cached,
            output_tokens=max(
                1, round(rng.lognormvariate(math.log(self.output_median), self.sigma))
            ),
            priority=Priority.INTERACTIVE if rng.random() < INTERACTIVE else Priority.STANDARD,
        )


@dataclass(eq=False, slots=True)
class Request:
    """One request, with what only the server knows."""

    characters: int
    input_tokens: int
    cache_read: int
    cache_written: int
    output_tokens: int
    priority: Priority

    @property
    def charged(self) -> int:
        """What counts against the input limit."""
        return self.input_tokens + self.cache_written

    @property
    def usage(self) -> TokenUsage:
        """What the answer reports."""
        return TokenUsage.model_construct(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_input_tokens=self.cache_read,
            cache_creation_input_tokens=self.cache_written,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    headers: dict[str, str]
    usage: TokenUsage | None = None
    refusal: Refusal | None = None


@dataclass(eq=False, slots=True)
class Score:
    """What happened after the warm-up."""

    since: float
    calls: int = 0
    refused: int = 0
    finished: int = 0
    given_up: int = 0
    waits: list[float] = field(default_factory=list)
    """Of interactive requests for their turn, in seconds."""

    def called(self, now: float, *, is_refused: bool) -> None:
        """Count a call."""
        if now >= self.since:
            self.calls += 1
            self.refused += is_refused

    def succeeded(self, request: Request, waited: float, now: float) -> None:
        """Count a request that got its answer."""
        if now >= self.since:
            self.finished += 1
            if request.priority is Priority.INTERACTIVE:
                self.waits.append(waited)

    def exhausted(self, now: float) -> None:
        """Count a request that ran out of attempts."""
        if now >= self.since:
            self.given_up += 1


class Server:
    """The API: the simulator's limiter behind a network."""

    def __init__(self, limiter: Limiter, score: Score, rng: random.Random) -> None:
        self.limiter = limiter
        self._score = score
        self._rng = rng
        self._loop = asyncio.get_running_loop()

    async def call(self, request: Request) -> Answer:
        """Answer a call, in the server's time."""
        rng = self._rng
        await asyncio.sleep(rng.uniform(*NETWORK))
        verdict = self.limiter.admit(request.charged * rng.uniform(0.97, 1.03))
        is_refused = isinstance(verdict, Refusal)
        self._score.called(self._loop.time(), is_refused=is_refused)
        if isinstance(verdict, Refusal):
            answer = Answer(self._headers(verdict), refusal=verdict)
        else:
            verdict.correct_input(request.charged)
            at_arrival = self._headers(None)
            seconds = request.output_tokens / TOKENS_PER_SECOND
            verdict.produce(request.output_tokens, seconds=seconds, after=FIRST_TOKEN)
            await asyncio.sleep(FIRST_TOKEN + seconds)
            verdict.finish()
            answer = Answer(self._brought_up_to_date(at_arrival), usage=request.usage)
        await asyncio.sleep(rng.uniform(*NETWORK))
        return answer

    def _brought_up_to_date(self, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers of an arrival as the end of the call shows them."""
        now = self._now()
        later = self.limiter.with_output(headers, now)
        later["date"] = _http_date(now)
        return later

    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time())

    def _headers(self, refusal: Refusal | None) -> dict[str, str]:
        now = self._now()
        headers = self.limiter.headers(now)
        headers["date"] = _http_date(now)
        if refusal is not None and refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        return headers


def _http_date(now: datetime) -> str:
    return now.strftime("%a, %d %b %Y %H:%M:%S GMT")


class Replica:
    """One worker: takes what arrives at it to its client, so many at a time."""

    def __init__(self, client: "Client", server: Server, in_flight: int) -> None:
        self.client = client
        self.weight = 1.0
        self._server = server
        self._in_flight = in_flight
        self._backlog: deque[Request] = deque()
        self._running = 0
        loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = {loop.create_task(client.run())}

    def offer(self, request: Request) -> None:
        """Take a request, now or when one of the others is done."""
        if self._running < self._in_flight or request.priority is Priority.INTERACTIVE:
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._take(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._backlog.append(request)

    def give(self) -> list[Request]:
        """Give up the backlog, to whoever takes the partitions over."""
        backlog, self._backlog = list(self._backlog), deque()
        return backlog

    async def stop(self) -> None:
        """Cancel everything; what the server was asked for it still does."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _take(self, request: Request) -> None:
        while True:
            await self.client.finish(request, self._server)
            if not self._backlog:
                break
            request = self._backlog.popleft()
        self._running -= 1
