"""Stage `publish`: what became of a request, as records for one transaction.

An outcome and its dead letter go to the partition number of the request's record, under its key:
order by key survives, downstream can join, and a commit touches few partitions. Here are only
values; the engine writes them. Which headers travel is in `carried.py`.
"""

from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final, Literal

from services.runtime.engine.ports import Headers, Output
from services.worker.answer import Answer
from services.worker.attempt import Attempt, Past
from services.worker.errors import PermanentError, SluiceError
from sluice_contracts import (
    CompletionChunk,
    CompletionFailed,
    CompletionSucceeded,
    DeadLetterPlace,
    Failure,
    InvalidEvent,
    RetryDelay,
    TopicNames,
    Validation,
    decode,
    encode,
)
from sluice_contracts import headers as h
from sluice_contracts.carried import Hop, milliseconds, on_outcome
from sluice_contracts.failing import FailedRequest, reason_of

SOURCE: Final = "/sluice/worker"
_VERSION: Final = version("sluice")
_LONGEST_DETAIL: Final = 1_000


class Publisher:
    """Writes outcomes, dead letters, retry hops and chunks for one system of topics."""

    def __init__(self, names: TopicNames) -> None:
        self._names = names

    def succeeded(self, attempt: Attempt, answer: Answer, output: Any) -> list[Output]:
        """Write a validated result."""
        request, rendered, cost = attempt.request, attempt.rendered, attempt.cost
        assert request is not None
        assert rendered is not None
        assert cost is not None
        assert attempt.past.usage is not None
        assert answer.stop_reason is not None
        verdict: Literal["valid", "repaired", "not_requested"]
        verdict = "repaired" if attempt.repairs else "valid"
        if rendered.schema is None:
            verdict = "not_requested"
        event = CompletionSucceeded(
            request_id=request.request_id,
            generation=attempt.generation,
            tier=attempt.tier,
            model=answer.model,
            prompt=rendered.prompt,
            content=answer.content,
            text=answer.text,
            output=output,
            validation=Validation(verdict=verdict, repairs=attempt.repairs),
            stop_reason=answer.stop_reason,
            usage=attempt.past.usage,
            cost=cost,
            attempts=attempt.number,
            timing=attempt.timing,
            api_request_id=answer.request_id,
            tenant=request.tenant,
            user=request.user,
            data_classification=request.data_classification,
            metadata=request.metadata,
            completed_at=attempt.now,
        )
        extra = on_outcome(
            attempt.record.headers,
            attempt.origin,
            generation=attempt.generation,
            attempts=attempt.number,
            body=attempt.digest,
        )
        encoded = encode(
            event, source=SOURCE, time=attempt.now, extra=extra, event_id=_event_id(attempt)
        )
        return [self._outcome(attempt, encoded.value, encoded.headers), *attempt.past.audit]

    def failed(
        self, attempt: Attempt, error: SluiceError, *, carries: bool = True, is_whole: bool = True
    ) -> list[Output]:
        """Write a failed outcome and its dead letter, which holds the request byte for byte.

        Args:
            attempt: The last one.
            error: Why.
            carries: Whether the outcome carries the caller's own headers.
            is_whole: Whether the dead letter holds the request; else it only says where it is.
        """
        topic, number = self._names.dead_letters(attempt.tier), attempt.record.partition.number
        failed = self._given_up(attempt, error, DeadLetterPlace(topic=topic, partition=number))
        outcome, letter = failed.outcome(carries=carries), failed.letter(is_whole=is_whole)
        return [
            self._outcome(attempt, outcome.value, outcome.headers),
            Output(topic, number, letter.key, letter.value, letter.headers),
            *attempt.past.audit,
        ]

    def hop(
        self, attempt: Attempt, error: SluiceError, topic: RetryDelay, *, attempts: int,
        due: datetime,
    ) -> list[Output]:  # fmt: skip
        """Write the request to a retry topic, byte for byte."""
        record = attempt.record
        hop = Hop(
            return_topic=record.partition.topic,
            origin=attempt.origin,
            attempts=attempts,
            not_before_ms=milliseconds(due),
            failing_since=attempt.failing_since,
            history=attempt.history,
            outcome_topic=attempt.reply_to,
        )
        said: dict[str, str | None] = {
            h.REQUEST_ID: attempt.request_id,
            h.GENERATION: str(attempt.generation),
            h.FAILURE_CODE: error.code,
            h.FAILURE_DETAIL: detail_of(error, attempt),
        }
        headers = hop.on(record.headers, record.value, said)
        name, number = self._names.retries(topic), record.partition.number
        return [Output(name, number, record.key, record.value, headers), *attempt.past.audit]

    def chunk(self, attempt: Attempt, sequence: int, text: str, *, is_last: bool) -> Output:
        """Write a piece of an answer; these do not wait for the transaction."""
        event = CompletionChunk(
            request_id=attempt.request_id,
            generation=attempt.generation,
            attempt=attempt.number,
            sequence=sequence,
            text=text,
            is_last=is_last,
        )
        encoded = encode(
            event, source=SOURCE, time=attempt.now,
            event_id=f"{_event_id(attempt)}.{attempt.number}.{sequence}",
        )  # fmt: skip
        return Output(self._names.streams, None, encoded.key, encoded.value, encoded.headers)

    def _outcome(self, attempt: Attempt, value: bytes, headers: Headers) -> Output:
        record = attempt.record
        topic = self._names.results(attempt.tier)
        partition: int | None = record.partition.number
        if attempt.reply_to is not None:
            # Somebody else's topic: how many partitions it has is not ours to know.
            topic, partition = attempt.reply_to, None
        return Output(topic, partition, record.key, value, headers)

    def _given_up(
        self, attempt: Attempt, error: SluiceError, place: DeadLetterPlace
    ) -> FailedRequest:
        record, rendered, past = attempt.record, attempt.rendered, attempt.past
        was_called = attempt.calls > 0 or past.usage is not None
        detail = detail_of(error, attempt)
        return FailedRequest(
            tier=attempt.tier,
            key=record.key,
            value=record.value,
            headers=record.headers,
            request=attempt.request,
            origin=attempt.origin,
            request_id=attempt.request_id,
            generation=attempt.generation,
            failure=Failure(
                code=error.code,
                detail=detail,
                retryable=error.is_replayable,
                api_error_type=error.api_error_type,
                api_request_id=error.api_request_id or attempt.api_request_id,
            ),
            reason=reason_of(error.code, error.detail, error.rule),
            attempts=attempt.number if was_called else attempt.number - 1,
            history=attempt.history,
            timing=attempt.timing,
            published=attempt.published,
            at=attempt.now,
            place=place,
            source=SOURCE,
            version=_VERSION,
            prompt=_prompt_of(attempt),
            used=rendered.prompt if rendered is not None and was_called else None,
            model=attempt.model if was_called else None,
            text=error.said if isinstance(error, PermanentError) else None,
            usage=past.usage,
            cost=attempt.cost,
            is_conflict=attempt.is_conflict,
        )


def detail_of(error: SluiceError, attempt: Attempt) -> str:
    """Say why for people; foreign words are left out of restricted data's."""
    quoted = error.quoted if error.quoted and not attempt.is_restricted else None
    return (f"{error.detail}: {quoted}" if quoted else error.detail)[:_LONGEST_DETAIL]


def _prompt_of(attempt: Attempt) -> str | None:
    """Name the prompt; one that is not in the library is a word of the caller's."""
    if attempt.request is None or (attempt.is_restricted and attempt.rendered is None):
        return None
    return attempt.request.prompt


def spent_on(output: Output) -> Past:
    """Read from an outcome that could not be written what its calls cost."""
    try:
        event = decode(output.value, output.headers)
    except InvalidEvent:
        return Past()
    if not isinstance(event, CompletionSucceeded | CompletionFailed) or event.cost is None:
        return Past()
    return Past(event.usage, Decimal(event.cost.amount), event.cost.price_table)


def _event_id(attempt: Attempt) -> str:
    """Name an event so that a repeat of it is recognised."""
    return f"{attempt.request_id}.{attempt.generation}"
