"""What the simulated model says."""

import hashlib
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simulator.answers.answer import Answer, Author
from services.simulator.answers.spoilt import spoil
from services.simulator.faults import Fault, FaultKind
from services.simulator.models import Catalogue
from services.simulator.settings import AnswerSettings, LatencySettings

HAIKU = Catalogue().serving("claude-haiku-5-5")
LABELS = ["card_arrival", "lost_or_stolen_card", "exchange_rate"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote", "confidence", "tags", "next"],
    "properties": {
        "label": {"type": "string", "enum": LABELS},
        "quote": {"type": "string"},
        "confidence": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "next": {"anyOf": [{"$ref": "#/$defs/step"}, {"type": "null"}]},
        "when": {"type": "string", "format": "date"},
    },
    "$defs": {
        "step": {
            "type": "object",
            "additionalProperties": False,
            "required": ["kind"],
            "properties": {"kind": {"const": "call"}, "done": {"type": "boolean"}},
        }
    },
}


def write(author: Author | None = None, **more: Any) -> Answer:
    """Return the answer to a request."""
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": "Somebody stole my card in Bern. I lost it all."}],
        **more,
    }
    author = author or Author(
        AnswerSettings(thinking_share=0, wrong_case_share=0), LatencySettings(), 1
    )
    assert HAIKU is not None
    return author.write(body, hashlib.sha256(json.dumps(body).encode()).digest(), HAIKU)


def text_of(answer: Answer) -> str:
    """Return the text of an answer."""
    return "".join(block["text"] for block in answer.content if block["type"] == "text")


def test_same_request_same_answer() -> None:
    """The same body and seed give the same content and times."""
    first, second = write(), write()
    assert (first.content, first.producing_s) == (second.content, second.producing_s)
    other = write(Author(AnswerSettings(), LatencySettings(), 2))
    assert first.content != other.content


@pytest.mark.parametrize(
    "system",
    [
        "Classify the ticket. Labels: card_arrival, lost_or_stolen_card, exchange_rate",
        "Pick the intent:\n- card_arrival\n- lost_or_stolen_card: card gone\n- exchange_rate\n",
    ],
)
def test_classification(system: str) -> None:
    """A request for a label gets the one that shares most words with the text."""
    assert "lost_or_stolen_card" == text_of(write(system=system))


def test_schema() -> None:
    """A request for JSON gets a valid instance that makes sense."""
    answer = write(output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    value = json.loads(text_of(answer))
    jsonschema.validate(value, SCHEMA)
    assert "lost_or_stolen_card" == value["label"]
    assert value["quote"] in "Somebody stole my card in Bern. I lost it all."


_leaves = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=5), min_size=1)),
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    st.sampled_from([{"type": "string", "format": name} for name in ("date", "uuid", "email")]),
)
_schemas = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda parts: {
                "type": "object",
                "properties": parts,
                "required": sorted(parts)[:2],
                "additionalProperties": False,
            },
            st.dictionaries(st.text("abcdefg", min_size=1, max_size=4), inner, max_size=4),
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(_schemas, st.integers(0, 99))
def test_any_schema(schema: dict[str, Any], seed: int) -> None:
    """Whatever the schema, the instance satisfies it."""
    author = Author(AnswerSettings(thinking_share=0, wrong_case_share=0), LatencySettings(), seed)
    answer = write(
        author,
        max_tokens=100_000,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    jsonschema.validate(json.loads(text_of(answer)), schema)


def test_bounds_in_descriptions() -> None:
    """Bounds that a client moved into descriptions are heeded, as models do."""
    moved = {"type": "integer", "description": "How bad.\n\n{minimum: 3, maximum: 4}"}
    listed = {"type": "array", "items": moved, "description": "{minItems: 2, maxItems: 2}"}
    schema = {**SCHEMA, "properties": {"rows": listed}, "required": ["rows"]}
    output = {"format": {"type": "json_schema", "schema": schema}}
    for seed in range(20):
        author = Author(AnswerSettings(thinking_share=0), LatencySettings(), seed)
        rows = json.loads(text_of(write(author, output_config=output)))["rows"]
        assert 2 == len(rows)
        assert set(rows) <= {3, 4}


def test_tools() -> None:
    """With tools the answer calls the one that fits, and with its result the turn ends."""
    tools = [
        {"name": "weather", "description": "forecast", "input_schema": {"type": "object"}},
        {
            "name": "block_card",
            "description": "block a lost or stolen card",
            "input_schema": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    ]
    answer = write(tools=tools)
    use = next(block for block in answer.content if block["type"] == "tool_use")
    assert ("tool_use", "block_card", {"city": "Bern"}) == (
        answer.stop_reason,
        use["name"],
        use["input"],
    )
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "done"}
    after = write(tools=tools, messages=[{"role": "user", "content": [result]}])
    assert "end_turn" == after.stop_reason


def test_truncation() -> None:
    """An answer longer than `max_tokens` is cut there."""
    answer = write(max_tokens=5)
    assert ("max_tokens", 5) == (answer.stop_reason, answer.output_tokens)


def test_thinking_can_use_everything() -> None:
    """Thinking counts, and may leave no room for text."""
    author = Author(AnswerSettings(thinking_share=1, thinking_tokens=500), LatencySettings(), 1)
    answer = write(author, max_tokens=20)
    assert ["thinking"] == [block["type"] for block in answer.content]
    assert ("max_tokens", 20, 20) == (
        answer.stop_reason,
        answer.output_tokens,
        answer.thinking_tokens,
    )


def test_warm_up() -> None:
    """`max_tokens: 0` gives no content."""
    answer = write(max_tokens=0)
    assert ([], "max_tokens", 0) == (answer.content, answer.stop_reason, answer.output_tokens)


def test_stop_sequence() -> None:
    """Text ends before a stop sequence."""
    answer = write(stop_sequences=[" "])
    assert ("stop_sequence", " ") == (answer.stop_reason, answer.stop_sequence)
    assert " " not in text_of(answer)


@pytest.mark.parametrize(
    ("kind", "stop_reason", "types"),
    [
        (FaultKind.CONTENT_EMPTY, "end_turn", []),
        (FaultKind.REFUSAL, "refusal", []),
        (FaultKind.REFUSAL_AFTER_TEXT, "refusal", ["text"]),
        (FaultKind.TRUNCATED, "max_tokens", ["text"]),
        (FaultKind.WINDOW_EXCEEDED, "model_context_window_exceeded", ["text"]),
        (FaultKind.THINKING_ONLY, "max_tokens", ["thinking"]),
        (FaultKind.UNKNOWN_BLOCK, "end_turn", ["hologram", "text"]),
    ],
)
def test_spoilt(kind: FaultKind, stop_reason: str, types: list[str]) -> None:
    """A fault changes what the model says."""
    answer = write()
    spoil(answer, Fault(kind=kind), {})
    assert (stop_reason, types) == (
        answer.stop_reason,
        [block["type"] for block in answer.content],
    )


@pytest.mark.parametrize(
    "kind", [FaultKind.WRONG_CASE, FaultKind.SCHEMA_VIOLATION, FaultKind.NOT_JSON]
)
def test_output_that_does_not_validate(kind: FaultKind) -> None:
    """For repair: JSON in the wrong case, of the wrong shape, or no JSON."""
    body: dict[str, Any] = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    answer = write(**body)
    spoil(answer, Fault(kind=kind), body)
    with pytest.raises((json.JSONDecodeError, jsonschema.ValidationError)):
        jsonschema.validate(json.loads(text_of(answer)), SCHEMA)
