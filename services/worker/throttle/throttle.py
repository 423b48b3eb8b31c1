"""The stage `throttle`: waits for leave to call, learns from answers, shares the allowance."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import structlog

from services.runtime.metrics import Metrics
from services.worker.throttle import headers as h
from services.worker.throttle.buckets import Amounts
from services.worker.throttle.estimate import Estimator
from services.worker.throttle.exchange import Exchange
from services.worker.throttle.group import Group
from services.worker.throttle.hold import HoldKind
from services.worker.throttle.limits_api import LimitsSource, LimitsUnknown
from services.worker.throttle.meter import Meter
from services.worker.throttle.picking import Ask
from services.worker.throttle.pool import Moved, Reservation
from services.worker.throttle.rounds import Rounds
from services.worker.throttle.settings import ThrottleSettings
from sluice_contracts import TokenUsage

log = structlog.get_logger()

NEAR: Final = 0.8
"""Part of a limit from which an estimate is worth counting exactly."""
LONGEST_HOLD: Final = 120.0
"""Seconds; the API's longest recorded `retry-after` is 65, a proxy's may be anything."""
CONCURRENCY: Final = (HoldKind.OVERLOADED, HoldKind.CONCURRENCY)


class ExceedsLimit(Exception):  # noqa: N818 -- a verdict on a request
    """The call is larger than the whole limit per minute: waiting never helps."""


class Throttle:
    """Paces all calls of this process inside the organisation's limits.

    `run` it beside the work; until then, and whenever the exchange is lost, a safe share is used.

    Args:
        settings: How.
        metrics: The process's metrics.
        exchange: Where the replicas divide the allowance; None where this is the only process.
        limits: The Rate Limits API, where an admin key is given.
        replica: This process's name in the division, unique for each start.
    """

    def __init__(
        self,
        settings: ThrottleSettings,
        *,
        metrics: Metrics,
        exchange: Exchange | None = None,
        limits: LimitsSource | None = None,
        replica: str | None = None,
    ) -> None:
        self.replica: Final = replica or uuid4().hex[:12]
        self._settings = settings
        self._limits = limits
        self._estimator = Estimator(settings.output_quantile)
        self._meter = Meter(metrics)
        self._groups: dict[str, Group] = {}
        self._aliases: dict[str, str] = {}
        self._told: dict[str, Amounts] = {}
        """Limits by the Rate Limits API, also of groups that nobody has called yet."""
        self._rounds = Rounds(
            self.replica,
            exchange,
            interval=settings.exchange_interval.total_seconds(),
            lease=settings.lease.total_seconds(),
            estimator=self._estimator,
            group=self._group,
            groups=lambda: tuple(self._groups.values()),
            ended=self._measure,
        )

    async def run(self) -> None:
        """Share the allowance, and ask for the limits, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._rounds.run(), name="throttle.rounds")
                if self._limits is not None:
                    tasks.create_task(self._ask_limits(self._limits), name="throttle.limits")
        finally:
            for group in self._groups.values():
                group.pool.close()

    def estimate(self, prompt_key: str, characters: int) -> tuple[int, int]:
        """Return the charged input tokens and output tokens to expect of a call.

        Pass `prompt_key` and `characters` on in the `Ask`: settling its reservation learns.
        """
        return self._estimator.estimate(prompt_key, characters)

    def limit_near(self, group: str, input_tokens: int) -> float | None:
        """Return the limit that a call may be too large for: then counting is worth a call.

        None where it is far from it, or where the API has not said what the limit is: a start value
        of the settings paces calls, and judges none.
        """
        heard = self._group(group).allowance.heard
        is_near = heard is not None and input_tokens >= NEAR * heard.input_tokens
        return heard.input_tokens if heard is not None and is_near else None

    def hold_left(self, group: str) -> float:
        """Return for how many seconds the group makes no calls."""
        pool = self._group(group).pool
        if pool.held_for is None:
            return 0.0
        return max(0.0, pool.held_until - asyncio.get_running_loop().time())

    async def reserve(self, ask: Ask) -> Reservation:
        """Wait for leave to make a call: by priority, then tenant, then deadline.

        Raises:
            DeadlinePassed: The deadline came first.
            ExceedsLimit: The call can never fit.
        """
        since: float | None = None
        while True:
            group = self._group(ask.group)
            heard = group.allowance.heard
            if heard is not None and ask.input_tokens > heard.input_tokens:
                raise ExceedsLimit(
                    f"{ask.input_tokens} input tokens, and group {group.name!r} allows"
                    f" {heard.input_tokens:.0f} a minute; split the request or raise the limit"
                )
            try:
                return await group.pool.reserve(ask, since)
            except Moved as moved:
                since = moved.since

    def observe(
        self, group: str, headers: Mapping[str, str], *, sent_at: float, status: int
    ) -> None:
        """Learn limits and levels from the headers of any answer, good or bad.

        Args:
            group: As in the `Ask`.
            headers: Of the answer, looked up in lower case.
            sent_at: When the call was sent, on the event loop's clock.
            status: The HTTP status.
        """
        reading = h.read(headers)
        if reading is None:
            return
        known = self._group(group)
        before = known.allowance.limits
        known.see(reading, status, asyncio.get_running_loop().time(), sent_at)
        if known.allowance.limits != before:
            log.info(
                "throttle.limits_changed", group=known.name, limits=tuple(known.allowance.limits)
            )
            known.share_again()
            self._rounds.tell_soon()

    def hold(self, group: str, seconds: float, kind: str, *, sent_at: float | None = None) -> None:
        """Do what a 429 or 529 asks for: hold the group in every replica, or lower concurrency.

        Args:
            group: As in the `Ask`.
            seconds: How long, from now; for a spend limit until its date. Ignored for the kinds
                that lower concurrency.
            kind: A `HoldKind`, or its word.
            sent_at: When the refused call was sent, on the event loop's clock: calls that were in
                flight together are refused for one reason and slow us down once.
        """
        known, kind = self._group(group), HoldKind(kind)
        if kind is not HoldKind.SPEND:
            seconds = min(seconds, LONGEST_HOLD)
        now = asyncio.get_running_loop().time()
        if kind in CONCURRENCY:
            known.pool.concurrency.overloaded(known.pool.in_flight, now, sent_at)
            return
        if known.refused(now + seconds, kind, now, sent_at):
            self._meter.held(known.name, kind)
            log.warning(
                "throttle.group_held", group=known.name, kind=kind.value, seconds=round(seconds, 1)
            )
            self._rounds.tell_soon()

    def resume(self, group: str) -> None:
        """End a hold early in this replica: a canary call went through."""
        self._group(group).pool.resume()

    def snapshot(self) -> dict[str, Any]:
        """Return where this replica stands, as it says on the topic."""
        return {
            "replica": self.replica,
            "is_lost": self._rounds.is_lost,
            "groups": {name: group.snapshot() for name, group in self._groups.items()},
        }

    def granted(self, reservation: Reservation) -> None:
        """Measure a wait; the pools call this."""
        self._meter.waited(reservation)

    def settled(self, ask: Ask, usage: TokenUsage) -> None:
        """Learn what a call used; the pools call this."""
        if ask.characters:
            self._estimator.learn(ask.prompt_key, ask.characters, usage)

    def _group(self, name: str) -> Group:
        name = self._aliases.get(name, name)
        group = self._groups.get(name)
        if group is None:
            loop = asyncio.get_running_loop()
            group = self._groups[name] = Group(name, self.replica, self._settings, self, loop)
            if name in self._told:
                group.allowance.tell(self._told[name])
            self._rounds.begin(group)
        return group

    def _merge(self, model: str, name: str) -> None:
        """Give up a group that was begun under a model's name before the API said which it is."""
        if model == name or model not in self._groups:
            return
        early = self._groups.pop(model)
        early.pool.give_way(self._group(name).pool)
        self._meter.forget(early)
        log.info("throttle.group_merged", model=model, group=name)

    def _measure(self, is_lost: bool) -> None:  # noqa: FBT001 -- a callback's one fact
        for group in self._groups.values():
            self._meter.read(group, is_lost=is_lost)

    async def _ask_limits(self, source: LimitsSource) -> None:
        while True:
            try:
                for told in await source.fetch():
                    if told.limits is not None:
                        self._told[told.group] = told.limits
                        if told.group in self._groups:
                            self._groups[told.group].allowance.tell(told.limits)
                    for model in told.models:
                        self._aliases[model] = told.group
                        self._merge(model, told.group)
            except LimitsUnknown as exc:
                log.warning("throttle.limits_unknown", error=str(exc))
            await asyncio.sleep(self._settings.limits_interval.total_seconds())
