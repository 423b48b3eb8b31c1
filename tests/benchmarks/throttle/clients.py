"""Ours, with the worker's own classes, and five ways to live with the limits that others take."""

import asyncio
from typing import Final, Protocol

from services.runtime.metrics import Metrics
from services.simulator.limiter import Reason
from services.worker.throttle import Ask, HoldKind, Throttle, ThrottleSettings
from services.worker.throttle.buckets import Amounts, Buckets
from services.worker.throttle.estimate import Estimator
from services.worker.throttle.pool import Pool, Reservation
from sluice_contracts import TokenUsage

from .log import Link
from .world import Load, Request, Score, Server

GROUP: Final = "model"
PROMPT: Final = "prompt@1"
SDK_RETRIES: Final = 2
SDK_LONGEST: Final = 60.0
GIVE_UP: Final = 6
"""Attempts after which the worker gives a request up; being told when to come back is none."""
KINDS: Final = {
    Reason.RAMP: HoldKind.RAMP,
    Reason.CONCURRENCY: HoldKind.CONCURRENCY,
}


class Client(Protocol):
    """A way to make calls inside the limits; one per replica."""

    async def run(self) -> None:
        """Do what has to be done beside the calls, until cancelled."""
        ...

    async def finish(self, request: Request, server: Server) -> None:
        """Take a request to its end and count it."""
        ...

    def resize(self, replicas: int) -> None:
        """Learn how many replicas there are now, where the client is told."""
        ...


class Ours:
    """The worker's throttle, used as the worker uses it."""

    def __init__(
        self, settings: ThrottleSettings, link: Link | None, name: str, score: Score
    ) -> None:
        self.throttle = Throttle(settings, metrics=Metrics("bench"), exchange=link, replica=name)
        self._score = score

    async def run(self) -> None:
        """Do what has to be done beside the calls."""
        await self.throttle.run()

    def resize(self, replicas: int) -> None:
        """Needs not to know."""

    async def finish(self, request: Request, server: Server) -> None:
        """Take a request to its end and count it."""
        throttle, attempts, waited = self.throttle, 0, 0.0
        loop = asyncio.get_running_loop()
        while attempts < GIVE_UP:
            inputs, outputs = throttle.estimate(PROMPT, request.characters)
            ask = Ask(
                GROUP, inputs, outputs, priority=request.priority,
                prompt_key=PROMPT, characters=request.characters,
            )  # fmt: skip
            with await throttle.reserve(ask) as reservation:
                waited += reservation.waited
                sent_at = loop.time()
                answer = await server.call(request)
                status = 200 if answer.refusal is None else 429
                throttle.observe(GROUP, answer.headers, sent_at=sent_at, status=status)
                if answer.refusal is None:
                    reservation.settle(answer.usage)
                    self._score.succeeded(request, waited, loop.time())
                    return
                refusal = answer.refusal
                kind = KINDS.get(refusal.reason, HoldKind.RATE)
                throttle.hold(GROUP, refusal.retry_after or 1.0, kind, sent_at=sent_at)
                reservation.settle(TokenUsage())
            attempts += refusal.retry_after is None
        self._score.exhausted(loop.time())


class _WithSdkRetries:
    """Calls with the SDK's own retries: two, after `retry-after`."""

    def __init__(self, score: Score) -> None:
        self._score = score

    async def run(self) -> None:
        """Do what has to be done beside the calls."""
        await asyncio.get_running_loop().create_future()

    def resize(self, replicas: int) -> None:
        """Is not told."""

    async def _wait(self, _request: Request) -> float:
        """Wait for leave to call and return for how long."""
        return 0.0

    async def finish(self, request: Request, server: Server) -> None:
        """Take a request to its end and count it."""
        loop = asyncio.get_running_loop()
        waited = await self._wait(request)
        for attempt in range(SDK_RETRIES + 1):
            answer = await server.call(request)
            if answer.refusal is None:
                self._score.succeeded(request, waited, loop.time())
                return
            pause = answer.refusal.retry_after
            if pause is None or pause > SDK_LONGEST:
                pause = min(8.0, 0.5 * 2**attempt)
            if attempt < SDK_RETRIES:
                await asyncio.sleep(pause)
        self._score.exhausted(loop.time())


