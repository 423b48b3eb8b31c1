"""The rounds of one request with the model, on the real SDK and a scripted wire."""

import json
from typing import Any

import httpx2
import pytest

from services.runtime.engine.ports import Park
from services.worker.models import ModelFacts
from services.worker.settings import (
    ValidationSettings,
)
from sluice_contracts import CompletionFailed, CompletionSucceeded
from tests.unit.worker.conftest import Build, answered, refused, settings_with
from tests.unit.worker.reading import ASK, SCHEMA, failure_of, outcome_of

pytestmark = pytest.mark.looptime


FACTS = ModelFacts("claude-haiku-5-5", max_input_tokens=10_000, max_tokens=1_000)


async def test_an_answer_that_does_not_pass_is_repaired_once(build: Build) -> None:
    """The model is told what was wrong; both calls are on the result's bill."""
    worker = await build(answered('{"n": "one"}'), answered('{"n": 1}'))
    verdict = await worker.handler.handle(worker.record({**ASK, "output_schema": SCHEMA}), 0)
    event = outcome_of(verdict)
    assert isinstance(event, CompletionSucceeded)
    assert ({"n": 1}, "repaired", 1) == (
        event.output,
        event.validation.verdict,
        event.validation.repairs,
    )
    assert (200, "0.00030") == (event.usage.output_tokens, event.cost.amount)
    said = worker.wire.bodies[1]["messages"]
    assert ["user", "assistant", "user"] == [turn["role"] for turn in said]
    assert "'one' is not of type 'integer'" in said[2]["content"]


async def test_an_answer_that_never_passes_keeps_what_the_model_said(build: Build) -> None:
    """The failed outcome holds the text; the dead letter stays the original record."""
    settings = settings_with(validation=ValidationSettings(max_repairs=2))
    worker = await build(answered("no json"), settings=settings)
    record = worker.record({**ASK, "output_schema": SCHEMA})
    verdict = await worker.handler.handle(record, 0)
    event = failure_of(verdict)
    assert ("output_invalid", "no json", 3) == (
        event.failure.code,
        event.text,
        len(worker.wire.requests),
    )
    assert record.value == verdict.outputs[1].value


async def test_restricted_words_stay_out_of_details(build: Build) -> None:
    """What the model or the API quoted is shown to people, but not of restricted data."""
    details = {}
    for kind in ("internal", "restricted"):
        worker = await build(refused(400, "invalid_request_error", said="bad: my secret words"))
        ask = {**ASK, "data_classification": kind}
        verdict = await worker.handler.handle(worker.record(ask), 0)
        details[kind] = failure_of(verdict).failure.detail
    assert (True, False) == tuple("secret words" in detail for detail in details.values())


async def test_text_is_published_while_it_is_written(build: Build) -> None:
    """Chunks are numbered, and the last one says so."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"type": "message", "model": "claude-haiku-5-5",
         "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "y"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
         "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip
    body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    reply = answered()
    reply = type(reply)(200, headers={"content-type": "text/event-stream"}, content=body.encode())
    worker = await build(reply)
    verdict = await worker.handler.handle(worker.record({**ASK, "stream": True}), 0)
    chunks = [json.loads(chunk.value) for chunk in worker.chunks]
    assert ("Héy", "Héy") == ("".join(c["text"] for c in chunks), outcome_of(verdict).text)
    assert [False, True] == [c["is_last"] for c in chunks]
    assert [0, 1] == [c["sequence"] for c in chunks]
    assert worker.wire.bodies[0]["stream"]


async def test_a_stream_that_fails_says_that_no_more_comes(build: Build) -> None:
    """Readers must not wait for an answer that was given up; the outcome tells how it ended."""
    start = {"type": "message_start", "message": {"type": "message", "content": []}}
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in (start, overloaded))
    worker = await build(httpx2.Response(200, content=body.encode()))
    assert isinstance(await worker.handler.handle(worker.record({**ASK, "stream": True}), 0), Park)
    assert [True] == [json.loads(chunk.value or b"")["is_last"] for chunk in worker.chunks]


@pytest.mark.parametrize(
    ("size", "counted", "code", "calls"),
    [
        (1_000, 0, None, ["/v1/messages"]),
        (30_000, 8_000, None, ["/v1/messages/count_tokens", "/v1/messages"]),
        (30_000, 9_500, "context_too_long", ["/v1/messages/count_tokens"]),
    ],
)
async def test_near_the_window_the_api_is_asked_first(
    build: Build, size: int, counted: int, code: str | None, calls: list[str]
) -> None:
    """Counting is free but a round trip, so only where the answer could matter."""
    worker = await build(facts=FACTS)
    worker.wire.choose = lambda call: (
        httpx2.Response(200, json={"input_tokens": counted})
        if call.url.path.endswith("count_tokens")
        else answered()
    )
    ask = {**ASK, "messages": [{"role": "user", "content": "x" * size}]}
    outcome = outcome_of(await worker.handler.handle(worker.record(ask), 0))
    failure = outcome.failure.code if isinstance(outcome, CompletionFailed) else None
    assert (code, calls) == (failure, [request.url.path for request in worker.wire.requests])


async def test_an_answer_without_room_is_asked_for_again_with_more(build: Build) -> None:
    """Only with a schema: half a JSON is nothing; the cap is the model's."""
    cut = answered('{"n', stop_reason="max_tokens")
    worker = await build(cut, answered('{"n": 1}'), facts=FACTS)
    ask = {**ASK, "output_schema": SCHEMA, "max_tokens": 600}
    assert isinstance(
        outcome_of(await worker.handler.handle(worker.record(ask), 0)), CompletionSucceeded
    )
    assert [600, 1_000] == [body["max_tokens"] for body in worker.wire.bodies]
