"""What is logged of a call, and what never is."""

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import structlog

from services.runtime.engine.ports import Record
from services.runtime.logging import configure
from services.runtime.settings import Environment, LogFormat, LogSettings
from services.worker.settings import RetrySettings
from sluice_contracts import headers as h
from tests.unit.worker.conftest import Build, Keys, answered, refused, settings_with
from tests.unit.worker.reading import header_of

pytestmark = pytest.mark.looptime
SECRET = "the merger closes on Friday"
ASK = {
    "request_id": "r1",
    "messages": [{"role": "user", "content": SECRET}],
    "tenant": "legal",
    "user": "ann",
    "data_classification": "restricted",
    "output_schema": {"enum": ["yes"]},
}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a production process would write."""
    stream = io.StringIO()
    settings = LogSettings(format=LogFormat.JSON)
    configure(settings, Environment.PRODUCTION, room="worker", stream=stream)
    yield stream
    structlog.reset_defaults()


def _calls(lines: io.StringIO) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in read if line["event"].startswith("call.")]


async def test_a_call_is_one_line_that_explains_it(build: Build, lines: io.StringIO) -> None:
    """Model, tokens, time, prompt, who asked, and what became of it."""
    worker = await build(answered('"yes"'))
    await worker.handler.handle(worker.record(ASK), 0)
    (line,) = _calls(lines)
    expected = {
        "event": "call.completed",
        "model": "claude-haiku-5-5",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "prompt_name": "messages",
        "attempt": 1,
        "tenant": "legal",
        "user": "ann",
        "data_classification": "restricted",
        "disposition": "succeeded",
        "cost_usd": "0.00015",
    }
    assert expected == {name: line.get(name) for name in expected}
    assert {"latency_ms", "prompt_sha256", "key_id", "api_request_id", "offset"} <= line.keys()


@pytest.mark.parametrize(
    ("reply", "dispositions"),
    [
        (answered(f'"{SECRET}"'), ["repair", "dead_letter"]),
        (refused(400, "invalid_request_error", said=SECRET), ["dead_letter"]),
        (refused(500, "api_error", said=SECRET), ["parked"]),
        (RuntimeError(SECRET), ["parked"]),
    ],
)
async def test_restricted_words_reach_no_line(
    build: Build, lines: io.StringIO, reply: Any, dispositions: list[str]
) -> None:
    """Whoever repeats them: the model, the API, or an exception."""
    worker = await build(reply)
    await worker.handler.handle(worker.record(ASK), 0)
    assert dispositions == [line["disposition"] for line in _calls(lines)]
    assert SECRET not in lines.getvalue()
    assert "sk-one" not in lines.getvalue()


def _asks(**asked: Any) -> dict[str, Any]:
    return {"request_id": "r1", "data_classification": "restricted", **asked}


@pytest.mark.parametrize(
    "ask",
    [
        _asks(prompt=SECRET),
        _asks(prompt=f"ticket-triage@{SECRET}"),
        _asks(prompt="ticket-triage", variables={"text": "x", SECRET: 1}),
        _asks(prompt="p", tools=[SECRET]),
        _asks(prompt="p", reply_to=SECRET),
        _asks(prompt="ticket-triage", output_schema={"properties": {SECRET: 5}}),
        _asks(prompt=SECRET, deadline="2020-01-01T00:00:00Z"),
        _asks(messages=[{"role": "user", "content": "x"}],
              output_schema={"properties": {SECRET: {"type": "null"}}, "required": [SECRET]}),
    ],
)  # fmt: skip
async def test_a_restricted_word_in_any_place_is_told_to_nobody(
    build: Build, lines: io.StringIO, ask: dict[str, Any]
) -> None:
    """A name may be content that lost its way: not in a line, a header or a failure."""
    worker = await build(answered("{}"))
    outcome, letter, *audit = (await worker.handler.handle(worker.record(ask), 0)).outputs
    said = [lines.getvalue(), str(letter.headers), str(outcome.headers), str(outcome.value)]
    assert [] == [text for text in (*said, str(audit)) if SECRET in text]
    assert "dead_letter" in lines.getvalue()


async def test_of_other_data_people_are_told_the_words(build: Build, lines: io.StringIO) -> None:
    """In the failure and the dead letter; the lines of the log stay without."""
    worker = await build()
    ask = {"request_id": "r1", "prompt": SECRET}
    outcome, letter = (await worker.handler.handle(worker.record(ask), 0)).outputs
    assert SECRET in (header_of(letter, h.FAILURE_DETAIL) or "")
    assert SECRET == header_of(letter, h.PROMPT)
    assert SECRET.encode() in (outcome.value or b"")
    assert SECRET not in lines.getvalue()


async def test_what_could_not_be_read_is_as_secret_as_the_most_secret(
    build: Build, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception while nobody knows the class of the data shows types and places only."""

    def fail(_: Record) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("services.worker.pipeline.decode", fail)
    worker = await build()
    await worker.handler.handle(worker.record(ASK), 0)
    (line,) = _calls(lines)
    assert ("unknown", "internal_error") == (line["data_classification"], line["code"])
    assert "RuntimeError" in line["exception"]
    assert SECRET not in lines.getvalue()


@pytest.mark.parametrize("reply", [refused(500), httpx2.ReadTimeout("silence")])
async def test_a_failed_call_says_whose_key_it_carried(
    build: Build, lines: io.StringIO, reply: Any
) -> None:
    """In the log and in the audit record: it may be on that key's bill."""
    settings = settings_with(retry=RetrySettings(max_attempts=1))
    worker = await build(reply, settings=settings)
    verdict = await worker.handler.handle(worker.record(ASK), 0)
    (line,) = _calls(lines)
    audited = json.loads(verdict.outputs[2].value)
    key_id = Keys("sk-one").keys[0].key_id
    assert (key_id, key_id) == (line["key_id"], audited["key_id"])