class SdkOnly(_WithSdkRetries):
    """No limiter at all."""


class RequestsOnly(_WithSdkRetries):
    """A requests-per-minute limiter, an equal part for each replica."""

    def __init__(self, score: Score, load: Load, replicas: int) -> None:
        super().__init__(score)
        self._gap = 60.0 * replicas / load.limits.requests
        self._next_at = 0.0

    async def _wait(self, _request: Request) -> float:
        now = asyncio.get_running_loop().time()
        self._next_at = max(self._next_at + self._gap, now)
        await asyncio.sleep(self._next_at - now)
        return self._next_at - now


class ReserveMaxTokens(_WithSdkRetries):
    """Three buckets, an equal part each; `max_tokens` reserved and never given back."""

    def __init__(self, score: Score, load: Load, replicas: int) -> None:
        super().__init__(score)
        loop = asyncio.get_running_loop()
        self._buckets = Buckets(loop.time())
        rates = Amounts(*load_limits(load)).times(1 / 60 / replicas)
        self._buckets.change(rates, rates, loop.time())
        self._output = load.max_tokens
        self._turn = asyncio.Lock()
        self._ratio = load.characters_per_token

    async def _wait(self, _request: Request) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        inputs = _request.characters / self._ratio
        async with self._turn:
            while (delay := self._buckets.delay(inputs, self._output, loop.time())) > 0:  # noqa: ASYNC110
                await asyncio.sleep(delay)
            self._buckets.take(1.0, inputs, self._output)
        return loop.time() - began


class Split:
    """The worker's own buckets and settling, at a fixed part of the limits: no exchange.

    Static: the part of the replicas planned. By partitions: the part of the partitions owned, which
    a rebalance changes; equal numbers of partitions, as the assignors give.
    """

    def __init__(
        self,
        settings: ThrottleSettings,
        score: Score,
        load: Load,
        replicas: int,
        *,
        is_static: bool,
    ) -> None:
        self._score = score
        self._limits = Amounts(*load_limits(load)).times(settings.safety / 60)
        self._is_static = is_static
        self._estimator = Estimator(settings.output_quantile)
        self._pool = Pool(GROUP, settings, self, asyncio.get_running_loop())
        self._pool.change(self._limits.times(1 / replicas))

    async def run(self) -> None:
        """Do what has to be done beside the calls."""
        await asyncio.get_running_loop().create_future()

    def resize(self, replicas: int) -> None:
        """Take another part after a rebalance."""
        if not self._is_static:
            self._pool.change(self._limits.times(1 / replicas))

    def granted(self, reservation: Reservation) -> None:
        """Is not interested."""

    def settled(self, ask: Ask, usage: TokenUsage) -> None:
        """Learn."""
        self._estimator.learn(PROMPT, ask.characters, usage)

    async def finish(self, request: Request, server: Server) -> None:
        """Take a request to its end and count it."""
        loop = asyncio.get_running_loop()
        for _ in range(GIVE_UP):
            inputs, outputs = self._estimator.estimate(PROMPT, request.characters)
            ask = Ask(
                GROUP, inputs, outputs, priority=request.priority, characters=request.characters
            )
            with await self._pool.reserve(ask) as reservation:
                answer = await server.call(request)
                reservation.settle(answer.usage or TokenUsage())
            if answer.refusal is None:
                self._score.succeeded(request, reservation.waited, loop.time())
                return
            self._pool.hold(loop.time() + (answer.refusal.retry_after or 1.0), HoldKind.RATE)
        self._score.exhausted(loop.time())


def load_limits(load: Load) -> tuple[float, float, float]:
    """Return a load's limits in the throttle's order."""
    return load.limits.requests, load.limits.input_tokens, load.limits.output_tokens
