"""What a record of an output topic says, as one line for a person or one object for a program.

Content that is `restricted` is left out of both, unless a person asks for it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from services.ops.printable import printable
from sluice_contracts import (
    CompletionFailed,
    CompletionRequested,
    CompletionSucceeded,
    DataClassification,
    Event,
    Headers,
    InvalidEvent,
    TopicNames,
    decode,
    identity,
)
from sluice_contracts import headers as h

Kind = Literal["succeeded", "failed", "dead-letter", "unreadable"]
_CONTENT: Final = ("content", "text", "output")
_HIDDEN: Final = "[restricted]"
_SHORT_ID: Final = 24
_SAID: Final = 72
"""How much of an answer or a reason a line shows, in characters."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One record of a result or dead-letter topic."""

    kind: Kind
    topic: str
    partition: int
    offset: int
    at: datetime
    tier: str
    request_id: str
    tenant: str | None
    headers: Headers
    event: Event | None

    @property
    def is_restricted(self) -> bool:
        """True where the content may not be shown; an unknown class counts as restricted."""
        known = getattr(self.event, "data_classification", None)
        return known is None or known is DataClassification.RESTRICTED


def observe(
    names: TopicNames,
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> Observed:
    """Read a record; one that is not of the contract is `unreadable`, never an error."""
    carried: Headers = tuple(headers)
    event: Event | None
    try:
        event = decode(value, carried)
    except InvalidEvent:
        event = None
    tier = names.tier(topic)
    kind: Kind = "unreadable"
    if tier is not None and topic == names.dead_letters(tier):
        kind = "dead-letter"
    elif isinstance(event, CompletionSucceeded):
        kind = "succeeded"
    elif isinstance(event, CompletionFailed):
        kind = "failed"
    return Observed(
        kind=kind,
        topic=topic,
        partition=partition,
        offset=offset,
        at=datetime.fromtimestamp(timestamp_ms / 1000, UTC),
        tier=str(tier if tier is not None else getattr(event, "tier", "?")),
        request_id=identity(value, carried, topic=topic, partition=partition, offset=offset),
        tenant=getattr(event, "tenant", None),
        headers=carried,
        event=event,
    )


def as_json(seen: Observed, *, show_restricted: bool = False) -> dict[str, Any]:
    """Return the record's place and what it says, fit for JSON."""
    facts: dict[str, Any] = {
        "kind": seen.kind,
        "topic": seen.topic,
        "partition": seen.partition,
        "offset": seen.offset,
        "at": seen.at.isoformat(),
        "tier": seen.tier,
        "request_id": seen.request_id,
    }
    if seen.kind == "dead-letter":
        facts |= {
            "failure": {
                "code": h.find(seen.headers, h.FAILURE_CODE),
                "detail": h.find(seen.headers, h.FAILURE_DETAIL),
            },
            "origin": {
                "topic": h.find(seen.headers, h.ORIGIN_TOPIC),
                "partition": h.find_int(seen.headers, h.ORIGIN_PARTITION),
                "offset": h.find_int(seen.headers, h.ORIGIN_OFFSET),
            },
        }
    elif isinstance(seen.event, CompletionSucceeded | CompletionFailed):
        event = json.loads(seen.event.model_dump_json())
        if seen.is_restricted and not show_restricted:
            event |= {name: _HIDDEN for name in _CONTENT if event.get(name)}
        facts["event"] = event
    return facts


def as_line(seen: Observed, *, show_restricted: bool = False) -> str:
    """Return the record as one line: when, tier, what, which request, and how it went."""
    shown_id = _shortened(seen.request_id, _SHORT_ID)
    start = f"{seen.at:%H:%M:%S}  {seen.tier:<6}  {seen.kind:<11}  {shown_id:<{_SHORT_ID}}"
    return printable(f"{start}  {_story(seen, show_restricted=show_restricted)}".rstrip())


def _story(seen: Observed, *, show_restricted: bool) -> str:
    event = seen.event
    hidden = seen.is_restricted and not show_restricted
    if seen.kind == "dead-letter":
        code = h.find(seen.headers, h.FAILURE_CODE)
        detail = h.find(seen.headers, h.FAILURE_DETAIL) or ""
        return f"{code}  {seen.partition}/{seen.offset}  {_shortened(detail, _SAID)}"
    if isinstance(event, CompletionSucceeded):
        prompt = event.prompt.name + (f"@{event.prompt.version}" if event.prompt.version else "")
        said = _HIDDEN if hidden else event.text
        tokens = f"{event.usage.input_tokens}→{event.usage.output_tokens} tokens"
        return (
            f"{prompt}  {tokens}  ${event.cost.amount}  {event.timing.total_ms / 1000:.2f} s  "
            f"{_shortened(said, _SAID)}"
        )
    if isinstance(event, CompletionFailed):
        cost = f"  ${event.cost.amount}" if event.cost else ""
        return (
            f"{event.failure.code}  {event.attempts} attempts{cost}  "
            f"{event.timing.total_ms / 1000:.2f} s  {_shortened(event.failure.detail, _SAID)}"
        )
    what = type(event).__name__ if isinstance(event, CompletionRequested) else "no known event"
    return f"{what}  {seen.topic}/{seen.partition}/{seen.offset}"


def _shortened(text: str, length: int) -> str:
    flat = printable(" ".join(text[: 4 * length].split()))
    return flat if len(flat) <= length else flat[: length - 1] + "…"
