"""What a worker relies on, asked of the simulator always and of the real API when a key is given.

With `ANTHROPIC_API_KEY` in the environment the live half runs too, for a fraction of a cent.
"""

import os
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from services.simulator.app import Simulator
from tests.fidelity.comparing import KEY

MODEL = "claude-haiku-5-5"
LIVE_KEY = os.environ.get("ANTHROPIC_API_KEY", "")
HELLO: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Say hello in five words."}],
}
SCHEMA = {
    "type": "object",
    "properties": {"intent": {"type": "string", "enum": ["card_arrival", "card_stolen"]}},
    "required": ["intent"],
    "additionalProperties": False,
}


@pytest.fixture(
    params=[
        "simulator",
        pytest.param(
            "live",
            marks=pytest.mark.skipif(
                not LIVE_KEY, reason="needs ANTHROPIC_API_KEY and the network"
            ),
        ),
    ]
)
async def client(
    request: pytest.FixtureRequest, simulator: tuple[Simulator, str]
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Return the SDK, pointed at one of the two."""
    given: dict[str, Any] = {"api_key": KEY, "base_url": simulator[1]}
    if request.param == "live":
        given = {"api_key": LIVE_KEY, "base_url": "https://api.anthropic.com"}
    async with anthropic.AsyncAnthropic(**given, max_retries=0, timeout=60) as made:
        yield made


async def test_headers_and_usage(client: anthropic.AsyncAnthropic) -> None:
    """An answer carries the ids, the limits of its group and its usage."""
    raw = await client.messages.with_raw_response.create(**HELLO)
    message = await raw.parse()
    for bucket in ("requests", "input-tokens", "output-tokens", "tokens"):
        for end in ("limit", "remaining", "reset"):
            assert f"anthropic-ratelimit-{bucket}-{end}" in raw.headers
    assert raw.headers["request-id"].startswith("req_")
    assert "anthropic-organization-id" in raw.headers
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message.stop_reason in ("end_turn", "max_tokens")


async def test_stream(client: anthropic.AsyncAnthropic) -> None:
    """A stream folds into a message with its final usage."""
    async with client.messages.stream(**HELLO) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason is not None
    assert message.usage.output_tokens > 0


async def test_structured_output(client: anthropic.AsyncAnthropic) -> None:
    """A schema gets JSON that fits it, up to the case of enums."""
    message = await client.messages.create(
        model=MODEL,
        max_tokens=2_000,
        messages=[{"role": "user", "content": "Triage: somebody stole my card."}],
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    text = "".join(block.text for block in message.content if block.type == "text")
    assert "card_stolen" in text.lower()


async def test_tool_use(client: anthropic.AsyncAnthropic) -> None:
    """A question that a tool answers ends in its use, and the result ends the turn."""
    tool: Any = {
        "name": "get_weather",
        "description": "Current weather of a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
    question: Any = {"role": "user", "content": "What is the weather in Bern? Use the tool."}
    first = await client.messages.create(
        model=MODEL, max_tokens=1_000, messages=[question], tools=[tool]
    )
    assert "tool_use" == first.stop_reason
    results: Any = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "12 degrees, rain"}
        for block in first.content
        if block.type == "tool_use"
    ]
    turns: Any = [
        question,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    last = await client.messages.create(model=MODEL, max_tokens=1_000, messages=turns, tools=[tool])
    assert "end_turn" == last.stop_reason


@pytest.mark.parametrize(
    ("more", "status", "part"),
    [
        ({"extra_body": {"temperature": 1.0}}, 400, "temperature"),
        ({"model": "claude-no-such-model"}, 404, "model: claude-no-such-model"),
        ({"max_tokens": 10_000_000, "timeout": 60}, 400, "max_tokens"),
        (
            {"messages": [*HELLO["messages"], {"role": "assistant", "content": "Hel"}]},
            400,
            "prefill",
        ),
        ({"extra_headers": {"x-api-key": "sk-ant-api03-no"}}, 401, "invalid x-api-key"),
    ],
)
async def test_refusals(
    client: anthropic.AsyncAnthropic, more: dict[str, Any], status: int, part: str
) -> None:
    """What version 2026-10-21 refuses, with its status and words."""
    with pytest.raises(anthropic.APIStatusError) as raised:
        await client.messages.create(**(HELLO | more))
    assert status == raised.value.status_code
    assert part in str(raised.value.api_message)
    assert "false" == raised.value.response.headers["x-should-retry"]


async def test_count_tokens(client: anthropic.AsyncAnthropic) -> None:
    """Counting is near what the call itself is charged."""
    counted = await client.messages.count_tokens(model=MODEL, messages=HELLO["messages"])
    message = await client.messages.create(**HELLO)
    assert counted.input_tokens == pytest.approx(message.usage.input_tokens, rel=0.3)


async def test_models(client: anthropic.AsyncAnthropic) -> None:
    """The Models API knows the tier's model, its line and its window."""
    info = await client.models.retrieve(MODEL)
    assert ("haiku", "active") == (info.line, info.lifecycle)
    assert info.max_input_tokens is not None
    assert MODEL in [model.id async for model in client.models.list(limit=5)]


async def test_batches(simulator: tuple[Simulator, str]) -> None:
    """A batch made, polled, read and deleted through the SDK; simulator only, for its price."""
    built, address = simulator
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=address, max_retries=0) as made:
        params: Any = {"model": MODEL, "max_tokens": 10, "messages": HELLO["messages"]}
        broken: Any = {**params, "max_tokens": 10**9}
        batch = await made.messages.batches.create(
            requests=[{"custom_id": "a", "params": params}, {"custom_id": "b", "params": broken}]
        )
        with pytest.raises(anthropic.NotFoundError, match="has no available results"):
            await (
                await made.get(  # type: ignore[misc]
                    f"/v1/messages/batches/{batch.id}/results", cast_to=object
                )
            )
        held = built.state.batches.newest("wrkspc_01SimulatorDefault000000")[0]
        held.duration_s = 0
        results = [line async for line in await made.messages.batches.results(batch.id)]
        assert {"a": "succeeded", "b": "errored"} == {
            line.custom_id: line.result.type for line in results
        }
        await made.messages.batches.delete(batch.id)
        assert [] == [one.id async for one in made.messages.batches.list()]


async def test_rate_limits(simulator: tuple[Simulator, str]) -> None:
    """The Rate Limits API lists the limits by group, for the admin key only."""
    built, address = simulator
    admin = built.state.settings.admin_key
    async with anthropic.AsyncAnthropic(api_key=admin, base_url=address, max_retries=0) as made:
        entries = [entry async for entry in made.organization.rate_limits.list(model=MODEL)]
    assert [[MODEL]] == [entry.models for entry in entries]
    values = {limit.type: limit.value for limit in entries[0].limits}
    assert 10**8 == values["requests_per_minute"]
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=address, max_retries=0) as other:
        with pytest.raises(anthropic.AuthenticationError):
            [entry async for entry in other.organization.rate_limits.list()]
