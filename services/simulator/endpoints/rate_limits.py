"""GET /v1/organizations/rate_limits, with the admin key.

Imitated: entries of the model groups, batches and token counting, filters `group_type` and `model`,
404 for an unknown model. Not imitated: workspaces' overrides, paging (all entries fit one page).
"""

import hashlib
from random import Random
from typing import Any
from urllib.parse import parse_qs

from services.simulator.errors import not_found
from services.simulator.models import ModelFacts
from services.simulator.replies import send_json
from services.simulator.state import Exchange, State


async def rate_limits(state: State, exchange: Exchange) -> None:
    """Answer the list."""
    exchange.call.key = state.keys.authenticate_admin(exchange.request.headers).id
    query = parse_qs(exchange.request.query)
    entries = _entries(state)
    wanted_type = query.get("group_type", [None])[0]
    if wanted_type is not None:
        entries = [entry for entry in entries if entry["group"]["type"] == wanted_type]
    model = query.get("model", [None])[0]
    if model is not None:
        entries = [entry for entry in entries if model in (entry["models"] or [])]
        if not entries:
            raise not_found(f"model: {model}")
    answer = {"data": entries, "has_more": False, "next_page": None}
    send_json(state, exchange, answer, Random(exchange.call.n))  # noqa: S311 not a secret


def _entries(state: State) -> list[dict[str, Any]]:
    settings = state.settings.limits
    entries = [_model_entry(state, name, facts) for name, facts in state.models.groups().items()]
    others = {
        "batch": [("requests_per_minute", settings.admin_requests)],
        "token_count": [("requests_per_minute", settings.count_tokens_requests)],
    }
    for kind, limits in others.items():
        group = {"type": kind, "id": _id("rlg", kind)}
        entries.append(_entry(state, kind, group, None, dict(limits)))
    return entries


def _model_entry(state: State, name: str, facts: list[ModelFacts]) -> dict[str, Any]:
    limits = state.limiters.limits(name)
    group = {"type": "model_group", "id": _id("rlg", name), "display_name": _title(facts)}
    models = sorted(alias for one in facts for alias in (one.id, *one.aliases))
    values = {
        "requests_per_minute": int(limits.requests),
        "input_tokens_per_minute_cache_aware": int(limits.input_tokens),
        "output_tokens_per_minute": int(limits.output_tokens),
    }
    return _entry(state, name, group, models, values)


def _entry(
    state: State,
    name: str,
    group: dict[str, Any],
    models: list[str] | None,
    values: dict[str, int],
) -> dict[str, Any]:
    return {
        "type": "rate_limit",
        "id": _id("rl", state.settings.organization + name),
        "group": group,
        "models": models,
        "limits": [{"type": kind, "value": value} for kind, value in values.items()],
    }


def _title(facts: list[ModelFacts]) -> str:
    return " / ".join(one.display_name for one in facts)


def _id(prefix: str, name: str) -> str:
    return f"{prefix}_01{hashlib.sha256(name.encode()).hexdigest()[:22]}"
