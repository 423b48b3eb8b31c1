"""Within v1 nothing that was released breaks; what would break it is recognised."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sluice_contracts import CATALOGUE
from sluice_contracts.schemas import event_schema, event_schemas
from sluice_contracts.topics import CANCELLATION_TYPE, FAILED_TYPE, REQUEST_TYPE, SUCCEEDED_TYPE
from tests.contracts.compatibility import incompatibilities

BASELINE = json.loads(
    (Path(__file__).parents[2] / "contracts" / "baseline" / "v1.json").read_text(encoding="utf-8")
)
READ_BY_US = {REQUEST_TYPE, CANCELLATION_TYPE}
Schema = dict[str, Any]
Change = Callable[[Schema], object]


@pytest.mark.parametrize("name", BASELINE["schemas"])
def test_no_released_event_breaks(name: str) -> None:
    """Every event can still be exchanged with those who hold the released schema."""
    old, new = BASELINE["schemas"][name], event_schemas()[name]
    assert [] == incompatibilities(old, new, we_write=name not in READ_BY_US)


def test_no_released_topic_vanishes() -> None:
    """Every released topic is still there and carries at least what it carried."""
    topics = {topic.name: set(topic.events) for topic in CATALOGUE}
    lost = {name for name, events in BASELINE["topics"].items() if set(events) - topics[name]}
    assert set() == lost


def field(schema: Schema, path: str) -> Schema:
    """Find a schema by its path of fields; a capital letter begins a definition's name."""
    for step in path.split("."):
        schema = schema["$defs" if step[0].isupper() else "properties"][step]
    return schema


def remove(path: str) -> Change:
    """Remove a field."""
    *parents, name = path.split(".")

    def change(schema: Schema) -> None:
        parent = field(schema, ".".join(parents)) if parents else schema
        del parent["properties"][name]
        parent["required"] = [other for other in parent.get("required", []) if other != name]

    return change


def add(name: str, *, required: bool) -> Change:
    """Add a field to the event."""

    def change(schema: Schema) -> None:
        schema["properties"][name] = {"type": "string"}
        if required:
            schema["required"].append(name)

    return change


def put(path: str, **keywords: Any) -> Change:
    """Set keywords of a field's schema; None removes one."""

    def change(schema: Schema) -> None:
        found = field(schema, path)
        found.update(keywords)
        for keyword in [keyword for keyword, value in keywords.items() if value is None]:
            del found[keyword]

    return change


def require(name: str) -> Change:
    """Make a field of the event required."""
    return lambda schema: schema["required"].append(name)


def relax(name: str) -> Change:
    """Make a field of the event optional."""
    return lambda schema: schema["required"].remove(name)


def drop_first(path: str, keyword: str) -> Change:
    """Take the first value from a list of a field's schema."""
    return lambda schema: field(schema, path)[keyword].pop(0)


def append(path: str, keyword: str, value: Any) -> Change:
    """Add a value to a list of a field's schema."""
    return lambda schema: field(schema, path)[keyword].append(value)


BREAKING: list[tuple[str, Change, str]] = [
    (REQUEST_TYPE, remove("metadata"), "metadata: field removed"),
    (REQUEST_TYPE, remove("Message.content"), "[].content: field removed"),
    (REQUEST_TYPE, add("budget", required=True), "budget: required, and may be missing"),
    (REQUEST_TYPE, require("tenant"), "tenant: required, and may be missing"),
    (REQUEST_TYPE, put("stream", type="string"), "stream: boolean not read"),
    (REQUEST_TYPE, put("stream", default=True), "stream: default changed from False to True"),
    (REQUEST_TYPE, put("request_id", maxLength=64), "request_id: maxLength 64 refuses"),
    (REQUEST_TYPE, put("request_id", minLength=3), "request_id: minLength 3 refuses"),
    (REQUEST_TYPE, put("metadata", maxProperties=8), "metadata: maxProperties 8 refuses"),
    (REQUEST_TYPE, put("request_id", pattern="^[a-z]+$"), "request_id: pattern is"),
    (REQUEST_TYPE, put("tenant", enum=["a"]), "tenant: only ['a'] read"),
    (REQUEST_TYPE, drop_first("Priority", "enum"), "priority: value 'interactive' not read"),
    (REQUEST_TYPE, drop_first("prompt", "anyOf"), "prompt: string not read"),
    (REQUEST_TYPE, drop_first("Message.content", "anyOf"), "messages.[].content: string not read"),
    (REQUEST_TYPE, put("metadata", additionalProperties={"type": "integer"}), "metadata.*: "),
    (REQUEST_TYPE, lambda schema: schema["anyOf"].pop(), "prompt: required, and may be missing"),
    (SUCCEEDED_TYPE, remove("cost"), "cost: required, and may be missing"),
    (SUCCEEDED_TYPE, remove("api_request_id"), "api_request_id: field removed"),
    (SUCCEEDED_TYPE, relax("usage"), "usage: required, and may be missing"),
    (SUCCEEDED_TYPE, require("user"), "user: required, and may be missing"),
    (SUCCEEDED_TYPE, put("attempts", type="number"), "attempts: number not read"),
    (SUCCEEDED_TYPE, put("attempts", type="string"), "attempts: string not read"),
    (SUCCEEDED_TYPE, append("Tier", "enum", "fable"), "tier: value 'fable' not read"),
    (SUCCEEDED_TYPE, drop_first("Tier", "enum"), "tier: value 'haiku' not read"),
    (
        SUCCEEDED_TYPE,
        append("Validation.verdict", "enum", "guessed"),
        "validation.verdict: value 'guessed' not read",
    ),
    (
        FAILED_TYPE,
        drop_first("Failure.code", "x-extensible-enum"),
        "failure.code: value 'invalid_event' removed",
    ),
    (FAILED_TYPE, append("text", "anyOf", {"type": "integer"}), "text: integer not read"),
]


@pytest.mark.parametrize(("name", "change", "expected"), BREAKING, ids=[b[2] for b in BREAKING])
def test_breaking_changes_are_refused(name: str, change: Change, expected: str) -> None:
    """A change that somebody could not read is named by its field."""
    old = event_schema(name)
    new = deepcopy(old)
    change(new)
    found = incompatibilities(old, new, we_write=name not in READ_BY_US)
    assert any(expected in line for line in found), found


HARMLESS: list[tuple[str, str, Change]] = [
    ("new optional field", REQUEST_TYPE, add("budget", required=False)),
    ("wider bound", REQUEST_TYPE, put("request_id", maxLength=256)),
    ("bound dropped", REQUEST_TYPE, put("metadata", maxProperties=None)),
    ("integer to number", REQUEST_TYPE, append("max_tokens", "anyOf", {"type": "number"})),
    ("new choice to ask for", REQUEST_TYPE, append("Priority", "enum", "night")),
    ("another description", REQUEST_TYPE, put("request_id", description="Other words.")),
    ("new optional outcome field", SUCCEEDED_TYPE, add("carbon", required=False)),
    ("new code", FAILED_TYPE, append("Failure.code", "x-extensible-enum", "too_funny")),
]


@pytest.mark.parametrize(
    ("name", "change"), [h[1:] for h in HARMLESS], ids=[h[0] for h in HARMLESS]
)
def test_harmless_changes_pass(name: str, change: Change) -> None:
    """Optional fields, wider bounds and new words are allowed within a major version."""
    old = event_schema(name)
    new = deepcopy(old)
    change(new)
    assert old != new
    assert [] == incompatibilities(old, new, we_write=name not in READ_BY_US)
