"""GET /v1/models and /v1/models/{id}.

Imitated: `ModelInfo` as the SDK declares it, filtering by lifecycle, paging by id. Not imitated:
workspaces with fewer models.
"""

from random import Random
from typing import Any
from urllib.parse import parse_qs, unquote

from services.simulator.errors import invalid, not_found
from services.simulator.models import ModelFacts, Thinking
from services.simulator.replies import send_json
from services.simulator.state import Exchange, State

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 20
_CONTEXT_STRATEGIES = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")


async def models(state: State, exchange: Exchange) -> None:
    """Answer a list or a single model."""
    key = state.keys.authenticate(exchange.request.headers)
    exchange.call.key, exchange.workspace = key.id, key.workspace
    name = unquote(exchange.request.path.removeprefix("/v1/models").strip("/"))
    random = Random(exchange.call.n)  # noqa: S311 not a secret
    if name:
        facts = state.models.find(name)
        if facts is None:
            raise not_found(f"model: {name}")
        send_json(state, exchange, described(facts), random)
        return
    send_json(state, exchange, _page(state, parse_qs(exchange.request.query)), random)


def _page(state: State, query: dict[str, list[str]]) -> dict[str, Any]:
    wanted = {name.removesuffix("[]"): values for name, values in query.items()}
    limit = int(wanted.get("limit", [str(DEFAULT_LIMIT)])[0])
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid(f"limit: Input should be between 1 and {MAX_LIMIT}")
    stages = wanted.get("lifecycle", ["active", "deprecated"])
    found = [facts for facts in state.models.all if facts.lifecycle in stages]
    after = wanted.get("after_id", [None])[0]
    if after is not None:
        position = next((at for at, facts in enumerate(found) if facts.id == after), len(found))
        found = found[position + 1 :]
    data = [described(facts) for facts in found[:limit]]
    return {
        "data": data,
        "has_more": len(found) > limit,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def described(facts: ModelFacts) -> dict[str, Any]:
    """Return what the Models API says about a model."""
    deprecated = None if facts.lifecycle == "active" else f"{facts.released}T00:00:00Z"
    return {
        "type": "model",
        "id": facts.id,
        "display_name": facts.display_name,
        "created_at": f"{facts.released}T00:00:00Z",
        "lifecycle": facts.lifecycle,
        "deprecated_at": deprecated,
        "retires_at": None if facts.retires is None else f"{facts.retires}T00:00:00Z",
        "line": facts.line,
        "max_input_tokens": facts.window,
        "max_tokens": facts.max_output,
        "capabilities": _capabilities(facts),
    }


def _capabilities(facts: ModelFacts) -> dict[str, Any]:
    yes, thinks = _supported(is_it=True), facts.thinking - {Thinking.DISABLED}
    return {
        "batch": yes,
        "citations": yes,
        "code_execution": yes,
        "context_management": yes | dict.fromkeys(_CONTEXT_STRATEGIES, yes),
        "effort": _supported(is_it=bool(facts.efforts))
        | {
            level: _supported(is_it=level in facts.efforts)
            for level in ("low", "medium", "high", "xhigh", "max")
        },
        "image_input": yes,
        "pdf_input": yes,
        "server_tools": yes | {"code_execution": yes, "web_search": yes},
        "structured_outputs": _supported(is_it=facts.structured_outputs),
        "thinking": _supported(is_it=bool(thinks))
        | {"types": {kind.value: _supported(is_it=kind in facts.thinking) for kind in Thinking}},
    }


def _supported(*, is_it: bool) -> dict[str, Any]:
    return {"supported": is_it}
