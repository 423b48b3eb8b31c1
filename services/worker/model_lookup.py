"""Asks the Models API what each tier's model is and can do, and asks again until it is known."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog

from services.worker.errors import SluiceError
from services.worker.models import ModelFacts
from services.worker.settings import ClaudeSettings
from sluice_contracts import Tier

_log = structlog.get_logger(__name__)
_AGAIN: Final = 60.0
"""Seconds between two questions about a model of which nothing is known."""


class ModelLookup:
    """The facts of every tier's model.

    Args:
        tiers: Whose.
        settings: Which model each has.
        ask: Asks the Models API, within seconds; raises `SluiceError`.
    """

    def __init__(
        self,
        tiers: Iterable[Tier],
        settings: ClaudeSettings,
        ask: Callable[[str], Awaitable[ModelFacts]],
    ) -> None:
        self._ask = ask
        self._unknown: dict[Tier, str] = {tier: settings.of(tier).model for tier in tiers}
        self._facts = {tier: ModelFacts(model) for tier, model in self._unknown.items()}
        self._said: set[Tier] = set()

    @property
    def facts(self) -> Mapping[Tier, ModelFacts]:
        """What is known by now; what is not gates nothing, and the API judges the calls."""
        return self._facts

    async def look(self) -> None:
        """Ask about every model that is not known yet, all at once."""
        await asyncio.gather(*(self._look(*pair) for pair in tuple(self._unknown.items())))

    async def run(self) -> None:
        """Ask again and again until everything is known."""
        while self._unknown:
            await asyncio.sleep(_AGAIN)
            await self.look()

    async def _look(self, tier: Tier, model: str) -> None:
        try:
            facts = await self._ask(model)
        except SluiceError as exc:
            if tier not in self._said:
                self._said.add(tier)
                _log.warning("model.unknown", tier=tier, model=model, reason=exc.detail)
            return
        self._facts[tier] = facts
        del self._unknown[tier]
        for complaint in facts.complaints(tier, datetime.now(UTC)):
            _log.warning("model.questioned", tier=tier, complaint=complaint)
