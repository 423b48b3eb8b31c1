"""The rules of POST /v1/messages and count_tokens: first shapes, then the model's rules, then size.

The first broken rule is the answer, as with the API. Under version 2023-06-01 the rules of
2026-10-21 do not apply, so that old recordings can be replayed.
"""

from typing import Any

from services.simulator.errors import invalid, not_found
from services.simulator.models import Catalogue, ModelFacts, Thinking
from services.simulator.tokens import input_tokens
from services.simulator.validation.conversation import check_conversation
from services.simulator.validation.schema import check_output_format
from services.simulator.validation.tools import check_tools

NEWEST = "2026-10-21"
VERSIONS = frozenset({"2023-01-01", "2023-06-01", NEWEST})

_SAMPLING = ("temperature", "top_p", "top_k")
_KNOWN = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "stop_sequences", "stream", "metadata"),
        *("tools", "tool_choice", "thinking", "output_config", "cache_control", "container"),
        *("diagnostics", "inference_geo", "service_tier", "speed", "user_profile_id"),
        *("workspace_id", "mcp_servers", "context_management", "output_format", "betas"),
        *("fallbacks", "fallback_credit_token", "compaction", "thread", "billing_policy"),
        *_SAMPLING,
    }
)
_TYPES: dict[str, type] = {
    "model": str,
    "messages": list,
    "tools": list,
    "stop_sequences": list,
    "thinking": dict,
    "output_config": dict,
    "tool_choice": dict,
    "metadata": dict,
    "stream": bool,
}
_TYPE_NAMES: dict[type, str] = {str: "string", list: "list", dict: "dictionary", bool: "boolean"}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_MIN_BUDGET = 1_024


def check_messages(
    models: Catalogue, body: dict[str, Any], version: str, *, counting: bool = False
) -> tuple[ModelFacts, int]:
    """Return the model and the input tokens of a request, or raise the API's 400 or 404."""
    if version not in VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    is_newest = version == NEWEST
    _check_fields(body, is_newest=is_newest, counting=counting)
    facts = models.serving(body["model"])
    if facts is None:
        raise not_found(f"model: {body['model']}")
    check_conversation(body["messages"], facts, is_newest=is_newest)
    check_tools(body, facts)
    _check_thinking(body, facts)
    _check_effort(body, facts)
    check_output_format(body, facts)
    tokens = input_tokens(body)
    if not counting:
        _check_max_tokens(body, facts, tokens)
    return facts, tokens


def _check_fields(body: dict[str, Any], *, is_newest: bool, counting: bool) -> None:
    required = ("model", "messages") if counting else ("model", "messages", "max_tokens")
    for name in required:
        if name not in body:
            raise invalid(f"{name}: Field required")
    for name, value in body.items():
        if name not in _KNOWN or (is_newest and name in _SAMPLING):
            raise invalid(f"{name}: Extra inputs are not permitted")
        kind = _TYPES.get(name)
        is_absent = value is None and name not in required
        if kind is not None and not is_absent and not isinstance(value, kind):
            raise invalid(f"{name}: Input should be a valid {_TYPE_NAMES[kind]}")
    _check_system(body.get("system"))
    for number, sequence in enumerate(body.get("stop_sequences") or []):
        if not isinstance(sequence, str) or not sequence.strip():
            raise invalid(
                f"stop_sequences.{number}: each stop sequence must contain non-whitespace"
            )


def _check_system(system: Any) -> None:
    # An empty string is accepted; an empty block is not.
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid list")
    for number, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise invalid(f"system.{number}.type: Input should be 'text'")
        if not isinstance(block.get("text"), str):
            raise invalid(f"system.{number}.text: Field required")
        if not block["text"]:
            raise invalid("system: text content blocks must be non-empty")


def _check_max_tokens(body: dict[str, Any], facts: ModelFacts, tokens: int) -> None:
    asked = body["max_tokens"]
    if not isinstance(asked, int) or isinstance(asked, bool):
        raise invalid("max_tokens: Input should be a valid integer")
    if asked < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    if asked > facts.max_output:
        raise invalid(
            f"max_tokens: {asked} > {facts.max_output}, which is the maximum allowed number of "
            f"output tokens for {facts.id}"
        )
    if tokens > facts.window:
        raise invalid(f"prompt is too long: {tokens} tokens > {facts.window} maximum")
    if tokens + asked > facts.window:
        raise invalid(
            f"input length and `max_tokens` exceed context limit: {tokens} + {asked} > "
            f"{facts.window}, decrease input length or `max_tokens` and try again"
        )
    if asked == 0:
        _check_warm_up(body)


def _check_warm_up(body: dict[str, Any]) -> None:
    choice = (body.get("tool_choice") or {}).get("type")
    refused = {
        "stream": body.get("stream"),
        "thinking.enabled": (body.get("thinking") or {}).get("type") == Thinking.ENABLED,
        "output_config.format": (body.get("output_config") or {}).get("format"),
        "tool_choice": choice in ("any", "tool"),
    }
    for name, is_set in refused.items():
        if is_set:
            raise invalid(f"max_tokens: 0 is not supported together with `{name}`")


def _check_thinking(body: dict[str, Any], facts: ModelFacts) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type")
    if kind not in tuple(Thinking):
        names = ", ".join(f"'{one}'" for one in Thinking)
        raise invalid(
            f"thinking: Input tag '{kind}' found using 'type' does not match any of the "
            f"expected tags: {names}"
        )
    if kind not in facts.thinking:
        raise invalid(f"thinking.type: '{kind}' is not supported on {facts.id}")
    if kind == Thinking.ENABLED:
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise invalid("thinking.enabled.budget_tokens: Field required")
        if budget < _MIN_BUDGET:
            raise invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if budget >= body.get("max_tokens", budget + 1):
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`")


def _check_effort(body: dict[str, Any], facts: ModelFacts) -> None:
    effort = (body.get("output_config") or {}).get("effort")
    if effort is None:
        return
    if effort not in _EFFORTS:
        raise invalid(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
        )
    if effort not in facts.efforts:
        raise invalid(f"output_config.effort: '{effort}' is not supported on {facts.id}")
    between = (body.get("thinking") or {}).get("type") == Thinking.BETWEEN_TOOLS
    if between and effort in ("xhigh", "max"):
        raise invalid(f"output_config.effort: '{effort}' is not supported with `between_tools`")
