"""Answers that a fault has changed: refused, cut, empty, or not what the schema says."""

import json
from typing import Any

from services.simulator.answers.answer import Answer, tokens_of
from services.simulator.answers.instances import dumps, miscased
from services.simulator.faults import Fault, FaultKind

EXPLANATION = (
    "This request triggered restrictions and was blocked under Anthropic's Usage Policy. To learn "
    "more, visit our help center."
)


def spoil(answer: Answer, fault: Fault, body: dict[str, Any]) -> None:
    """Change an answer as the fault says; faults of another nature leave it alone."""
    match fault.kind:
        case FaultKind.CONTENT_EMPTY:
            answer.content, answer.stop_reason, answer.output_tokens = [], "end_turn", 2
        case FaultKind.REFUSAL | FaultKind.REFUSAL_AFTER_TEXT:
            _refuse(answer, fault)
        case FaultKind.TRUNCATED:
            _halve(answer, "max_tokens")
        case FaultKind.WINDOW_EXCEEDED:
            _halve(answer, "model_context_window_exceeded")
        case FaultKind.PAUSE_TURN:
            answer.stop_reason = "pause_turn"
        case FaultKind.THINKING_ONLY:
            signature = "Eu" + answer.random.randbytes(120).hex()
            answer.content = [{"type": "thinking", "thinking": "", "signature": signature}]
            answer.stop_reason, answer.thinking_tokens = "max_tokens", answer.output_tokens
        case FaultKind.UNKNOWN_BLOCK:
            answer.content.insert(0, {"type": "hologram", "data": "AAAA"})
        case FaultKind.SCRIPTED:
            _follow_script(answer, fault, body)
        case FaultKind.WRONG_CASE | FaultKind.SCHEMA_VIOLATION | FaultKind.NOT_JSON:
            _misformat(answer, fault.kind, body)


def _follow_script(answer: Answer, fault: Fault, body: dict[str, Any]) -> None:
    answer.content, answer.stop_reason = fault.content, fault.stop_reason
    answer.output_tokens = max(1, sum(tokens_of(block) for block in fault.content))
    if fault.stop_reason == "stop_sequence":
        answer.stop_sequence = (body.get("stop_sequences") or [""])[0]


def _refuse(answer: Answer, fault: Fault) -> None:
    if fault.kind is FaultKind.REFUSAL:
        answer.content, answer.output_tokens = [], 1
    else:
        _halve(answer, "refusal")
    answer.stop_reason = "refusal"
    answer.stop_details = {
        "type": "refusal",
        "category": fault.category,
        "explanation": fault.message or EXPLANATION,
    }


def _halve(answer: Answer, stop_reason: str) -> None:
    for block in answer.content:
        if block["type"] == "text":
            block["text"] = block["text"][: max(1, len(block["text"]) // 2)]
    answer.content = [block for block in answer.content if block["type"] != "tool_use"]
    answer.stop_reason = stop_reason
    answer.output_tokens = max(1, sum(tokens_of(block) for block in answer.content))


def _misformat(answer: Answer, kind: FaultKind, body: dict[str, Any]) -> None:
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    for block in answer.content:
        if block["type"] != "text":
            continue
        if kind is FaultKind.NOT_JSON:
            block["text"] = "Here is the JSON you asked for:\n" + block["text"][:-1]
        elif kind in (FaultKind.WRONG_CASE, FaultKind.SCHEMA_VIOLATION) and schema is not None:
            value = json.loads(block["text"])
            if kind is FaultKind.WRONG_CASE:
                block["text"] = dumps(miscased(value, schema))
            else:
                block["text"] = dumps(_violating(value))


def _violating(value: Any) -> Any:
    """Return a value with its first member's type changed and an extra one added."""
    if isinstance(value, dict) and value:
        first = next(iter(value))
        return {**value, first: {"unexpected": value[first]}, "unexpected_member": True}
    return {"unexpected": value}
