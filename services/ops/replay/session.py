"""One run of a plan by one operator, with everything beside the sending: pace, watch, reports."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.ops.replay.allowance import Exchange, SpareRate, keep_adjusting
from services.ops.replay.control import conclude, keep_heard, obey, stop_on_signals
from services.ops.replay.lane import Operator
from services.ops.replay.outcomes import Outcomes, topics_for
from services.ops.replay.pace import Bucket, Pace
from services.ops.replay.run import Report, Run
from services.ops.replay.standing import Phase, Standing
from services.ops.replay.store import Plans
from services.ops.replay.watchman import Watchman
from services.runtime.reading import Follower
from sluice_contracts import Tier

_TOLD: Final = 1.0
"""Seconds between two reports of the progress."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a plan is to be run.

    Args:
        rate: Records a second; None keeps within the spare allowance.
        canary: Records to send first.
        most_failures: Part of the outcomes that may fail again.
        patience: Seconds to wait for the canaries' outcomes.
    """

    rate: float | None
    canary: int
    most_failures: float
    patience: float


@dataclass(frozen=True, slots=True)
class Moment:
    """How a run stands, for people who watch."""

    sent: int
    selected: int
    refused: int
    rate: float
    succeeded: int
    failed: int


Tell = Callable[[Moment], None]


class Session:
    """Sends a running plan's dead letters; everything beside that ends with it.

    Args:
        plans: Where the plan's state is.
        standing: The plan, in its running state.
        operator: Who sends.
        manner: How.
        tell: Told once a second how it stands.
    """

    def __init__(
        self, plans: Plans, standing: Standing, operator: Operator, manner: Manner, *, tell: Tell
    ) -> None:
        self._plans = plans
        self._standing = standing
        self._operator = operator
        self._manner = manner
        self._tell = tell
        self._tiers: Final = sorted(standing.plan.tiers)
        # Of every tier: what an edit makes no request of is paced too, and counted nowhere before.
        self._spare: Final = {tier: SpareRate() for tier in Tier}

    async def run(self) -> tuple[Report, Phase]:
        """Send, and write down what it came to."""
        plans, plan, manner = self._plans, self._standing.plan, self._manner
        progress = await plans.progress(plan)
        before = sum(at.refused for at in progress.values())
        sent = sum(at.sent for at in progress.values())
        pace = Pace(self._buckets(), canary=manner.canary, sent=sent)
        run = Run(plan, plans, self._operator, pace)
        topics = topics_for(plans.names, self._tiers)
        outcomes = Outcomes(plan.plan_id, plans.options, topics, since_ms=int(time.time() * 1000))
        watchman = Watchman(outcomes, pace, manner.most_failures, manner.patience)
        beside = [
            watchman.watch(lambda: run.refused - before),
            obey(plans, self._standing, pace),
            keep_heard(plans, self._standing, self._operator),
            self._keep_telling(run, pace, outcomes),
        ]
        if manner.rate is None:
            beside += _follow_spare(plans, self._spare)
        async with outcomes, running(beside):
            with stop_on_signals(pace):
                report = await run.run(progress)
            self._tell(self._moment(run, outcomes, 0.0))
        return report, await conclude(plans, self._standing, self._operator, report)

    def _buckets(self) -> Mapping[Tier, Bucket]:
        given = self._manner.rate
        if given is not None:
            return dict.fromkeys(Tier, Bucket(lambda: given))  # one: the rate is that of the plan
        # Each its own: what one tier has to spare does not wait for what another has not.
        return {tier: Bucket(_rate_of(spare)) for tier, spare in self._spare.items()}

    def _rate(self, run: Run) -> float:
        if self._manner.rate is not None:
            return self._manner.rate
        return sum(spare.rate for tier, spare in self._spare.items() if tier in run.tiers_left)

    async def _keep_telling(self, run: Run, pace: Pace, outcomes: Outcomes) -> None:
        while True:
            self._tell(self._moment(run, outcomes, 0.0 if pace.stopped else self._rate(run)))
            await asyncio.sleep(_TOLD)

    def _moment(self, run: Run, outcomes: Outcomes, rate: float) -> Moment:
        return Moment(
            sent=run.sent,
            selected=self._standing.plan.found.selected,
            refused=run.refused,
            rate=rate,
            succeeded=outcomes.succeeded,
            failed=outcomes.failures.total(),
        )


@asynccontextmanager
async def running(beside: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run tasks for as long as the block lasts; the block fails with them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in beside]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _rate_of(spare: SpareRate) -> Callable[[], float]:
    return lambda: spare.rate


def _follow_spare(plans: Plans, spare: Mapping[Tier, SpareRate]) -> list[Coroutine[Any, Any, None]]:
    exchange = Exchange()
    follower = Follower(plans.options, plans.names.rate, exchange.on_record)
    return [
        follower.run(),
        *(keep_adjusting(each, exchange, tier, time.time) for tier, each in spare.items()),
    ]


def utc_now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)
