"""Bytes become events or one kind of error, and events become bytes again."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sluice_contracts import (
    ActionAudited,
    CompletionRequested,
    InvalidEvent,
    decode,
    decode_audit,
    decode_request,
    encode,
    identity,
)
from sluice_contracts.headers import CE_TYPE, CONTENT_TYPE, REQUEST_ID, Headers, find
from sluice_contracts.schemas import event_schema
from sluice_contracts.topics import CANCELLATION_TYPE, REQUEST_TYPE
from tests.contracts.malformed import KINDS, Malformed, malformed, request, samples

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCHEMA = jsonschema.Draft202012Validator(event_schema(REQUEST_TYPE))
STRUCTURED: Headers = ((CONTENT_TYPE, b"application/cloudevents+json; charset=utf-8"),)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
fields = sorted(CompletionRequested.model_fields)
requestlike = st.dictionaries(st.sampled_from(fields), anything, max_size=6).map(
    lambda drawn: request(**drawn)
)
plausible = st.fixed_dictionaries(
    {"request_id": st.text(min_size=1, max_size=128), "prompt": st.text(max_size=20)},
    optional={
        "variables": st.dictionaries(st.text(), anything, max_size=3),
        "messages": st.lists(
            st.fixed_dictionaries(
                {
                    "role": st.sampled_from(["user", "assistant", "system"]),
                    "content": st.text()
                    | st.lists(anything.map(lambda extra: {"type": "text", "extra": extra})),
                }
            ),
            max_size=3,
        ),
        "max_tokens": st.integers(1, 2**31 - 1) | st.none(),
        "deadline": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
        "priority": st.sampled_from(["interactive", "standard", "bulk"]),
        "metadata": st.dictionaries(st.text(), st.text(), max_size=32),
        "unknown": anything,
    },
)


def raw(value: Any) -> bytes:
    """Write JSON as a careless publisher would, NaN included."""
    return json.dumps(value).encode()


def structured(**attributes: Any) -> bytes:
    """Write a CloudEvent whose attributes stand in the body."""
    return raw(
        {"specversion": "1.0", "id": "1", "source": "/test", "type": REQUEST_TYPE} | attributes
    )


@given(st.binary(max_size=2_000) | anything.map(raw) | requestlike.map(raw) | plausible.map(raw))
@settings(max_examples=300, deadline=None)
@example(b'{"request_id":"a","prompt":"p","unknown":' + b"[" * 150 + b"]" * 150 + b"}")
def test_decodes_or_raises_invalid_event(value: bytes) -> None:
    """Any bytes are an event or an InvalidEvent, and what is an event can be written and read."""
    try:
        event = decode(value)
    except InvalidEvent:
        return
    written = encode(event, source="/test", time=NOW)
    assert event == decode(written.value, written.headers)


@given(requestlike | plausible)
@settings(max_examples=200, deadline=None)
def test_accepts_only_what_the_schema_accepts(value: dict[str, Any]) -> None:
    """Whatever decodes validates against the published schema."""
    try:
        decode_request(raw(value))
    except InvalidEvent:
        return
    SCHEMA.validate(value)


@given(malformed())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_refuses_what_is_malformed(record: Malformed) -> None:
    """A malformed record is refused quickly, with one line, and still has an identity."""
    started = time.process_time()
    with pytest.raises(InvalidEvent) as refusal:
        decode_request(record.value, record.headers)
    assert len(str(refusal.value)) < 1_000, record.kind
    assert time.process_time() - started < 1, record.kind
    assert identity(record.value, record.headers, topic="t", partition=1, offset=2), record.kind


@pytest.mark.parametrize(
    "value",
    [
        {"request_id": "hush-hush", "prompt": 1},
        request(messages=[{"role": "hush-hush", "content": {"hush-hush": "hush-hush"}}]),
        request(metadata={"hush-hush": 1}),
        request(priority="hush-hush", data_classification="hush-hush", effort="hush-hush"),
        request(deadline="hush-hush", max_tokens="hush-hush", stream="hush-hush"),
        request(reply_to="hush-hush" * 100, tools=["hush-hush" * 100], output_schema="hush-hush"),
        request(system="hush-hush"),
    ],
)
def test_never_quotes_content(value: dict[str, Any]) -> None:
    """The text of a refusal holds neither values nor the caller's own keys."""
    with pytest.raises(InvalidEvent) as refusal:
        decode_request(raw(value))
    assert "hush" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_names_the_field_and_the_remedy() -> None:
    """A refusal says where, what and what to do."""
    with pytest.raises(InvalidEvent) as refusal:
        decode_request(raw({"request_id": "a"}))
    assert "body: one of 'prompt' and 'messages' is required; give either" == str(refusal.value)
    with pytest.raises(InvalidEvent) as refusal:
        decode_request(raw(request(messages=[{"role": "bot", "content": "hi"}])))
    assert "messages.0.role: Input should be 'user', 'assistant' or 'system'" == str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        request(variables={"list": [0.5] * 200_000}),
        request(**{f"unknown{number}": number for number in range(50_000)}),
        {"request_id": "a", "messages": [{"role": "user", "content": [{"type": "text"}] * 50_000}]},
    ],
    ids=["numbers", "unknown fields", "blocks"],
)
def test_a_hostile_megabyte_is_read_in_passing(value: dict[str, Any]) -> None:
    """A megabyte of many small things holds the loop for less than a second."""
    encoded = raw(value)
    started = time.process_time()
    decode_request(encoded)
    assert time.process_time() - started < 1


