"""Records of output topics as lines and objects."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ops.observed import Observed, as_json, as_line, observe
from sluice_contracts import (
    CompletionFailed,
    CompletionSucceeded,
    DataClassification,
    Headers,
    Tier,
    TopicNames,
    encode,
)

NAMES = TopicNames("it-1.")
AT = datetime(2026, 12, 1, 12, 0, 1, tzinfo=UTC)
TIMING = {"queued_ms": 1, "throttled_ms": 2, "model_ms": 3, "total_ms": 1250}
SUCCEEDED: dict[str, Any] = {
    "request_id": "r-1", "tier": "haiku", "model": "m", "content": [],
    "prompt": {"name": "ticket-triage", "version": 1, "sha256": "0" * 64},
    "text": "card\nlost \x1b[31m", "output": {"label": "x"}, "stop_reason": "end_turn",
    "validation": {"verdict": "valid"}, "usage": {"input_tokens": 812, "output_tokens": 35},
    "cost": {"amount": "0.0010", "price_table": "m"}, "attempts": 1, "timing": TIMING,
    "tenant": "acme", "data_classification": "internal", "completed_at": AT,
}  # fmt: skip
FAILED: dict[str, Any] = {
    "request_id": "r-2", "tier": "haiku", "timing": TIMING, "attempts": 3, "completed_at": AT,
    "failure": {"code": "output_invalid", "detail": "no label", "retryable": True},
    "text": "what it said", "dead_letter": {"topic": "t", "partition": 1},
    "data_classification": "internal", "tenant": "acme",
}  # fmt: skip


def observed(event: CompletionSucceeded | CompletionFailed) -> Observed:
    """See an outcome on the result topic."""
    record = encode(event, source="/test", time=AT)
    return see(NAMES.results(Tier.HAIKU), record.value, record.headers)


def see(topic: str, value: bytes | None, headers: Headers = ()) -> Observed:
    """See a record."""
    return observe(
        NAMES, topic=topic, partition=3, offset=9, timestamp_ms=int(AT.timestamp() * 1000),
        value=value, headers=headers,
    )  # fmt: skip


def test_a_result_is_one_line() -> None:
    """A line says when, tier, kind, id, prompt, tokens, cost, time and the answer's start."""
    line = as_line(observed(CompletionSucceeded.model_validate(SUCCEEDED)))

    assert line == (
        "12:00:01  haiku   succeeded    r-1                       ticket-triage@1  "
        "812→35 tokens  $0.0010  1.25 s  card lost \\x1b[31m"
    )


def test_a_failure_says_why() -> None:
    """A failed outcome's line carries its code, attempts and reason."""
    line = as_line(observed(CompletionFailed.model_validate(FAILED)))

    assert "failed       r-2" in line
    assert "output_invalid  3 attempts  1.25 s  no label" in line


def test_a_dead_letter_says_why_and_where() -> None:
    """A dead letter's reason comes from its headers, whatever its value is."""
    headers = (
        ("x-failure-code", b"invalid_event"), ("x-failure-detail", b"not JSON"),
        ("x-origin-topic", b"it-1.claude.requests.haiku.v1"), ("x-origin-partition", b"3"),
        ("x-origin-offset", b"41"), ("x-request-id", b"r-3"),
    )  # fmt: skip
    seen = see(NAMES.dead_letters(Tier.HAIKU), b"\xff not json", headers)

    assert seen.kind == "dead-letter"
    assert "r-3" in as_line(seen)
    assert "invalid_event  3/9  not JSON" in as_line(seen)
    assert as_json(seen)["failure"] == {"code": "invalid_event", "detail": "not JSON"}
    assert as_json(seen)["origin"]["offset"] == 41


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff"])
def test_a_foreign_record_is_unreadable_and_no_error(value: bytes | None) -> None:
    """Anything on a topic can be looked at; what is not of the contract says where it is."""
    seen = see(NAMES.results(Tier.OPUS), value)

    assert seen.kind == "unreadable"
    assert "it-1.claude.results.opus.v1/3/9" in as_line(seen)
    json.dumps(as_json(seen))


def test_restricted_content_is_hidden_until_asked_for() -> None:
    """The answer to a restricted request is shown only to whoever says so."""
    restricted = {**SUCCEEDED, "data_classification": DataClassification.RESTRICTED}
    seen = observed(CompletionSucceeded.model_validate(restricted))

    assert "card" not in as_line(seen)
    assert "card" not in json.dumps(as_json(seen))
    assert "card lost" in as_line(seen, show_restricted=True)
    assert "card\nlost" in as_json(seen, show_restricted=True)["event"]["text"]


def test_content_of_unknown_class_counts_as_restricted() -> None:
    """A failure of a request that could not be read does not show what it said."""
    seen = observed(CompletionFailed.model_validate({**FAILED, "data_classification": None}))

    assert "what it said" not in json.dumps(as_json(seen))


def test_a_record_cannot_write_to_the_terminal() -> None:
    """Control characters of an answer or an id do not reach a line."""
    seen = observed(
        CompletionSucceeded.model_validate({**SUCCEEDED, "request_id": "r\x1b]0;title\x07"})
    )

    assert as_line(seen).isprintable()
