"""Bytes become events here and nowhere else; pure functions, no client, no I/O."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import uuid4

from pydantic import Base64Bytes, BaseModel, ValidationError

from sluice_contracts import headers as h
from sluice_contracts.audits import ActionAudited, Audit, CallAudited
from sluice_contracts.events import (
    CancellationRequested,
    CompletionChunk,
    CompletionFailed,
    CompletionRequested,
    CompletionSucceeded,
    Event,
)
from sluice_contracts.headers import AnyHeaders, Headers
from sluice_contracts.parsing import InvalidEvent, explain, parse
from sluice_contracts.topics import (
    ACTION_AUDITED_TYPE,
    CALL_AUDITED_TYPE,
    CANCELLATION_TYPE,
    CHUNK_TYPE,
    FAILED_TYPE,
    REQUEST_TYPE,
    SUCCEEDED_TYPE,
)
from sluice_contracts.values import REQUEST_ID_LENGTH, RequestId

TYPES: Final[dict[str, type[Event]]] = {
    REQUEST_TYPE: CompletionRequested,
    SUCCEEDED_TYPE: CompletionSucceeded,
    FAILED_TYPE: CompletionFailed,
    CHUNK_TYPE: CompletionChunk,
    CANCELLATION_TYPE: CancellationRequested,
}
AUDIT_TYPES: Final[dict[str, type[Audit]]] = {
    CALL_AUDITED_TYPE: CallAudited,
    ACTION_AUDITED_TYPE: ActionAudited,
}
_NAMES: Final = {cls: name for name, cls in (*TYPES.items(), *AUDIT_TYPES.items())}
_CLOUDEVENTS: Final = "application/cloudevents"
_STRUCTURED: Final = "application/cloudevents+json"
_NAME: Final = re.compile(r"[a-z0-9.-]{1,100}")
_E = TypeVar("_E", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record ready to produce."""

    key: bytes
    value: bytes
    headers: Headers


def encode(
    event: Event | Audit,
    *,
    source: str,
    time: datetime,
    key: str | bytes | None = None,
    extra: Headers = (),
    event_id: str | None = None,
) -> Encoded:
    """Encode an event as a CloudEvent in Kafka binary mode.

    Args:
        event: What is said.
        source: The CloudEvents source, for example `/sluice/worker`.
        time: When it was said, with a zone.
        key: The record's key; default: the request id, the tenant of an audited call.
        extra: Headers to add after the CloudEvents ones.
        event_id: The CloudEvents id; default: random. Give one where a repeat must be recognised.
    """
    named: Headers = ()
    if not isinstance(event, ActionAudited):
        named = ((h.REQUEST_ID, event.request_id.encode()),)
    ours: Headers = (
        (h.CE_ID, (event_id or uuid4().hex).encode()),
        (h.CE_TYPE, _NAMES[type(event)].encode()),
        (h.CE_SOURCE, source.encode()),
        (h.CE_SPECVERSION, b"1.0"),
        (h.CE_TIME, time.isoformat().encode()),
        (h.CONTENT_TYPE, h.JSON.encode()),
        *named,
    )
    raw_key = _default_key(event) if key is None else key
    # What upstream did not say stays unsaid; outcomes spell out everything for their readers.
    body = event.model_dump_json(exclude_unset=isinstance(event, CompletionRequested))
    return Encoded(
        key=raw_key if isinstance(raw_key, bytes) else raw_key.encode(),
        value=body.encode(),
        headers=ours + extra,
    )


def _default_key(event: Event | Audit) -> str:
    if isinstance(event, ActionAudited):
        return "ops"
    return event.tenant if isinstance(event, CallAudited) else event.request_id


def decode(value: bytes | None, headers: AnyHeaders = ()) -> Event:
    """Decode any event by its CloudEvents type; a record without one is read as a request.

    Binary mode, structured mode (`application/cloudevents+json`) and bare JSON are read.

    Raises:
        InvalidEvent: The bytes are not such an event.
    """
    name, body = _open(value, headers)
    return parse(_known(name, TYPES), body)


def decode_audit(value: bytes | None, headers: AnyHeaders) -> Audit:
    """Decode a record of the audit topic by its CloudEvents type.

    Raises:
        InvalidEvent: The bytes are not such an event.
    """
    name, body = _open(value, headers)
    return parse(_known(name, AUDIT_TYPES), body)


def decode_request(value: bytes | None, headers: AnyHeaders = ()) -> CompletionRequested:
    """Decode a request; the same modes as `decode`.

    Raises:
        InvalidEvent: The bytes are not a request.
    """
    name, body = _open(value, headers)
    if name != REQUEST_TYPE:
        raise InvalidEvent(f"{_typed(name)} on a request topic; send {REQUEST_TYPE!r}")
    return parse(CompletionRequested, body)


def identity(
    value: bytes | None, headers: AnyHeaders, *, topic: str, partition: int, offset: int
) -> str:
    """Name the request of a record that need not be readable.

    The body's `request_id` where it can be read, else the header `x-request-id`, else
    `<topic>/<partition>/<offset>`.
    """
    try:
        _, body = _open(value, headers)
        return _Identified.model_validate_json(body, strict=True).request_id
    except (InvalidEvent, ValidationError):
        pass
    named = h.find(headers, h.REQUEST_ID)
    if named and len(named) <= REQUEST_ID_LENGTH:
        return named
    return f"{topic}/{partition}/{offset}"


class _Identified(BaseModel):
    request_id: RequestId


class _Structured(BaseModel):
    """A CloudEvent in structured mode: its attributes stand beside its data."""

    type: str
    data: Any = None
    data_base64: Base64Bytes | None = None

    @property
    def body(self) -> bytes:
        return self.data_base64 or json.dumps(self.data).encode()


def _open(value: bytes | None, headers: AnyHeaders) -> tuple[str, bytes]:
    """Return an event's type and the bytes of its data."""
    if value is None:
        raise InvalidEvent("the value is null; send a JSON object")
    content_type = (h.find(headers, h.CONTENT_TYPE) or h.JSON).lower()
    if not content_type.startswith(_CLOUDEVENTS):
        return h.find(headers, h.CE_TYPE) or REQUEST_TYPE, value
    if not content_type.startswith(_STRUCTURED):
        raise InvalidEvent(f"of structured modes only {_STRUCTURED!r} is read; send that or JSON")
    try:
        event = _Structured.model_validate_json(value)
    except ValidationError as exc:
        raise InvalidEvent(explain(exc)) from None  # the cause would quote the content
    return event.type, event.body


def _known(name: str, types: Mapping[str, type[_E]]) -> type[_E]:
    if name not in types:
        known = ", ".join(sorted(types))
        raise InvalidEvent(f"{_typed(name)} is not one of this topic's; known: {known}")
    return types[name]


def _typed(name: str) -> str:
    """Quote a type that looks like one; anything else may be content that lost its way."""
    return f"type {name!r}" if _NAME.fullmatch(name) else "a malformed type"