def test_requests_stay_as_they_were_said() -> None:
    """What upstream left out is left out again; what it said stays, even if it is the default."""
    said = request(priority="standard")
    assert said == json.loads(encode(decode_request(raw(said)), source="/t", time=NOW).value)


def test_reads_structured_mode() -> None:
    """An event whose CloudEvents attributes stand in the body is read by its data."""
    expected = decode_request(raw(request()))
    assert expected == decode_request(structured(data=request()), STRUCTURED)
    packed = base64.b64encode(raw(request())).decode()
    assert expected == decode_request(structured(data_base64=packed), STRUCTURED)
    cancelled = {"request_id": "a", "reason": "r", "requested_by": "me"}
    assert "a" == decode(structured(type=CANCELLATION_TYPE, data=cancelled), STRUCTURED).request_id


@pytest.mark.parametrize(
    "value",
    [
        structured(),
        structured(data=None),
        structured(data=[1]),
        structured(data={"prompt": float("nan")}),
        structured(data=request(variables={"a": float("nan")})),
        structured(data_base64="not base64!"),
        structured(type="claude.completion.requested.v2", data=request()),
        raw(request()),
        b"[" * 1_000_000,
    ],
)
def test_refuses_broken_structured_mode(value: bytes) -> None:
    """A structured event without readable data is an InvalidEvent."""
    with pytest.raises(InvalidEvent):
        decode_request(value, STRUCTURED)


def test_reads_bare_json_and_binary_mode() -> None:
    """A value without CloudEvents headers is a request; with them the type decides."""
    assert "malformed" == decode(raw(request())).request_id
    typed: Headers = ((CE_TYPE, REQUEST_TYPE.encode()), (CONTENT_TYPE, None))
    assert "malformed" == decode(raw(request()), typed).request_id
    with pytest.raises(InvalidEvent, match="on a request topic"):
        decode_request(raw(request()), ((CE_TYPE, CANCELLATION_TYPE.encode()),))
    with pytest.raises(InvalidEvent, match="a malformed type"):
        decode(raw(request()), ((CE_TYPE, b"Some Words"),))


def test_encodes_cloudevents_in_binary_mode() -> None:
    """The record carries the CloudEvents headers, the id as key, and what was added."""
    event = decode_request(raw(request()))
    record = encode(event, source="/me", time=NOW, event_id="e1", extra=(("x-attempt", b"2"),))
    expected = (
        ("ce_id", b"e1"),
        ("ce_type", REQUEST_TYPE.encode()),
        ("ce_source", b"/me"),
        ("ce_specversion", b"1.0"),
        ("ce_time", b"2026-01-31T12:00:00+00:00"),
        ("content-type", b"application/json"),
        ("x-request-id", b"malformed"),
        ("x-attempt", b"2"),
    )
    assert expected == record.headers
    assert b"malformed" == record.key
    assert b"order-7" == encode(event, source="/me", time=NOW, key="order-7").key


def test_audits_have_a_codec_of_their_own() -> None:
    """What a person did is keyed by the room, a call by its tenant; a request is neither."""
    audit = ActionAudited(action="request.cancelled", subject="a", who="me", why="late", at=NOW)
    record = encode(audit, source="/sluice/ops", time=NOW)
    assert b"ops" == record.key
    assert REQUEST_ID not in dict(record.headers)
    assert audit == decode_audit(record.value, record.headers)
    with pytest.raises(InvalidEvent, match="not one of this topic's"):
        decode(record.value, record.headers)
    with pytest.raises(InvalidEvent, match="not one of this topic's"):
        decode_audit(raw(request()), ())


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (raw({"request_id": "a"}), (), "a"),
        (raw({"request_id": "a", "prompt": 1}), ((REQUEST_ID, b"h"),), "a"),
        (raw({"request_id": 1}), ((REQUEST_ID, b"h"),), "h"),
        (raw({"request_id": "x" * 129}), ((REQUEST_ID, b"h"),), "h"),
        (b"\xff", ((REQUEST_ID, b"h"),), "h"),
        (b"[" * 1_000_000, ((REQUEST_ID, b"h"),), "h"),
        (None, ((REQUEST_ID, b"h"),), "h"),
        (None, ((REQUEST_ID, b"\xff"),), "topic/3/4"),
        (None, ((REQUEST_ID, b""),), "topic/3/4"),
        (None, ((REQUEST_ID, None),), "topic/3/4"),
        (None, ((REQUEST_ID, b"x" * 129),), "topic/3/4"),
        (None, (), "topic/3/4"),
        (structured(data={"request_id": "s"}), STRUCTURED, "s"),
    ],
)
def test_identity(value: bytes | None, headers: Headers, expected: str) -> None:
    """The body names the request, else the header, else the record's place."""
    assert expected == identity(value, headers, topic="topic", partition=3, offset=4)


@given(st.lists(st.tuples(st.sampled_from(["ce_type", "content-type"]), st.none() | st.binary())))
def test_any_headers_are_survived(headers: list[tuple[str, bytes | None]]) -> None:
    """Header values of any bytes, and null ones, never raise anything but InvalidEvent."""
    try:
        decode(raw(request()), tuple(headers))
    except InvalidEvent:
        assert find(tuple(headers), CE_TYPE) or find(tuple(headers), CONTENT_TYPE)


def test_samples_are_many_mixed_and_the_same_each_time() -> None:
    """A run of malformed records can be repeated, sees every kind, and is refused throughout."""
    drawn = list(samples(600))
    assert 600 == len(drawn)
    assert KINDS.keys() == {record.kind for record in drawn}
    assert drawn == list(samples(600))
    for record in drawn:
        with pytest.raises(InvalidEvent):
            decode_request(record.value, record.headers)
