"""How a request that failed for good is written down: its failed outcome and its dead letter."""

import re
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sluice_contracts import headers as h
from sluice_contracts.carried import SPRING, Origin, digest, joined, on_outcome
from sluice_contracts.codec import Encoded, encode
from sluice_contracts.events import CompletionFailed, CompletionRequested
from sluice_contracts.failures import FailureCode
from sluice_contracts.headers import Headers
from sluice_contracts.topics import Tier
from sluice_contracts.values import Cost, DeadLetterPlace, Failure, PromptUsed, Timing, TokenUsage

NOTHING_TO_REPLAY: Final = frozenset(
    {
        FailureCode.INVALID_EVENT,
        FailureCode.VARIABLES_MISSING,
        FailureCode.DEADLINE_PASSED,
        FailureCode.CONTEXT_TOO_LONG,
        FailureCode.REQUEST_REJECTED,
        FailureCode.REQUEST_TOO_LARGE,
        FailureCode.CANCELLED,
    }
)
"""Codes that the same bytes earn again whatever the operator changes on our side."""
NULL_KEY: Final = "null"
_VARIES: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-fA-F-]{16,}\b|\d[\d.,:TZ+-]*")
_LONGEST_REASON: Final = 200
_BIG_ENDIAN_INT, _BIG_ENDIAN_LONG = ">i", ">q"


class Letter(NamedTuple):
    """A dead letter: the request's record byte for byte, with the reason in headers."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def reason_of(code: FailureCode, detail: str, rule: str | None = None) -> str:
    """Name a cause alike for all requests that share it.

    Args:
        code: Of the failure.
        detail: Of the failure; what differs between requests is taken out.
        rule: What decided, in words that are always the same; used instead of the detail.
    """
    return f"{code}: {rule or _VARIES.sub('…', detail)}"[:_LONGEST_REASON]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequest:
    """All that is known of a request when it is given up."""

    tier: Tier
    key: bytes | None
    value: bytes | None
    headers: Headers
    """Key, value and headers are its record's."""
    request: CompletionRequested | None
    """None where the record is none that can be read."""
    origin: Origin
    request_id: str
    generation: int
    failure: Failure
    reason: str
    """The failure without what varies between requests."""
    attempts: int
    history: tuple[str, ...]
    timing: Timing
    published: datetime
    at: datetime
    place: DeadLetterPlace
    source: str
    """Who gives it up, as CloudEvents names it."""
    version: str
    """Of Sluice."""
    prompt: str | None = None
    """The prompt's name, where it may be told."""
    used: PromptUsed | None = None
    model: str | None = None
    text: str | None = None
    usage: TokenUsage | None = None
    cost: Cost | None = None
    is_conflict: bool = False
    """Whether it failed for having another body than an earlier request of its id."""

    def outcome(self, *, carries: bool = True) -> Encoded:
        """Write the failed outcome.

        Args:
            carries: Whether the caller's own headers go with it; they may be what no topic takes.
        """
        request = self.request
        event = CompletionFailed(
            request_id=self.request_id,
            generation=self.generation,
            tier=self.tier,
            model=self.model,
            prompt=self.used,
            failure=self.failure,
            text=self.text,
            usage=self.usage,
            cost=self.cost,
            attempts=self.attempts,
            timing=self.timing,
            dead_letter=self.place,
            tenant=request.tenant if request is not None else None,
            user=request.user if request is not None else None,
            data_classification=request.data_classification if request is not None else None,
            metadata=request.metadata if request is not None else {},
            completed_at=self.at,
        )
        extra = on_outcome(
            self.headers if carries else (),
            self.origin,
            generation=self.generation,
            attempts=self.attempts,
            body=None if self.is_conflict else digest(self.value),
        )
        event_id = f"{self.request_id}.{self.generation}"
        return encode(event, source=self.source, time=self.at, extra=extra, event_id=event_id)

    def letter(self, *, is_whole: bool = True) -> Letter:
        """Write the dead letter.

        Args:
            is_whole: Whether it holds the record's value and the caller's headers; without them it
                only says where they are.
        """
        value = self.value if is_whole else None
        said: dict[str, str | None] = {
            **self.origin.headers,
            h.REQUEST_ID: self.request_id,
            h.ROOT_ID: h.find(self.headers, h.ROOT_ID) or self.request_id,
            h.GENERATION: str(self.generation),
            h.ATTEMPT: str(self.attempts),
            h.FAILURE_CODE: self.failure.code,
            h.FAILURE_DETAIL: self.failure.detail,
            h.FAILURE_REASON: self.reason,
            h.ATTEMPT_HISTORY: joined(self.history),
            h.FIRST_TIME: self.published.isoformat(),
            h.LAST_TIME: self.at.isoformat(),
            h.API_ERROR_TYPE: self.failure.api_error_type,
            h.API_REQUEST_ID: self.failure.api_request_id,
            h.WORKER_VERSION: self.version,
            h.TENANT: self.request.tenant if self.request is not None else None,
            h.PROMPT: self.prompt,
            # Kafka's clients refuse a record without both, so the id takes the key's place.
            h.ORIGINAL_KEY: NULL_KEY if self.key is None and value is None else None,
        }
        spring = self._for_spring()
        changes = {
            # What a retry says of its rest is over; so is what a stranger may have written.
            **dict.fromkeys((h.NOT_BEFORE, h.RETURN_TOPIC, h.OUTCOME_TOPIC, h.FAILING_SINCE)),
            **dict.fromkeys((h.REQUEST_DIGEST, *spring)),
            **said,
        }
        headers = h.with_headers(self.headers if is_whole else (), changes)
        key = self.request_id.encode() if said[h.ORIGINAL_KEY] else self.key
        return Letter(key, value, (*headers, *spring.items()))

    def _for_spring(self) -> dict[str, bytes]:
        """Say where the record came from as Spring Kafka does: numbers are big-endian, not text."""
        origin = self.origin
        return {
            f"{SPRING}topic": origin.topic.encode(),
            f"{SPRING}partition": struct.pack(_BIG_ENDIAN_INT, origin.partition),
            f"{SPRING}offset": struct.pack(_BIG_ENDIAN_LONG, origin.offset),
            f"{SPRING}timestamp": struct.pack(_BIG_ENDIAN_LONG, origin.timestamp_ms),
        }
