"""Folds the server-sent events of a streamed answer into the message it spells.

Own code because it costs a third of the SDK's accumulation. Event boundaries do not fall on chunk
boundaries, UTF-8 may be split between chunks, and events, blocks and deltas of unknown kinds pass
without harm.
"""

from typing import Any, Final

from pydantic_core import from_json


class StreamError(Exception):
    """The API sent an `error` event: the answer will not be finished."""

    def __init__(self, body: Any) -> None:
        error = body.get("error") if isinstance(body, dict) else None
        error = error if isinstance(error, dict) else {}
        details = error.get("details")
        self.type: Final[str | None] = error.get("type")
        self.code: Final[str | None] = (
            details.get("error_code") if isinstance(details, dict) else None
        )
        super().__init__(str(error.get("message", "")))


class MessageFold:
    """One streamed message; `feed` it chunks until the stream ends."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.is_complete = False
        self._rest = b""
        self._json: dict[int, list[str]] = {}
        self._texts: dict[int, dict[str, list[str]]] = {}

    def feed(self, chunk: bytes) -> str:
        """Take in bytes; return the text that they added to the answer.

        Raises:
            StreamError: The API gave up in the middle.
            ValueError, TypeError, AttributeError, LookupError: An event is malformed.
        """
        *events, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        return "".join([self._take(event) for event in events])

    def _take(self, event: bytes) -> str:
        data = b"".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))
        if not data:
            return ""
        said = from_json(data)
        if not isinstance(said, dict):
            raise TypeError("an event's data is not a JSON object")
        match said.get("type"):
            case "content_block_delta":
                return self._delta(said["index"], said["delta"])
            case "content_block_start":
                self._blocks.append(said["content_block"])
            case "content_block_stop":
                self._close(said["index"])
            case "message_start":
                self.message = said["message"]
            case "message_delta":
                self._end(said)
            case "message_stop":
                self.is_complete = True
            case "error":
                raise StreamError(said)
        return ""

    @property
    def _blocks(self) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = self.message.setdefault("content", [])
        return blocks

    def _delta(self, index: int, delta: dict[str, Any]) -> str:
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._json.setdefault(index, []).append(delta["partial_json"])
        elif kind == "citations_delta":
            block = self._blocks[index]
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind in ("text_delta", "thinking_delta", "signature_delta"):
            name = kind.removesuffix("_delta")
            self._texts.setdefault(index, {}).setdefault(name, []).append(delta[name])
            return str(delta["text"]) if name == "text" else ""
        return ""

    def _close(self, index: int) -> None:
        block = self._blocks[index]
        for name, pieces in self._texts.pop(index, {}).items():
            block[name] = block.get(name, "") + "".join(pieces)
        written = self._json.pop(index, None)
        if written is not None:
            block["input"] = from_json("".join(written) or "{}")

    def _end(self, said: dict[str, Any]) -> None:
        self.message.update(said.get("delta") or {})
        # Cumulative counts: they replace, and some events carry the output's only.
        counts = {name: n for name, n in (said.get("usage") or {}).items() if n is not None}
        self.message["usage"] = {**(self.message.get("usage") or {}), **counts}
