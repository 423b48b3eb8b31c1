"""How a request that failed for good is written down."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sluice_contracts import (
    CompletionFailed,
    CompletionRequested,
    DeadLetterPlace,
    Failure,
    FailureCode,
    Tier,
    Timing,
    decode,
)
from sluice_contracts import headers as h
from sluice_contracts.carried import Origin, digest
from sluice_contracts.failing import FailedRequest, reason_of
from sluice_contracts.headers import find

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BODY = b'{"request_id": "r", "prompt": "p"}'
REQUEST = CompletionRequested(request_id="r", prompt="p", tenant="legal", metadata={"a": "b"})


def _failed(**changes: Any) -> FailedRequest:
    facts: dict[str, Any] = {
        "tier": Tier.HAIKU,
        "key": b"k",
        "value": BODY,
        "headers": (("mine", b"1"), (h.NOT_BEFORE, b"5"), (h.RETURN_TOPIC, b"x")),
        "request": REQUEST,
        "origin": Origin("claude.requests.haiku.v1", 3, 99, 1_795_435_200_000),
        "request_id": "r",
        "generation": 1,
        "failure": Failure(code=FailureCode.TIMED_OUT, detail="no answer", retryable=True),
        "reason": "timed_out: no answer",
        "attempts": 8,
        "history": ("1 timed_out x",),
        "timing": Timing(queued_ms=1, throttled_ms=2, model_ms=3, total_ms=6),
        "published": AT,
        "at": AT,
        "place": DeadLetterPlace(topic="claude.dead-letters.haiku.v1", partition=3),
        "source": "/test",
        "version": "1.2.3",
        "prompt": "p",
    }
    return FailedRequest(**{**facts, **changes})


def test_the_letter_is_the_record_and_says_why() -> None:
    """Byte for byte; where it rested before is over."""
    letter = _failed().letter()
    assert (b"k", BODY, "1") == (letter.key, letter.value, find(letter.headers, "mine"))
    said = {name: find(letter.headers, name) for name in h.OURS}
    assert {
        h.REQUEST_ID: "r",
        h.ROOT_ID: "r",
        h.GENERATION: "1",
        h.ATTEMPT: "8",
        h.ORIGIN_TOPIC: "claude.requests.haiku.v1",
        h.ORIGIN_PARTITION: "3",
        h.ORIGIN_OFFSET: "99",
        h.ORIGIN_TIMESTAMP: "1795435200000",
        h.FAILURE_CODE: "timed_out",
        h.FAILURE_DETAIL: "no answer",
        h.FAILURE_REASON: "timed_out: no answer",
        h.ATTEMPT_HISTORY: "1 timed_out x",
        h.FIRST_TIME: AT.isoformat(),
        h.LAST_TIME: AT.isoformat(),
        h.WORKER_VERSION: "1.2.3",
        h.TENANT: "legal",
        h.PROMPT: "p",
    } == {name: value for name, value in said.items() if value is not None}
    assert (99).to_bytes(8, "big") == dict(letter.headers)["kafka_dlt-original-offset"]


def test_the_outcome_says_whose_it_was() -> None:
    """With the caller's headers, or without them where no topic takes them."""
    outcome = _failed().outcome()
    event = decode(outcome.value, outcome.headers)
    assert isinstance(event, CompletionFailed)
    assert ("legal", {"a": "b"}, 8) == (event.tenant, event.metadata, event.attempts)
    assert ("1", digest(BODY)) == (
        find(outcome.headers, "mine"),
        find(outcome.headers, h.REQUEST_DIGEST),
    )
    assert find(_failed().outcome(carries=False).headers, "mine") is None


def test_a_body_that_was_refused_for_its_id_is_not_taken_for_the_ids_own() -> None:
    """Copies of the first request are told by the digest on its outcome."""
    assert find(_failed(is_conflict=True).outcome().headers, h.REQUEST_DIGEST) is None


@pytest.mark.parametrize(
    ("facts", "is_whole", "key", "value"),
    [
        ({}, True, b"k", BODY),
        ({}, False, b"k", None),
        ({"key": None}, True, None, BODY),
        ({"key": None}, False, b"r", None),
        ({"key": None, "value": None}, True, b"r", None),
        ({"key": b"", "value": None}, True, b"", None),
    ],
)
def test_every_letter_can_be_sent(
    facts: dict[str, Any], key: bytes | None, value: bytes | None, *, is_whole: bool
) -> None:
    """Kafka's clients refuse a record with neither key nor value, so the id takes the key's place.

    A header says that it does, and the original can be put together again.
    """
    letter = _failed(**facts).letter(is_whole=is_whole)
    assert (key, value) == (letter.key, letter.value)
    is_ours = find(letter.headers, h.ORIGINAL_KEY) == "null"
    assert is_ours == (facts.get("key", b"k") is None and value is None)


def test_a_cause_has_one_name() -> None:
    """What differs between requests is taken out, unless a rule has decided."""
    code = FailureCode.DEADLINE_PASSED
    names = {reason_of(code, f"deadline 2026-11-2{day} passed {day}.5 s late") for day in range(9)}
    assert {"deadline_passed: deadline … passed … s late"} == names
    assert "timed_out: no answer" == reason_of(FailureCode.TIMED_OUT, "x 5", "no answer")
