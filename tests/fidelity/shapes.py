"""What of an answer is compared: never its words, always its shape."""

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

_NUMBERS = re.compile(r"\d[\d,.]*")
_IDS = re.compile(
    r"\(?\b[0-9a-f]{8}-[0-9a-f-]{27}\b\)?|\b(?:req|msg|msgbatch|file)_\w+|claude-[\w.-]+"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one answer."""

    status: int
    headers: frozenset[str]
    body: frozenset[str]
    """Paths of JSON members, `usage.input_tokens`; what the model says is left out."""
    events: tuple[str, ...] = ()
    """SSE event and delta types, repetitions and pings left out."""
    ping: str | None = None
    """Behind how many events the only ping came, where there was one."""
    error: str | None = None
    """Type and message, numbers and ids left out."""
    content: list[dict[str, Any]] = field(default_factory=list)
    """What the model said in a stream: to be said again, not to be compared."""


def shape_of(status: int, headers: dict[str, str], text: str) -> Shape:
    """Return the shape of an answer."""
    names = frozenset(name.lower() for name in headers)
    if _is_stream(text):
        return _stream_shape(status, names, text)
    try:
        body = json.loads(text.strip().split("\n")[0] if _is_lines(text) else text or "{}")
    except json.JSONDecodeError:
        return Shape(status, names, frozenset({"<not JSON>"}))
    error = body.get("error") if isinstance(body, dict) else None
    return Shape(
        status,
        names,
        frozenset(_paths(body)),
        error=None if error is None else f"{error['type']}: {_worded(error['message'])}",
    )


def _is_lines(text: str) -> bool:
    return text.startswith('{"custom_id"')


def _is_stream(text: str) -> bool:
    return text.startswith(("event:", "data:"))


def _stream_shape(status: int, names: frozenset[str], text: str) -> Shape:
    events: list[str] = []
    paths: set[str] = set()
    pings: list[int] = []
    blocks: dict[int, dict[str, Any]] = {}
    partial: dict[int, str] = {}
    datas = _datas(text)
    for number, data in enumerate(datas):
        kind = data["type"]
        if kind == "ping":
            pings.append(number)
            continue
        delta = data.get("delta", {}).get("type") if kind == "content_block_delta" else None
        block = data.get("content_block", {}).get("type")
        named = ":".join(part for part in (kind, block, delta) if part)
        if not events or events[-1] != named:
            events.append(named)
        paths |= {f"{kind}.{path}" for path in _paths(data)}
        if kind == "content_block_start":
            blocks[data["index"]] = dict(data["content_block"])
        elif kind == "content_block_delta":
            _fold(blocks[data["index"]], partial, data)
    for index, raw in partial.items():
        with contextlib.suppress(json.JSONDecodeError):  # cut by max_tokens
            blocks[index]["input"] = json.loads(raw or "{}")
    return Shape(
        status,
        names,
        frozenset(paths),
        tuple(events),
        ping=" and ".join(map(str, pings)) or None,
        content=list(blocks.values()),
    )


def _datas(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.startswith("data:"):
            try:
                data = json.loads(line.removeprefix("data:"))
            except json.JSONDecodeError:
                continue
            if isinstance(data, dict) and "type" in data:
                found.append(data)
    return found


def _fold(block: dict[str, Any], partial: dict[int, str], data: dict[str, Any]) -> None:
    delta = data["delta"]
    match delta["type"]:
        case "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
        case "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
        case "input_json_delta":
            partial[data["index"]] = partial.get(data["index"], "") + delta["partial_json"]


def _paths(value: Any, prefix: str = "") -> list[str]:
    if not isinstance(value, dict):
        return []
    found = []
    for name, member in value.items():
        path = f"{prefix}{name}"
        if name in ("content", "input", "citation") or path.endswith("content_block"):
            continue  # what the model says
        found.append(path)
        found += _paths(member, f"{path}.")
    return found


def _worded(message: str) -> str:
    return _NUMBERS.sub("N", _IDS.sub("ID", message))
