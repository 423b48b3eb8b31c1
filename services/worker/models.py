"""What the Models API says of a model, and what that makes of a request for it.

Nothing is inferred from a model's id. Where a fact is not known (the Models API failed at start)
nothing is gated, and the API itself refuses what it must.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from services.worker.pricing import price
from sluice_contracts import Tier

_GENTLE: Final = ("low", "medium", "high")
"""Efforts that go with thinking between tools only."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model's entry; None where it is not known."""

    id: str
    line: str | None = None
    lifecycle: str | None = None
    retires_at: str | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    thinking: frozenset[str] | None = None
    efforts: frozenset[str] | None = None
    structured_outputs: bool = True

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """Read an entry of the Models API; unknown fields and missing ones do no harm."""
        capabilities = _mapping(entry.get("capabilities"))
        thinking = _mapping(capabilities.get("thinking")).get("types")
        effort = capabilities.get("effort")
        structured = _mapping(capabilities.get("structured_outputs"))
        return cls(
            id=str(entry.get("id")),
            line=_text(entry.get("line")),
            lifecycle=_text(entry.get("lifecycle")),
            retires_at=_text(entry.get("retires_at")),
            max_input_tokens=_count(entry.get("max_input_tokens")),
            max_tokens=_count(entry.get("max_tokens")),
            thinking=_supported(thinking),
            efforts=_supported(effort),
            structured_outputs=bool(structured.get("supported", True)),
        )

    def complaints(self, tier: Tier, now: datetime) -> list[str]:
        """Say what an operator should know of this model before it serves a tier."""
        said = []
        if self.line is not None and self.line != tier:
            said.append(f"CLAUDE__{tier.upper()}__MODEL {self.id!r} is of line {self.line!r}")
        if self.lifecycle == "retired":
            said.append(f"model {self.id!r} is retired: every call will fail; choose another")
        elif self.retires_at is not None:
            said.append(f"model {self.id!r} retires at {self.retires_at}; choose its successor")
        if price(self.id, {}, now.date()) is None:
            said.append(f"no price is known of model {self.id!r}: its costs will be 0; add a row")
        return said

    def cap(self, max_tokens: int) -> int:
        """Clamp a request's `max_tokens` to what the model can write."""
        return max_tokens if self.max_tokens is None else min(max_tokens, self.max_tokens)

    def thinking_for(self, asked: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the nearest form of `thinking` that the model takes; None leaves it out."""
        if asked is None or self.thinking is None or asked.get("type") in self.thinking:
            return asked
        near = {"disabled": "between_tools", "enabled": "adaptive"}.get(str(asked.get("type")))
        return {"type": near} if near in self.thinking else None

    def effort_for(self, asked: str | None, thinking: dict[str, Any] | None) -> str | None:
        """Return the effort where the model takes it; None leaves it out."""
        if asked is None or (self.efforts is not None and asked not in self.efforts):
            return None
        if thinking is not None and thinking.get("type") == "between_tools":
            return asked if asked in _GENTLE else "high"
        return asked


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _supported(entries: Any) -> frozenset[str] | None:
    if not isinstance(entries, Mapping):
        return None
    return frozenset(name for name, entry in entries.items() if _mapping(entry).get("supported"))
