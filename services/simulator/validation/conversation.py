"""The rules of `messages`: roles, blocks, tool results in their place.

Accepted on purpose, because recordings show that the API takes it: a first message from the
assistant, consecutive messages of one role, server-tool and MCP blocks in assistant messages.
"""

from typing import Any

from services.simulator.errors import invalid
from services.simulator.models import ModelFacts

PREFILL = (
    "This model does not support assistant message prefill. The conversation must end with a user "
    "message."
)
_REQUIRED = {
    "text": "text",
    "image": "source",
    "document": "source",
    "tool_use": "id",
    "tool_result": "tool_use_id",
    "thinking": "signature",
    "redacted_thinking": "data",
}
_BLOCKS = frozenset(_REQUIRED) | {
    *("search_result", "server_tool_use", "mcp_tool_use", "mcp_tool_result", "compaction"),
    *("container_upload", "tool_reference", "tool_addition", "tool_removal", "browser_state"),
}


def check_conversation(messages: list[Any], facts: ModelFacts, *, is_newest: bool) -> None:
    """Raise the API's 400 for the first broken rule."""
    if not messages:
        raise invalid("messages: at least one message is required")
    for number, message in enumerate(messages):
        _check_message(number, message, is_last=number == len(messages) - 1, is_newest=is_newest)
    _check_tool_results(messages)
    last = messages[-1]
    if last["role"] == "assistant" and not facts.prefill:
        raise invalid(PREFILL)


def _check_message(number: int, message: Any, *, is_last: bool, is_newest: bool) -> None:
    place = f"messages.{number}"
    if not isinstance(message, dict):
        raise invalid(f"{place}: Input does not match the expected shape.")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise invalid(f"{place}.role: Input should be 'user', 'assistant' or 'system'")
    if "content" not in message:
        raise invalid(f"{place}.content: Field required")
    content = message["content"]
    if isinstance(content, str):
        if not content and not (is_last and role == "assistant"):
            raise invalid(
                f"{place}: all messages must have non-empty content except for the optional final "
                "assistant message"
            )
        return
    if not isinstance(content, list):
        raise invalid(f"{place}.content: Input should be a valid string or list")
    if not content and not (is_last and role == "assistant"):
        raise invalid(
            f"{place}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    for index, block in enumerate(content):
        _check_block(f"{place}.content.{index}", block, role, is_newest=is_newest)


def _check_block(place: str, block: Any, role: str, *, is_newest: bool) -> None:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        raise invalid(f"{place}: Input does not match the expected shape.")
    kind = block["type"]
    # Results of server tools are an open set.
    if kind not in _BLOCKS and not kind.endswith(("_tool_result", "_tool_use")):
        raise invalid(
            f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected "
            "tags"
        )
    needed = _REQUIRED.get(kind)
    if needed is not None and needed not in block:
        raise invalid(f"{place}.{kind}.{needed}: Field required")
    if kind == "text":
        _check_text(place, block, role, is_newest=is_newest)
    if kind == "document" and role == "assistant" and is_newest:
        raise invalid(f"{place}: document blocks are not permitted in assistant messages")
    home = {"tool_result": "user", "tool_use": "assistant"}.get(kind, role)
    if role != home:
        raise invalid(f"{place}: `{kind}` blocks can only be in `{home}` messages")


def _check_text(place: str, block: dict[str, Any], role: str, *, is_newest: bool) -> None:
    if not isinstance(block["text"], str):
        raise invalid(f"{place}.text.text: Input should be a valid string")
    if not block["text"]:
        raise invalid("messages: text content blocks must be non-empty")
    if is_newest and role == "user" and block.get("citations"):
        raise invalid(f"{place}.text.citations: citations are not permitted in user messages")


def _check_tool_results(messages: list[dict[str, Any]]) -> None:
    merged = _merged(messages)
    for position, (number, role, blocks) in enumerate(merged):
        before = merged[position - 1][2] if position else []
        asked = _ids(before, "tool_use", "id") if role == "user" else []
        _check_answers(number, blocks, asked)
        if role != "assistant":
            continue
        uses = _ids(blocks, "tool_use", "id")
        after = merged[position + 1][2] if position + 1 < len(merged) else []
        answered = _ids(after, "tool_result", "tool_use_id")
        missing = [use for use in uses if use not in answered]
        if missing and position + 1 < len(merged):
            raise invalid(
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}. Each `tool_use` block must have a "
                "corresponding `tool_result` block in the next message."
            )


def _check_answers(number: int, blocks: list[dict[str, Any]], asked: list[str]) -> None:
    seen_other = False
    for index, block in enumerate(blocks):
        if block.get("type") != "tool_result":
            seen_other = True
            continue
        if block.get("tool_use_id") not in asked:
            raise invalid(
                f"messages.{number}.content.{index}: unexpected `tool_use_id` found in "
                f"`tool_result` blocks: {block.get('tool_use_id')}. Each `tool_result` block must "
                "have a corresponding `tool_use` block in the previous message."
            )
        if seen_other:
            raise invalid(
                f"messages.{number}: `tool_result` blocks must come first in the message after "
                "`tool_use` blocks"
            )


def _merged(messages: list[dict[str, Any]]) -> list[tuple[int, str, list[dict[str, Any]]]]:
    """Join consecutive messages of one role, as the API does; system messages stand aside."""
    merged: list[tuple[int, str, list[dict[str, Any]]]] = []
    for number, message in enumerate(messages):
        if message["role"] == "system":
            continue
        content = message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if merged and merged[-1][1] == message["role"]:
            merged[-1][2].extend(blocks)
        else:
            merged.append((number, message["role"], list(blocks)))
    return merged


def _ids(blocks: list[dict[str, Any]], kind: str, name: str) -> list[str]:
    return [str(block.get(name)) for block in blocks if block.get("type") == kind]
