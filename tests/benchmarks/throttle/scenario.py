"""One scenario: what a fleet lives through, and what is measured."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from services.simulator.limiter import Limiter, Limits, Remaining
from services.simulator.ramp import Ramp
from services.worker.throttle import ThrottleSettings
from services.worker.throttle.settings import GroupLimits

from . import clients
from .clock import run
from .log import Link, Log
from .world import Load, Replica, Score, Server

WARM_UP: Final = 90.0
MEASURED: Final = 120.0
REDRAW: Final = 60.0
"""Seconds between two drawings of a skewed load."""
CHURN: Final = 30.0
"""Seconds between two replicas that come or go: a kill, an arrival, a stop and an arrival are all
within what is measured."""
STEP: Final = 0.05
"""Seconds between two batches of arrivals."""


class Rule(StrEnum):
    """How a fleet keeps within the limits."""

    OURS = "sluice"
    SDK = "sdk-retries"
    REQUESTS = "requests-per-minute"
    MAX_TOKENS = "reserve-max-tokens"
    STATIC = "static-split"
    PARTITIONS = "partition-split"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What varies."""

    burst_s: float = 1.0
    replicas: int = 4
    is_skewed: bool = False
    churns: bool = False
    cached: int = 0
    estimate: str = "fair"
    lost: str = "none"
    remaining: Remaining = Remaining.DEFICIT
    foreign: float = 0.0
    changes: bool = False
    ramps: bool = False
    """Whether sharp growth is refused as well."""
    binding: str = "requests"
    seed: int = 1

    @property
    def name(self) -> str:
        """A short name that says all."""
        parts = [
            f"b{self.burst_s:g}", f"n{self.replicas}", self.binding, str(self.remaining),
            "skew" if self.is_skewed else "", "churn" if self.churns else "",
            "cache" if self.cached else "", f"est-{self.estimate}" * (self.estimate != "fair"),
            f"lost-{self.lost}" * (self.lost != "none"),
            f"foreign{self.foreign:.0%}" * (self.foreign > 0), "changes" * self.changes,
            "ramp" * self.ramps,
        ]  # fmt: skip
        return " ".join(part for part in parts if part)

    @property
    def warm_up(self) -> float:
        """Seconds until the slow start is over; longer where others have to be found out first."""
        return 2 * WARM_UP if self.ramps or self.foreign else WARM_UP

    @property
    def measured(self) -> float:
        """Seconds that count; longer where limits change, which is done by quarters of it."""
        return 2 * MEASURED if self.changes else MEASURED

    @property
    def load(self) -> Load:
        """The load, shaped so that the wanted limit binds."""
        limits, output = {
            "requests": (Limits(1_000, 3_000_000, 800_000), 300),
            "input_tokens": (Limits(3_000, 2_500_000, 1_000_000), 300),
            "output_tokens": (Limits(5_000, 8_000_000, 800_000), 300),
        }[self.binding]
        ratio, noise = {"fair": (3.6, 0.05), "noisy": (3.6, 0.25), "wrong": (2.2, 0.1)}[
            self.estimate
        ]
        return Load(
            limits=limits, output_median=output, cached=self.cached,
            characters_per_token=ratio, estimate_noise=noise,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What came out."""

    scenario: Scenario
    rule: Rule
    utilisation: float
    """Of the binding limit, less what others used of it."""
    share_429: float
    exhausted: int
    calls: int
    wait_ms_interactive_p99: float

    def as_json(self) -> dict[str, Any]:
        """Return the figures that the report prints."""
        return {
            "name": self.scenario.name,
            "replicas": self.scenario.replicas,
            "burst_s": self.scenario.burst_s,
            "utilisation": round(self.utilisation, 4),
            "share_429": round(self.share_429, 5),
            "exhausted": self.exhausted,
            "wait_ms_interactive_p99": round(self.wait_ms_interactive_p99, 1),
        }


class _Fleet:
    """A scenario that runs."""

    def __init__(self, scenario: Scenario, rule: Rule) -> None:
        self._scenario = scenario
        self._rule = rule
        self._load = scenario.load
        self._rng = random.Random(scenario.seed)
        self._loop = asyncio.get_running_loop()
        self._log = Log(random.Random(scenario.seed + 1), 0.3 if scenario.lost == "30%" else 0.0)
        self._score = Score(since=scenario.warm_up)
        self._limiter = Limiter(
            self._load.limits, burst_s=scenario.burst_s, remaining=scenario.remaining,
            ramp=Ramp() if scenario.ramps else None, clock=self._loop.time,
        )  # fmt: skip
        self._server = Server(self._limiter, self._score, self._rng)
        self._replicas: list[tuple[Replica, Link]] = []
        self._names = 0
        # The start value is wrong on purpose: the headers have to put it right.
        self._settings = ThrottleSettings(start=GroupLimits())
        self._allowed = [0.0, 0.0, 0.0]

    async def measure(self) -> Result:
        for _ in range(self._scenario.replicas):
            self._add()
        tasks = [
            self._loop.create_task(work())
            for work in (self._arrive, self._skew, self._churn, self._cut, self._use_by_others)
        ]
        await asyncio.sleep(self._scenario.warm_up)
        before = self._used()
        await asyncio.sleep(self._scenario.measured)
        after = self._used()
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        for replica, link in self._replicas:
            link.is_dead = True
            await replica.stop()
        allowed = [
            limit * self._scenario.measured / 60 for limit in clients.load_limits(self._load)
        ]
        score = self._score
        waits = sorted(score.waits)
        return Result(
            scenario=self._scenario,
            rule=self._rule,
            utilisation=max(
                (now - was) / (limit * self._open_part())
                for now, was, limit in zip(after, before, allowed, strict=True)
            ),
            share_429=score.refused / max(1, score.calls),
            exhausted=score.given_up,
            calls=score.calls,
            wait_ms_interactive_p99=1000 * waits[int(len(waits) * 0.99)] if waits else 0.0,
        )

    def _open_part(self) -> float:
        """The part of the limits that is ours over the measured time."""
        part = 1.0 - self._scenario.foreign
        return part * (0.75 if self._scenario.changes else 1.0)

    def _used(self) -> tuple[float, float, float]:
        self._limiter.settle_foreign()
        total = self._limiter.account.total
        return total.requests, total.input_tokens, total.output_tokens

    def _add(self) -> None:
        self._names += 1
        link = Link(self._log)
        self._replicas.append(
            (Replica(self._client(link, f"r{self._names}"), self._server, self._in_flight), link)
        )

    @property
    def _in_flight(self) -> int:
        if self._rule in (Rule.SDK, Rule.REQUESTS, Rule.MAX_TOKENS):
            return max(8, 512 // self._scenario.replicas)
        return 1_000

    def _client(self, link: Link, name: str) -> clients.Client:
        score, load, replicas = self._score, self._load, self._scenario.replicas
        makers: dict[Rule, Callable[[], clients.Client]] = {
            Rule.OURS: lambda: clients.Ours(self._settings, link, name, score),
            Rule.SDK: lambda: clients.SdkOnly(score),
            Rule.REQUESTS: lambda: clients.RequestsOnly(score, load, replicas),
            Rule.MAX_TOKENS: lambda: clients.ReserveMaxTokens(score, load, replicas),
            Rule.STATIC: lambda: clients.Split(
                self._settings, score, load, replicas, is_static=True
            ),
            Rule.PARTITIONS: lambda: clients.Split(
                self._settings, score, load, replicas, is_static=False
            ),
        }
        return makers[self._rule]()

    async def _arrive(self) -> None:
        """Offer more than the limits allow, at the replicas in proportion to their weights."""
        due = 0.0
        while True:
            due += self._load.capacity * self._load.overload * STEP * self._rng.uniform(0.5, 1.5)
            replicas = [replica for replica, _ in self._replicas]
            weights = [replica.weight for replica in replicas]
            while due >= 1.0:
                due -= 1.0
                chosen = self._rng.choices(replicas, weights)[0]
                chosen.offer(self._load.draw(self._rng))
            await asyncio.sleep(STEP)

    async def _skew(self) -> None:
        while self._scenario.is_skewed:
            for replica, _ in self._replicas:
                replica.weight = self._rng.paretovariate(1.0)
            await asyncio.sleep(REDRAW)

    async def _churn(self) -> None:
        """Kill, add, stop, add: one replica at a time."""
        turn = 0
        await asyncio.sleep(self._scenario.warm_up - CHURN / 2)
        while self._scenario.churns:
            await asyncio.sleep(CHURN)
            turn += 1
            if turn % 2 == 0:
                self._add()
            elif len(self._replicas) > 1:
                replica, link = self._replicas.pop(self._rng.randrange(len(self._replicas)))
                link.is_dead = turn % 4 == 1
                await replica.stop()
                for request in replica.give():
                    self._rng.choice(self._replicas)[0].offer(request)
            for replica, _ in self._replicas:
                replica.client.resize(len(self._replicas))

    async def _cut(self) -> None:
        """Cut one replica off the topic, for twenty seconds a minute."""
        while self._scenario.lost == "cut":
            await asyncio.sleep(40.0)
            _, link = self._rng.choice(self._replicas)
            link.is_cut = True
            await asyncio.sleep(20.0)
            link.is_cut = False

    async def _use_by_others(self) -> None:
        """Let others use the key, and change the limits in the middle."""
        limits = self._load.limits
        if self._scenario.foreign:
            self._limiter.foreign(_times(limits, self._scenario.foreign))
        if self._scenario.changes:
            await asyncio.sleep(self._scenario.warm_up + self._scenario.measured / 4)
            self._limiter.change(_times(limits, 0.5))
            await asyncio.sleep(self._scenario.measured / 2)
            self._limiter.change(limits)


def _times(limits: Limits, factor: float) -> Limits:
    return replace(
        limits,
        requests=limits.requests * factor,
        input_tokens=limits.input_tokens * factor,
        output_tokens=limits.output_tokens * factor,
    )


def measure(scenario: Scenario, rule: Rule) -> Result:
    """Run a scenario under a rule, in virtual time."""

    async def live() -> Result:
        return await _Fleet(scenario, rule).measure()

    return run(live())
