"""The public names as callers use them; mypy checks this file, nothing runs it."""

from datetime import UTC, datetime
from typing import assert_type

from sluice_contracts import (
    CATALOGUE,
    CompletionFailed,
    CompletionRequested,
    CompletionSucceeded,
    Encoded,
    Event,
    FailureCode,
    Headers,
    InvalidEvent,
    Message,
    Priority,
    Tier,
    Topic,
    TopicNames,
    decode,
    decode_request,
    encode,
    identity,
)

request = CompletionRequested(
    request_id="a",
    messages=[Message(role="user", content="hello")],
    priority=Priority.BULK,
    deadline=datetime(2026, 1, 31, tzinfo=UTC),
)
record = encode(request, source="/upstream", time=datetime.now(UTC))
assert_type(record, Encoded)
assert_type(record.key, bytes)
assert_type(record.value, bytes)
assert_type(record.headers, Headers)
assert_type(decode_request(None, record.headers), CompletionRequested)
assert_type(identity(None, (("x-request-id", None),), topic="t", partition=0, offset=1), str)
assert_type(TopicNames("it-").requests(Tier.HAIKU), str)
assert_type(TopicNames().tier("t"), Tier | None)
assert_type(CATALOGUE, tuple[Topic, ...])

try:
    event = decode(b"{}")
    assert_type(event, Event)
    match event:
        case CompletionSucceeded():
            assert_type(event.text, str)
        case CompletionFailed(failure=failure):
            assert_type(failure.code, FailureCode)
            assert_type(failure.code.meaning, str)
        case _:
            pass
except InvalidEvent as exc:
    assert_type(exc, InvalidEvent)
