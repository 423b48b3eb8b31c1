"""The header names of a record: CloudEvents 1.0 binary mode, W3C trace context, and ours."""

from collections.abc import Sequence
from typing import Final

CE_ID: Final = "ce_id"
CE_TYPE: Final = "ce_type"
CE_SOURCE: Final = "ce_source"
CE_SPECVERSION: Final = "ce_specversion"
CE_TIME: Final = "ce_time"
CONTENT_TYPE: Final = "content-type"
TRACEPARENT: Final = "traceparent"

REQUEST_ID: Final = "x-request-id"
GENERATION: Final = "x-generation"
ATTEMPT: Final = "x-attempt"
NOT_BEFORE: Final = "x-not-before"
ORIGIN_TOPIC: Final = "x-origin-topic"
ORIGIN_PARTITION: Final = "x-origin-partition"
ORIGIN_OFFSET: Final = "x-origin-offset"
ORIGIN_TIMESTAMP: Final = "x-origin-timestamp"
FAILURE_CODE: Final = "x-failure-code"
FAILURE_DETAIL: Final = "x-failure-detail"
REPLAY_ID: Final = "x-replay-id"
ROOT_ID: Final = "x-root-id"
TENANT: Final = "x-tenant"
PROMPT: Final = "x-prompt"
FAILURE_REASON: Final = "x-failure-reason"
ATTEMPT_HISTORY: Final = "x-attempt-history"
FIRST_TIME: Final = "x-first-time"
LAST_TIME: Final = "x-last-time"
API_ERROR_TYPE: Final = "x-api-error-type"
API_REQUEST_ID: Final = "x-api-request-id"
WORKER_VERSION: Final = "x-worker-version"
REQUEST_DIGEST: Final = "x-request-digest"
RETURN_TOPIC: Final = "x-return-topic"
OUTCOME_TOPIC: Final = "x-outcome-topic"
FAILING_SINCE: Final = "x-failing-since"
ORIGINAL_KEY: Final = "x-original-key"

JSON: Final = "application/json"

Headers = tuple[tuple[str, bytes | None], ...]
"""Kafka record headers in order; a name may repeat, and then the last one counts.

A value may be null: Kafka allows it and aiokafka hands it over.
"""
AnyHeaders = Sequence[tuple[str, bytes | None]]
"""Headers as the clients hand them over: aiokafka a tuple, confluent-kafka a list."""
_LONGEST_INT: Final = 19
"""Digits of the largest 64-bit integer; `int()` itself refuses very long ones."""

MEANINGS: Final = {
    CE_ID: "The event's own id; the same id from the same source is the same event.",
    CE_TYPE: "Which event the value is; a record without it is read as a request.",
    CE_SOURCE: "Who says it, a URI reference, for example `/sluice/worker`.",
    CE_SPECVERSION: "`1.0`.",
    CE_TIME: "When it was said, RFC 3339.",
    CONTENT_TYPE: "`application/json`; requests may also be `application/cloudevents+json`.",
    TRACEPARENT: "W3C trace context; an outcome carries on its request's trace.",
    REQUEST_ID: "The request's id, readable without the value.",
    GENERATION: "0, then one more with each replay.",
    ATTEMPT: "How often the request was tried before this record was written.",
    NOT_BEFORE: "On a retry: the relay puts it back no earlier, milliseconds since 1970.",
    ORIGIN_TOPIC: "Where the request was first published: topic.",
    ORIGIN_PARTITION: "Where the request was first published: partition.",
    ORIGIN_OFFSET: "Where the request was first published: offset.",
    ORIGIN_TIMESTAMP: "When the request was first published, milliseconds since 1970.",
    FAILURE_CODE: "On a dead letter or a retry: the last failure's code.",
    FAILURE_DETAIL: "On a dead letter or a retry: the last failure, in words without content.",
    REPLAY_ID: "The replay plan that put the record back.",
    ROOT_ID: "The request id at the root of a chain of replays; never changes.",
    TENANT: "On a dead letter: the request's tenant, where it could be read.",
    PROMPT: "On a dead letter: the request's prompt, where it could be read.",
    FAILURE_REASON: "On a dead letter: the failure without what varies between requests.",
    ATTEMPT_HISTORY: "On a dead letter or a retry: the failed attempts, oldest first.",
    FIRST_TIME: "On a dead letter: when the request was published, RFC 3339.",
    LAST_TIME: "On a dead letter: when it failed for good, RFC 3339.",
    API_ERROR_TYPE: "On a dead letter: the API's own word for the error.",
    API_REQUEST_ID: "On a dead letter: the API's id of the last call.",
    WORKER_VERSION: "On a dead letter: the version of Sluice that wrote it.",
    REQUEST_DIGEST: "On an outcome or a retry: a digest of the request's body, to tell copies by.",
    RETURN_TOPIC: "On a retry: the request topic it goes back to, on its own partition number.",
    OUTCOME_TOPIC: "On a retry: where its outcome goes instead of the tier's result topic.",
    FAILING_SINCE: "On a retry: when the first attempt failed, RFC 3339.",
    ORIGINAL_KEY: "`null` on a dead letter whose key is ours, because it had no key and no value.",
}
"""Every header with a meaning of its own; the caller's other headers travel along unchanged."""

CLOUDEVENTS: Final = frozenset(
    {CE_ID, CE_TYPE, CE_SOURCE, CE_SPECVERSION, CE_TIME, CONTENT_TYPE, TRACEPARENT}
)
"""What CloudEvents and W3C define."""

OURS: Final = frozenset(MEANINGS) - CLOUDEVENTS
"""What Sluice adds."""


def find(headers: AnyHeaders, name: str) -> str | None:
    """Return the last value of a header as text, or None where it is absent, null or not UTF-8."""
    for key, value in reversed(headers):
        if key == name:
            try:
                return None if value is None else value.decode()
            except UnicodeDecodeError:
                return None
    return None


def find_int(headers: AnyHeaders, name: str) -> int | None:
    """Return a header as a non-negative integer, or None where it is absent or no such number."""
    text = find(headers, name) or ""
    is_number = len(text) <= _LONGEST_INT and text.isascii() and text.isdigit()
    return int(text) if is_number else None


def with_headers(headers: AnyHeaders, changes: dict[str, str | None]) -> Headers:
    """Return the headers with some set (text) or removed (None); order of the rest is kept.

    A lone surrogate in a text becomes `?`: the detail of an error may hold anything.
    """
    kept = tuple(pair for pair in headers if pair[0] not in changes)
    return kept + tuple(
        (name, text.encode(errors="replace")) for name, text in changes.items() if text is not None
    )
