"""What the models are is asked at start, and again until it is known."""

import asyncio

import pytest

from services.worker.errors import TransientError
from services.worker.model_lookup import ModelLookup
from services.worker.models import ModelFacts
from services.worker.settings import ClaudeSettings
from sluice_contracts import FailureCode, Tier

pytestmark = pytest.mark.looptime


class _Api:
    """Answers after two seconds; does not know a model for the first few times."""

    def __init__(self, **failures: int) -> None:
        self._failures = failures
        self.asked: list[str] = []

    async def __call__(self, model: str) -> ModelFacts:
        self.asked.append(model)
        await asyncio.sleep(2)
        line = model.split("-")[1]
        if self._failures.get(line, 0):
            self._failures[line] -= 1
            raise TransientError(FailureCode.UPSTREAM_FAILED, "no")
        return ModelFacts(model, line=line, max_tokens=100)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def test_all_are_asked_at_once() -> None:
    """A start waits for one answer, not for three in a row."""
    lookup = ModelLookup(Tier, ClaudeSettings(), _Api())
    began = _now()
    await lookup.look()
    assert (2, {100}) == (
        round(_now() - began),
        {facts.max_tokens for facts in lookup.facts.values()},
    )


async def test_what_is_not_known_gates_nothing_and_is_asked_again() -> None:
    """In the background, every minute, and only that."""
    api = _Api(opus=2)
    lookup = ModelLookup(Tier, ClaudeSettings(), api)
    facts = lookup.facts
    await lookup.look()
    assert (None, 100) == (facts[Tier.OPUS].max_tokens, facts[Tier.HAIKU].max_tokens)
    began = _now()
    await lookup.run()
    assert (124, 100) == (round(_now() - began), facts[Tier.OPUS].max_tokens)
    assert ["opus", "opus"] == [model.split("-")[1] for model in api.asked[3:]]
