"""Which headers travel with a request, and what its retries and its outcome add. Values only.

A caller may write any header. So of those on a request only a retry's say anything about its past,
and only where a worker wrote them: `Hop.read`.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from math import ceil
from typing import Final, NamedTuple, Self

from sluice_contracts import headers as h
from sluice_contracts.headers import AnyHeaders, Headers

SPRING: Final = "kafka_dlt-original-"
"""What other Kafka tools read to send a dead letter back; written beside our own."""
MOST_ATTEMPTS: Final = 1_000
"""More than any setting allows: a larger number in a header is a stranger's."""
_HISTORY_KEPT: Final = 20
_INT, _LONG = 2**31, 2**63
_OF_THE_PATH: Final = h.OURS - {h.REPLAY_ID, h.ROOT_ID}
"""Ours, about one way of a record through the system; never copied on as if the caller's."""


class Origin(NamedTuple):
    """Where and when a request was first published."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def headers(self) -> dict[str, str | None]:
        """As headers."""
        return {
            h.ORIGIN_TOPIC: self.topic,
            h.ORIGIN_PARTITION: str(self.partition),
            h.ORIGIN_OFFSET: str(self.offset),
            h.ORIGIN_TIMESTAMP: str(self.timestamp_ms),
        }


def digest(value: bytes | None) -> str:
    """Digest a request's body, to tell copies by; not a signature."""
    return blake2b(value or b"", digest_size=8).hexdigest()


def of_the_caller(headers: AnyHeaders) -> Headers:
    """Return what the caller put on the request for its own use, trace context included."""
    return tuple(
        pair
        for pair in headers
        if pair[0] not in _OF_THE_PATH
        and (pair[0] not in h.CLOUDEVENTS or pair[0] == h.TRACEPARENT)
        and not pair[0].startswith(("ce_", SPRING))
    )


def on_outcome(
    headers: AnyHeaders, origin: Origin, *, generation: int, attempts: int, body: str | None
) -> Headers:
    """Return the headers of an outcome beside those of its event.

    Args:
        headers: Of the request's record.
        origin: Of the request.
        generation: Of the request.
        attempts: That were made.
        body: The digest of the request's body. None where it was refused for having another body
            than an earlier one of its id: that must not be taken for the id's own.
    """
    added: dict[str, str | None] = {
        **origin.headers,
        h.GENERATION: str(generation),
        h.ATTEMPT: str(attempts),
        h.REQUEST_DIGEST: body,
    }
    return h.with_headers(of_the_caller(headers), added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What a worker writes on a request that goes to a retry topic, and reads when it is back."""

    return_topic: str
    """The request topic it goes back to, on the partition number it rests on."""
    origin: Origin
    attempts: int
    """Tries that are used up."""
    not_before_ms: int
    """Milliseconds since 1970 from which it may be tried again."""
    failing_since: datetime
    """When the first attempt failed."""
    history: tuple[str, ...] = ()
    """The last failed attempts, oldest first: number, code and time."""
    outcome_topic: str | None = None
    """Where the outcome goes instead of the tier's result topic: a `reply_to` that is allowed."""

    @classmethod
    def read(cls, headers: AnyHeaders, value: bytes | None) -> Self | None:
        """Read a hop; None where the headers are not as a worker writes them on this body.

        They can be forged by whoever may write to the topic, which harms that request alone.
        """
        return_topic, since = h.find(headers, h.RETURN_TOPIC), h.find(headers, h.FAILING_SINCE)
        not_before = h.find_int(headers, h.NOT_BEFORE)
        origin = _origin(headers)
        if not return_topic or origin is None or not_before is None or since is None:
            return None
        if h.find(headers, h.REQUEST_DIGEST) != digest(value):
            return None
        try:
            failing_since = datetime.fromisoformat(since)
        except ValueError:
            return None
        if failing_since.tzinfo is None:
            return None
        return cls(
            return_topic=return_topic,
            origin=origin,
            attempts=min(h.find_int(headers, h.ATTEMPT) or 0, MOST_ATTEMPTS),
            not_before_ms=not_before,
            failing_since=failing_since,
            history=tuple(filter(None, (h.find(headers, h.ATTEMPT_HISTORY) or "").split(";"))),
            outcome_topic=h.find(headers, h.OUTCOME_TOPIC),
        )

    def on(self, headers: AnyHeaders, value: bytes | None, said: dict[str, str | None]) -> Headers:
        """Return a request's headers with this hop's; none of the caller's own making stays.

        Args:
            headers: Of the request's record.
            value: Of the request's record.
            said: Headers about the request and its last failure.
        """
        changes = {
            **said,
            **self.origin.headers,
            h.RETURN_TOPIC: self.return_topic,
            h.OUTCOME_TOPIC: self.outcome_topic,
            h.ATTEMPT: str(self.attempts),
            h.NOT_BEFORE: str(self.not_before_ms),
            h.FAILING_SINCE: self.failing_since.isoformat(),
            h.ATTEMPT_HISTORY: joined(self.history),
            h.REQUEST_DIGEST: digest(value),
        }
        return h.with_headers(headers, changes)


def joined(history: tuple[str, ...]) -> str:
    """Write failed attempts as one header; the oldest are dropped when there are many."""
    return ";".join(history[-_HISTORY_KEPT:])


def milliseconds(moment: datetime) -> int:
    """Return a moment in milliseconds since 1970, rounded upwards: never early."""
    return ceil(moment.timestamp() * 1000)


def _origin(headers: AnyHeaders) -> Origin | None:
    topic = h.find(headers, h.ORIGIN_TOPIC)
    numbers = [
        h.find_int(headers, name)
        for name in (h.ORIGIN_PARTITION, h.ORIGIN_OFFSET, h.ORIGIN_TIMESTAMP)
    ]
    partition, offset, timestamp_ms = (-1 if number is None else number for number in numbers)
    is_sound = 0 <= partition < _INT and 0 <= offset < _LONG and 0 <= timestamp_ms < _LONG
    return Origin(topic, partition, offset, timestamp_ms) if topic and is_sound else None
