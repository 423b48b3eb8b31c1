"""What a replay may change, and what it takes off a record on its way back."""

import json
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from pydantic import ValidationError

from services.ops.dead_letters.letter import Letter
from services.ops.replay.edit import Edit, EditRefused, headers_of, merge_patch
from sluice_contracts import Tier

BODY = b'{"request_id":"r1","prompt":"triage@1","max_tokens":9,"variables":{"a":1},"x":0.1}'


def _letter(body: bytes | None = BODY, **said: str) -> Letter:
    headers = tuple((name.replace("_", "-"), value.encode()) for name, value in said.items())
    record: Any = ConsumerRecord("t", 2, 7, 0, 0, b"k", body, None, 0, 0, headers)
    return Letter(Tier.HAIKU, record)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_rfc_7386(target: Any, patch: Any, expected: Any) -> None:
    """The cases of the standard's appendix."""
    assert expected == merge_patch(target, patch)


def test_without_an_edit_the_bytes_stay() -> None:
    """Even bytes that are no request."""
    assert BODY == Edit(tier=Tier.OPUS).apply(_letter())
    assert b"no JSON" == Edit().apply(_letter(b"no JSON"))
    assert Edit().apply(_letter(None)) is None


def test_an_edit_leaves_the_rest_alone() -> None:
    """Unknown fields and numbers survive."""
    edited = Edit(prompt="@3", max_tokens=20, merge_patch={"variables": {"b": 2}}).apply(_letter())
    assert {
        "request_id": "r1",
        "prompt": "triage@3",
        "max_tokens": 20,
        "variables": {"a": 1, "b": 2},
        "x": 0.1,
    } == json.loads(edited or b"")


def test_another_prompt_is_named_whole() -> None:
    """`name@version` replaces, `@version` needs a prompt to begin with."""
    assert b'"prompt":"other@1"' in (Edit(prompt="other@1").apply(_letter()) or b"")
    with pytest.raises(EditRefused, match="names no prompt"):
        Edit(prompt="@2").apply(_letter(b'{"request_id":"r","messages":[]}'))


@pytest.mark.parametrize(
    ("patch", "body", "why"),
    [
        ({"max_tokens": 0}, BODY, "no request: max_tokens"),
        ({"prompt": None}, BODY, "no request"),
        ({"max_tokens": 5}, b"[1]", "no JSON object"),
        ({"max_tokens": 5}, b"\xff", "no JSON object"),
    ],
)
def test_what_would_be_no_request_is_refused(patch: dict[str, Any], body: bytes, why: str) -> None:
    """Nothing is sent that the worker could not read."""
    with pytest.raises(EditRefused, match=why):
        Edit(merge_patch=patch).apply(_letter(body))


def test_the_request_keeps_its_name() -> None:
    """The caller waits for that id."""
    with pytest.raises(ValidationError, match="request_id"):
        Edit(merge_patch={"request_id": "other"})


def test_a_replayed_request_begins_anew() -> None:
    """The caller's headers stay; of ours only the place in the chain of replays."""
    letter = _letter(
        ce_type="claude.completion.requested.v1", traceparent="00-1", x_shop="7",
        x_request_id="r1", x_root_id="r0", x_generation="1", x_attempt="4", x_not_before="9",
        x_failure_code="refused", x_origin_topic="t", x_attempt_history="1 refused",
        x_replay_id="older", x_tenant="a",
    )  # fmt: skip
    record: Any = letter.record
    record.headers += (("ce_type", b"claude.completion.requested.v1"), ("kafka_dlt-x", b"1"))
    assert {
        "ce-type": b"claude.completion.requested.v1",
        "ce_type": b"claude.completion.requested.v1",
        "traceparent": b"00-1",
        "x-shop": b"7",
        "x-request-id": b"r1",
        "x-generation": b"2",
        "x-root-id": b"r0",
        "x-replay-id": b"plan-1",
    } == dict(headers_of(letter, "plan-1", 2))
