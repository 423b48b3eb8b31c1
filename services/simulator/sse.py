"""An answer as server-sent events, in the order and with the quirks of recorded streams.

A ping comes right after the first block's start in three streams of four, two events later in one
of eight, and not at all in the rest; most events are padded with spaces before the last brace.
"""

import json
from random import Random
from typing import Any

from pydantic_core import to_json

from services.simulator.answers.answer import Answer

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
PING_FIRST_SHARE = 0.75
PING_LATER_SHARE = 0.12
PADDED_SHARE = 0.85


def event(data: dict[str, Any], random: Random, *, padded: bool) -> bytes:
    """Return one event."""
    text = to_json(data).decode()
    if padded:
        text = text[:-1] + " " * random.randrange(16) + "}"
    return f"event: {data['type']}\ndata: {text}\n\n".encode()


def error_event(kind: str, message: str, request_id: str) -> bytes:
    """Return the event that ends a stream which fails after its status was sent."""
    data = {
        "type": "error",
        "error": {"details": None, "type": kind, "message": message},
        "request_id": request_id,
    }
    text = json.dumps(data, separators=(",", ":"))
    return f"event: error\ndata: {text}\n\n".encode()


def events(message: dict[str, Any], answer: Answer) -> list[bytes]:
    """Return all events of an answer."""
    random = answer.random
    padded = random.random() < PADDED_SHARE
    datas = [_start(message, random)]
    for index, block in enumerate(message["content"]):
        datas += _block(index, block, random)
    datas += [_delta(message, random), {"type": "message_stop"}]
    made = [event(data, random, padded=padded) for data in datas]
    if message["content"]:
        draw = random.random()
        if draw < PING_FIRST_SHARE:
            made.insert(2, PING)
        elif draw < PING_FIRST_SHARE + PING_LATER_SHARE:
            made.insert(4, PING)
    return made


def _start(message: dict[str, Any], random: Random) -> dict[str, Any]:
    usage = {
        name: value for name, value in message["usage"].items() if name != "output_tokens_details"
    }
    usage["output_tokens"] = min(usage["output_tokens"], random.randrange(1, 9))
    opened = message | {"content": [], "stop_reason": None, "stop_sequence": None}
    return {"type": "message_start", "message": opened | {"stop_details": None, "usage": usage}}


def _delta(message: dict[str, Any], random: Random) -> dict[str, Any]:
    usage = message["usage"]
    shown = {"output_tokens": usage["output_tokens"]}
    if random.random() < 0.8:  # noqa: PLR2004 input counts are repeated in four of five
        counts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        shown = {name: usage[name] for name in counts} | shown
    if "output_tokens_details" in usage:
        shown["output_tokens_details"] = usage["output_tokens_details"]
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    return {"type": "message_delta", "delta": delta, "usage": shown}


def _block(index: int, block: dict[str, Any], random: Random) -> list[dict[str, Any]]:
    kind = block["type"]
    opened: dict[str, Any]
    deltas: list[dict[str, Any]]
    if kind == "text":
        opened = {"type": "text", "text": ""}
        deltas = [
            {"type": "citations_delta", "citation": citation}
            for citation in block.get("citations") or []
        ]
        deltas += [{"type": "text_delta", "text": part} for part in _pieces(block["text"], random)]
    elif kind == "thinking":
        opened = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": part}
            for part in _pieces(block["thinking"], random)
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        opened = {**block, "input": {}}
        whole = json.dumps(block["input"], ensure_ascii=False)
        deltas = [
            {"type": "input_json_delta", "partial_json": part}
            for part in ["", *_pieces(whole, random)]
        ]
    else:
        opened, deltas = block, []
    return [
        {"type": "content_block_start", "index": index, "content_block": opened},
        *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": index},
    ]


def _pieces(text: str, random: Random) -> list[str]:
    pieces = []
    at = 0
    while at < len(text):
        size = random.randrange(3, 60)
        pieces.append(text[at : at + size])
        at += size
    return pieces
