"""What the API says to one call, as it says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic_core import from_json

from services.worker.connection import KEY_USED


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said to one call, as it said it."""

    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_details: Mapping[str, Any]
    usage: Mapping[str, Any]
    request_id: str | None
    key_id: str | None

    @property
    def text(self) -> str:
        """The text blocks, joined: the first block may be thinking, and there may be none."""
        return "".join(b["text"] for b in self.content if b.get("type") == "text" and b.get("text"))


class NotAMessage(Exception):  # noqa: N818
    """A success whose body is not the JSON object that was asked for."""


def read_body(response: httpx2.Response) -> dict[str, Any]:
    """Read a success's body, which must be a JSON object.

    Raises:
        NotAMessage: It is none; an edge may answer 200 with a page.
    """
    try:
        body = from_json(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        kind = response.headers.get("content-type", "no content type")
        raise NotAMessage(f"the body is not a JSON object ({kind})")
    return body


def read_answer(message: dict[str, Any], response: httpx2.Response) -> Answer:
    """Read a message, whole from its body or folded from a stream.

    Raises:
        NotAMessage: It has not the shape of one.
    """
    if message.get("type") != "message" or not isinstance(message.get("content"), list):
        raise NotAMessage(f"the body is of type {message.get('type')!r}, not a message")
    return Answer(
        model=str(message.get("model")),
        content=message["content"],
        stop_reason=message.get("stop_reason"),
        stop_details=message.get("stop_details") or {},
        usage=message.get("usage") or {},
        request_id=response.headers.get("request-id"),
        key_id=KEY_USED.get(),
    )
