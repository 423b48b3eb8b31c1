"""What the Models API says of a model."""

from typing import Any

import pytest

from services.worker.models import ModelFacts
from sluice_contracts import Tier
from tests.unit.worker.conftest import NOW

ENTRY = {
    "id": "claude-haiku-5-5",
    "line": "haiku",
    "lifecycle": "active",
    "max_input_tokens": 1_000_000,
    "max_tokens": 128_000,
    "capabilities": {
        "thinking": {"types": {"adaptive": {"supported": True}, "enabled": {"supported": False}}},
        "effort": {"supported": True, "low": {"supported": True}, "max": {"supported": False}},
        "structured_outputs": {"supported": False},
    },
}


def test_an_entry_is_read() -> None:
    """Capabilities become sets of what is supported."""
    expected = ModelFacts(
        "claude-haiku-5-5",
        "haiku",
        "active",
        None,
        1_000_000,
        128_000,
        frozenset({"adaptive"}),
        frozenset({"low"}),
        structured_outputs=False,
    )
    assert expected == ModelFacts.read(ENTRY)
    assert [] == ModelFacts.read(ENTRY).complaints(Tier.HAIKU, NOW)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"id": None, "capabilities": [], "max_tokens": "many", "line": 5},
        {"capabilities": {"thinking": "yes", "effort": None, "structured_outputs": 1}},
        {"capabilities": {"thinking": {"types": ["adaptive"]}}},
    ],
)
def test_an_entry_of_tomorrow_does_no_harm(entry: dict[str, Any]) -> None:
    """What is not understood is not known, and gates nothing."""
    facts = ModelFacts.read(entry)
    assert (None, None, None, True) == (
        facts.max_tokens,
        facts.thinking,
        facts.efforts,
        facts.structured_outputs,
    )
    assert {"type": "enabled"} == facts.thinking_for({"type": "enabled"})
    assert 5_000_000 == facts.cap(5_000_000)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"line": "opus"}, "is of line 'opus'"),
        ({"lifecycle": "retired"}, "is retired"),
        ({"lifecycle": "deprecated", "retires_at": "2026-11-30"}, "retires at 2026-11-30"),
        ({"id": "claude-next-9"}, "no price is known"),
    ],
)
def test_an_operator_is_told_what_is_wrong(changes: dict[str, Any], complaint: str) -> None:
    """At start, not by the first request that fails."""
    (said,) = ModelFacts.read(ENTRY | changes).complaints(Tier.HAIKU, NOW)
    assert complaint in said
