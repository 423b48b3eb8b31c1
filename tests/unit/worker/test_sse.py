"""Folding a streamed answer into its message."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.sse import MessageFold, StreamError

EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"type": "message", "content": [], "stop_reason": None,
     "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0,
     "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "signature_delta", "signature": "sig"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüße "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "日本"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "of_tomorrow_delta"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2,
     "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 2,
     "delta": {"type": "input_json_delta", "partial_json": '{"a": '}},
    {"type": "content_block_delta", "index": 2,
     "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "event_of_tomorrow"},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
     "usage": {"output_tokens": 7, "input_tokens": None}},
    {"type": "message_stop"},
]  # fmt: skip
MESSAGE = {
    "type": "message",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "Grüße 日本"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 7},
}


def _wire(newline: str) -> bytes:
    lines = [
        f"event: {event['type']}{newline}"
        f"data: {json.dumps(event, ensure_ascii=False)}   {newline}{newline}"
        for event in EVENTS
    ]
    return "".join(lines).encode()


@given(st.lists(st.integers(1, 40), min_size=1), st.sampled_from(["\n", "\r\n"]))
def test_any_cut_of_the_bytes_gives_the_same_message(cuts: list[int], newline: str) -> None:
    """Events and characters may be split anywhere; what is unknown passes."""
    wire, fold, said, at = _wire(newline), MessageFold(), "", 0
    while at < len(wire):
        for size in cuts:
            said += fold.feed(wire[at : at + size])
            at += size
    assert (MESSAGE, "Grüße 日本", True) == (fold.message, said, fold.is_complete)


def test_an_error_event_ends_the_stream() -> None:
    """It says its type and, where it has one, its code."""
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow",
             "details": {"error_code": "ramp_limit_exceeded"}}}  # fmt: skip
    with pytest.raises(StreamError) as caught:
        MessageFold().feed(f"event: error\ndata: {json.dumps(error)}\n\n".encode())
    assert ("rate_limit_error", "ramp_limit_exceeded", "slow") == (
        caught.value.type,
        caught.value.code,
        str(caught.value),
    )


def test_recorded_streams_fold_to_finished_messages() -> None:
    """Every recorded stream of a success folds; those that end are complete."""
    file = Path(__file__).resolve().parents[4] / "shared" / "data/recorded/exchanges.jsonl.gz"
    if not file.exists():
        pytest.skip("the recordings are not on this machine")
    folded = incomplete = 0
    with gzip.open(file, "rt") as lines:
        for line in lines:
            response = json.loads(line)["response"]
            text = response.get("text") or ""
            if response["status"] != 200 or "event: message_start" not in text:
                continue
            fold = MessageFold()
            try:
                fold.feed(text.encode())
                fold.feed(b"\n\n")
            except StreamError:
                continue
            folded += 1
            incomplete += not fold.is_complete
            if fold.is_complete:
                assert fold.message["stop_reason"]
                assert fold.message["usage"]["output_tokens"] >= 0
    assert folded > 150
    assert incomplete <= folded // 20
