"""The models of the API: windows, thinking, rate-limit groups; and old ones, to replay recordings.

State of 2026-11-22. Retired models are listed and answer 404, unless the setting `retired_models`
is on.
"""

from dataclasses import dataclass
from enum import StrEnum


class Thinking(StrEnum):
    """The values of `thinking.type`."""

    ADAPTIVE = "adaptive"
    BETWEEN_TOOLS = "between_tools"
    DISABLED = "disabled"
    ENABLED = "enabled"


ADAPTIVE, BETWEEN_TOOLS = Thinking.ADAPTIVE, Thinking.BETWEEN_TOOLS
DISABLED, ENABLED = Thinking.DISABLED, Thinking.ENABLED


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the API knows about a model."""

    id: str
    display_name: str
    line: str | None
    released: str
    group: str
    window: int = 1_000_000
    max_output: int = 128_000
    thinking: frozenset[Thinking] = frozenset({ADAPTIVE, DISABLED})
    thinks_by_default: bool = True
    forced_tool_choice: bool = True
    prefill: bool = False
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    lifecycle: str = "active"
    retires: str | None = None
    structured_outputs: bool = True
    geography: str = "global"
    """What `usage.inference_geo` says when the request names none."""
    aliases: tuple[str, ...] = ()


def _old(
    model: str,
    name: str,
    line: str | None,
    released: str,
    group: str,
    *,
    lifecycle: str = "retired",
    max_output: int = 64_000,
    aliases: tuple[str, ...] = (),
    retires: str | None = None,
) -> ModelFacts:
    return ModelFacts(
        model,
        name,
        line,
        released,
        group,
        window=200_000,
        max_output=max_output,
        thinking=frozenset({DISABLED, ENABLED}),
        thinks_by_default=False,
        prefill=True,
        efforts=(),
        geography="not_available",
        lifecycle=lifecycle,
        retires=retires,
        structured_outputs=lifecycle != "retired",
        aliases=aliases,
    )


_ALL = (
    ModelFacts(
        "claude-fable-5-2",
        "Claude Fable 5.2",
        "fable",
        "2026-11-09",
        "claude-fable-5",
        thinking=frozenset({ADAPTIVE}),
        forced_tool_choice=False,
    ),
    ModelFacts(
        "claude-haiku-5-5",
        "Claude Haiku 5.5",
        "haiku",
        "2026-10-07",
        "claude-haiku-5-5",
    ),
    ModelFacts(
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        "sonnet",
        "2026-09-28",
        "claude-sonnet-5-5",
        thinking=frozenset({ADAPTIVE, BETWEEN_TOOLS}),
        forced_tool_choice=False,
    ),
    ModelFacts(
        "claude-opus-5-5",
        "Claude Opus 5.5",
        "opus",
        "2026-09-22",
        "claude-opus-5-5",
        thinking=frozenset({ADAPTIVE}),
        forced_tool_choice=False,
    ),
    ModelFacts("claude-fable-5-1", "Claude Fable 5.1", "fable", "2026-09-01", "claude-fable-5"),
    ModelFacts("claude-opus-5", "Claude Opus 5", "opus", "2026-07-24", "claude-opus-5"),
    ModelFacts("claude-sonnet-5", "Claude Sonnet 5", "sonnet", "2026-06-30", "claude-sonnet-5"),
    ModelFacts("claude-opus-4-8", "Claude Opus 4.8", "opus", "2026-05-28", "claude-opus-4"),
    ModelFacts("claude-opus-4-7", "Claude Opus 4.7", "opus", "2026-04-16", "claude-opus-4"),
    ModelFacts(
        "claude-opus-4-6",
        "Claude Opus 4.6",
        "opus",
        "2026-02-05",
        "claude-opus-4",
        thinking=frozenset({ADAPTIVE, DISABLED, ENABLED}),
        thinks_by_default=False,
    ),
    ModelFacts(
        "claude-sonnet-4-6",
        "Claude Sonnet 4.6",
        "sonnet",
        "2026-02-17",
        "claude-sonnet-4",
        thinking=frozenset({ADAPTIVE, DISABLED, ENABLED}),
        thinks_by_default=False,
    ),
    _old(
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
        "haiku",
        "2025-10-15",
        "claude-haiku-4-5",
        lifecycle="active",
        aliases=("claude-haiku-4-5",),
    ),
    _old(
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
        "opus",
        "2025-11-24",
        "claude-opus-4",
        lifecycle="active",
        aliases=("claude-opus-4-5",),
    ),
    _old(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "sonnet",
        "2025-09-29",
        "claude-sonnet-4",
        lifecycle="deprecated",
        retires="2026-11-30",
        aliases=("claude-sonnet-4-5",),
    ),
    _old("claude-opus-4-1-20250805", "Claude Opus 4.1", "opus", "2025-08-05", "claude-opus-4"),
    _old(
        "claude-sonnet-4-20250514",
        "Claude Sonnet 4",
        "sonnet",
        "2025-05-22",
        "claude-sonnet-4",
        aliases=("claude-sonnet-4-0",),
    ),
    _old(
        "claude-3-7-sonnet-20250219",
        "Claude Sonnet 3.7",
        "sonnet",
        "2025-02-19",
        "claude-3",
        aliases=("claude-3-7-sonnet-latest",),
    ),
    _old(
        "claude-3-5-sonnet-20241022",
        "Claude Sonnet 3.5",
        "sonnet",
        "2024-10-22",
        "claude-3",
        aliases=("claude-3-5-sonnet-latest",),
    ),
    _old("claude-3-5-sonnet-20240620", "Claude Sonnet 3.5", "sonnet", "2024-06-20", "claude-3"),
    _old(
        "claude-3-5-haiku-20241022",
        "Claude Haiku 3.5",
        "haiku",
        "2024-10-22",
        "claude-3",
        aliases=("claude-3-5-haiku-latest",),
    ),
    _old("claude-3-haiku-20240307", "Claude Haiku 3", "haiku", "2024-03-07", "claude-3"),
    _old(
        "claude-3-opus-20240229",
        "Claude Opus 3",
        "opus",
        "2024-02-29",
        "claude-3",
        aliases=("claude-3-opus-latest",),
    ),
    _old("claude-2.1", "Claude 2.1", None, "2023-11-21", "claude-2"),
)


class Catalogue:
    """All models by id and alias."""

    def __init__(self, *, retired: bool = False) -> None:
        self.all = _ALL
        self._retired = retired
        self._by_name = {name: facts for facts in _ALL for name in (facts.id, *facts.aliases)}

    def find(self, name: str) -> ModelFacts | None:
        """Return a model by id or alias."""
        return self._by_name.get(name)

    def serving(self, name: str) -> ModelFacts | None:
        """Return a model that answers."""
        facts = self._by_name.get(name)
        if facts is None or (facts.lifecycle == "retired" and not self._retired):
            return None
        return facts

    def groups(self) -> dict[str, list[ModelFacts]]:
        """Return the models that answer, by rate-limit group."""
        groups: dict[str, list[ModelFacts]] = {}
        for facts in self.all:
            if self.serving(facts.id) is not None:
                groups.setdefault(facts.group, []).append(facts)
        return groups
