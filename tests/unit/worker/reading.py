"""Reads what the handler wrote."""

from typing import Any

from services.runtime.engine.ports import Done, Output
from sluice_contracts import CompletionFailed, CompletionSucceeded, decode
from sluice_contracts import headers as h

RESULTS, LETTERS, AUDIT = (
    "claude.results.haiku.v1",
    "claude.dead-letters.haiku.v1",
    "claude.audit.v1",
)
ASK = {"request_id": "r1", "messages": [{"role": "user", "content": "Hi"}]}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def outcome_of(verdict: Any) -> CompletionSucceeded | CompletionFailed:
    """Return the outcome of a verdict."""
    assert isinstance(verdict, Done)
    event = decode(verdict.outputs[0].value, verdict.outputs[0].headers)
    assert isinstance(event, CompletionSucceeded | CompletionFailed)
    return event


def failure_of(verdict: Any) -> CompletionFailed:
    """Return the failed outcome of a verdict."""
    event = outcome_of(verdict)
    assert isinstance(event, CompletionFailed)
    return event


def topics_of(verdict: Any) -> list[str]:
    """Return the topics, in order, of a verdict."""
    assert isinstance(verdict, Done)
    return [output.topic for output in verdict.outputs]


def header_of(output: Output, name: str) -> str | None:
    """Return the value of a header of a verdict."""
    return h.find(output.headers, name)
