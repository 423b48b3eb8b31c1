"""What the API refuses, and what too strict imitations refuse although the API does not."""

from typing import Any

import pytest

from services.simulator.errors import ErrorAnswer
from services.simulator.models import Catalogue
from services.simulator.validation.messages import NEWEST, check_messages
from services.simulator.validation.parsing import parsed_body

MODELS = Catalogue()
USER = {"role": "user", "content": "Hello"}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
USE = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}],
}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]}


def request(model: str = "claude-haiku-5-5", **more: Any) -> dict[str, Any]:
    """Return a request that is fine but for `more`."""
    return {"model": model, "max_tokens": 100, "messages": [USER], **more}


def formatted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a request for JSON output."""
    return request(output_config={"format": {"type": "json_schema", "schema": schema}})


def strict(**properties: Any) -> dict[str, Any]:
    """Return an object schema as structured outputs want it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def refusal(body: dict[str, Any], version: str = NEWEST) -> ErrorAnswer:
    """Return the error of a refused request."""
    with pytest.raises(ErrorAnswer) as raised:
        check_messages(MODELS, body, version)
    return raised.value


ACCEPTED = {
    "an empty system prompt": request(system=""),
    "a first message from the assistant": request(
        messages=[{"role": "assistant", "content": "Hi"}, USER]
    ),
    "two user messages in a row": request(messages=[USER, USER]),
    "blocks of server tools": request(
        messages=[
            USER,
            {
                "role": "assistant",
                "content": [
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                    {"type": "mcp_tool_use", "id": "m1", "name": "x", "input": {}},
                    {"type": "mcp_tool_result", "tool_use_id": "m1", "content": []},
                ],
            },
            USER,
        ]
    ),
    "a tool result in its place": request(messages=[USER, USE, RESULT], tools=[TOOL]),
    "a system message in the conversation": request(
        messages=[USER, {"role": "system", "content": "Be short."}]
    ),
    "a cache warm-up": request(max_tokens=0),
    "a nullable union": formatted(strict(a={"anyOf": [{"type": "string"}, {"type": "null"}]})),
    "definitions": formatted(
        {**strict(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"type": "string"}}}
    ),
    "a set of ids that are not names": formatted(strict(a={"type": "string", "enum": ["x", "y"]})),
    "thinking turned off on haiku": request(thinking={"type": "disabled"}),
    "forced tools on haiku": request(tools=[TOOL], tool_choice={"type": "any"}),
    "thinking between tools": request("claude-sonnet-5-5", thinking={"type": "between_tools"}),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(body: dict[str, Any]) -> None:
    """The API takes this, as recordings or its documentation show."""
    facts, tokens = check_messages(MODELS, body, NEWEST)
    assert body["model"] == facts.id
    assert tokens > 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"max_tokens": 1, "messages": [USER]}, "model: Field required"),
    "no limit": ({"model": "claude-haiku-5-5", "messages": [USER]}, "max_tokens: Field required"),
    "no messages": (request(messages=[]), "messages: at least one message is required"),
    "sampling": (request(temperature=1.0), "temperature: Extra inputs are not permitted"),
    "unknown field": (request(surprise=1), "surprise: Extra inputs are not permitted"),
    "role": (request(messages=[{"role": "tool", "content": "x"}]), "messages.0.role: "),
    "prefill": (
        request(messages=[USER, {"role": "assistant", "content": "{"}]),
        "This model does not support assistant message prefill.",
    ),
    "empty text": (
        request(messages=[{"role": "user", "content": [{"type": "text", "text": ""}]}]),
        "messages: text content blocks must be non-empty",
    ),
    "unanswered tool use": (
        request(messages=[USER, USE, USER]),
        "messages.1: `tool_use` ids were found without `tool_result` blocks",
    ),
    "unexpected tool result": (
        request(messages=[RESULT]),
        "messages.0.content.0: unexpected `tool_use_id`",
    ),
    "text before a tool result": (
        request(
            messages=[
                USER,
                USE,
                {"role": "user", "content": [{"type": "text", "text": "x"}, *RESULT["content"]]},
            ]
        ),
        "messages.2: `tool_result` blocks must come first",
    ),
    "document from the assistant": (
        request(
            messages=[USER, {"role": "assistant", "content": [{"type": "document", "source": {}}]}]
        ),
        "messages.1.content.0: document blocks are not permitted",
    ),
    "citations from the user": (
        request(
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "x", "citations": [{}]}]}
            ]
        ),
        "messages.0.content.0.text.citations",
    ),
    "too many tokens": (request(max_tokens=200_000), "max_tokens: 200000 > 128000"),
    "streamed warm-up": (request(max_tokens=0, stream=True), "max_tokens: 0 is not supported"),
    "forced tool on sonnet": (
        request("claude-sonnet-5-5", tools=[TOOL], tool_choice={"type": "any"}),
        "tool_choice.type: 'any' is not supported",
    ),
    "thinking off on opus": (
        request("claude-opus-5-5", thinking={"type": "disabled"}),
        "thinking.type: 'disabled' is not supported",
    ),
    "thinking off on sonnet": (
        request("claude-sonnet-5-5", thinking={"type": "disabled"}),
        "thinking.type: 'disabled' is not supported",
    ),
    "budget on haiku": (
        request(thinking={"type": "enabled", "budget_tokens": 2_000}),
        "thinking.type: 'enabled' is not supported",
    ),
    "too much effort between tools": (
        request(
            "claude-sonnet-5-5",
            thinking={"type": "between_tools"},
            output_config={"effort": "max"},
        ),
        "output_config.effort: 'max' is not supported",
    ),
    "twice the same tool": (request(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    "a tool without a schema": (request(tools=[{"name": "x"}]), "tools.0.custom.input_schema"),
    "open object": (
        formatted({"type": "object", "properties": {}}),
        "output_config.format.schema: For 'object' type, 'additionalProperties'",
    ),
    "bounds": (
        formatted(strict(a={"type": "integer", "minimum": 0})),
        "output_config.format.schema.properties.a: property 'minimum' is not supported",
    ),
    "recursion": (
        formatted({**strict(a={"$ref": "#"})}),
        "output_config.format.schema.properties.a.properties.a: recursive schemas",
    ),
    "look-around": (
        formatted(strict(a={"type": "string", "pattern": "(?=x)"})),
        "output_config.format.schema.properties.a: pattern",
    ),
    "unions": (
        formatted(strict(**{f"a{n}": {"type": ["string", "null"]} for n in range(17)})),
        "output_config.format.schema: Schema has 17 parameters with union types",
    ),
    "optional parameters": (
        formatted({**strict(**{f"a{n}": {"type": "string"} for n in range(25)}), "required": []}),
        "output_config.format.schema: Schema has 25 optional parameters",
    ),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(body: dict[str, Any], message: str) -> None:
    """The API refuses this with 400 and says what is wrong."""
    error = refusal(body)
    assert (400, "invalid_request_error", False) == (error.status, error.type, error.should_retry)
    assert error.message.startswith(message), error.message


@pytest.mark.parametrize("model", ["claude-haiku-9", "claude-3-opus-20240229"])
def test_unknown_and_retired_models(model: str) -> None:
    """An unknown or retired model is not found."""
    error = refusal(request(model))
    assert (404, "not_found_error", f"model: {model}") == (error.status, error.type, error.message)


def test_too_long() -> None:
    """A prompt larger than the window is named with both numbers."""
    error = refusal(request(messages=[{"role": "user", "content": "abcdefghij" * 500_000}]))
    assert error.message.startswith("prompt is too long: 1100010 tokens > 1000000 maximum")


def test_older_version() -> None:
    """Version 2023-06-01 still takes sampling parameters."""
    check_messages(MODELS, request(temperature=0.5), "2023-06-01")
    assert "is not a valid version" in refusal(request(), "2022-01-01").message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "EOF"),
        (b'{"a": NaN}', "expected value"),
        (rb'{"a": "\ud83d"}', "no low surrogate in string"),
        (rb'{"a": "\ud83d x"}', "no low surrogate in string"),
        (rb'{"a": "\udc00"}', "no low surrogate in string"),
        (b"[" * 10_000, "recursion"),
    ],
)
def test_not_json(body: bytes, reason: str) -> None:
    """A body that is not JSON, or holds half a character, is refused."""
    with pytest.raises(ErrorAnswer) as raised:
        parsed_body(body)
    assert raised.value.message.startswith("The request body is not valid JSON: ")
    assert reason in raised.value.message


def test_too_large() -> None:
    """The edge refuses more than 32 MB without ids."""
    with pytest.raises(ErrorAnswer) as raised:
        parsed_body(b" " * (32 * 1024 * 1024 + 1))
    assert (413, True) == (raised.value.status, raised.value.from_edge)
    assert b'{"error": {"type": "request_too_large"' in raised.value.body("req_1")
