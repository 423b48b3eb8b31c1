"""The limiters of the organisation: one per model group, made when first used."""

from collections.abc import Callable
from dataclasses import replace

from services.simulator.limiter import Limiter, Limits, Remaining
from services.simulator.ramp import Ramp
from services.simulator.settings import LimiterSettings

TOKEN_COUNT = "token_count"  # noqa: S105 a group, not a secret
"""The group of count_tokens, which has requests a minute only."""


class Limiters:
    """All limiters, and their settings while running."""

    def __init__(self, settings: LimiterSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._limits = {group: limits.limits() for group, limits in settings.groups.items()}
        self._burst_s = settings.burst_s
        self._remaining = settings.remaining
        self._concurrency = settings.concurrency
        self._limiters: dict[str, Limiter] = {}

    def of(self, group: str) -> Limiter:
        """Return the limiter of a group."""
        limiter = self._limiters.get(group)
        if limiter is None:
            limiter = self._limiters[group] = self._make(group)
        return limiter

    def limits(self, group: str) -> Limits:
        """Return the limits of a group, used or not."""
        known = self._limits.get(group)
        if known is not None:
            return known
        if group == TOKEN_COUNT:
            unlimited = 1e12
            return Limits(self._settings.count_tokens_requests, unlimited, unlimited)
        return self._settings.default.limits()

    def known(self) -> dict[str, Limiter]:
        """Return the limiters in use by group."""
        return dict(self._limiters)

    def change(self, group: str, **limits: float) -> Limits:
        """Change some limits of a group while running; use and debt stay."""
        changed = self._limits[group] = replace(self.limits(group), **limits)
        if group in self._limiters:
            self._limiters[group].change(changed)
        return changed

    def reset(
        self,
        *,
        burst_s: float | None = None,
        remaining: Remaining | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Begin anew with full buckets and empty accounts, and perhaps another burst."""
        self._burst_s = burst_s if burst_s is not None else self._burst_s
        self._remaining = remaining or self._remaining
        self._concurrency = concurrency or self._concurrency
        self._limiters.clear()

    def _make(self, group: str) -> Limiter:
        growth = self._settings.ramp_growth
        return Limiter(
            self.limits(group),
            burst_s=self._burst_s,
            remaining=self._remaining,
            concurrency=self._concurrency,
            ramp=None if growth is None else Ramp(growth, self._settings.ramp_floor),
            refused_cost_request=self._settings.refused_cost_request,
            clock=self._clock,
        )
