"""The end of a record that the relay cannot put back: a failed outcome with its dead letter."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, NamedTuple

from services.runtime.engine.ports import Output, Record
from sluice_contracts import (
    CompletionRequested,
    DataClassification,
    DeadLetterPlace,
    Failure,
    FailureCode,
    InvalidEvent,
    Tier,
    Timing,
    TopicNames,
    decode_request,
    identity,
)
from sluice_contracts import headers as h
from sluice_contracts.carried import Hop, Origin
from sluice_contracts.failing import NOTHING_TO_REPLAY, FailedRequest, reason_of

_SOURCE: Final = "/sluice/relay"
_VERSION: Final = version("sluice")


class Epitaph(NamedTuple):
    """Why a record ends here."""

    tier: Tier
    code: FailureCode
    detail: str
    now: float


def give_up(record: Record, hop: Hop | None, why: Epitaph, names: TopicNames) -> list[Output]:
    """Write the failed outcome and the dead letter of a record on a retry topic.

    Args:
        record: As it rests.
        hop: What the worker wrote on it; None where no worker did.
        why: It ends here.
        names: Topic names.
    """
    request = _request(record)
    origin = hop.origin if hop is not None else _place(record)
    waited = max(0, int(why.now * 1000) - origin.timestamp_ms)
    topic, number = names.dead_letters(why.tier), record.partition.number
    failed = FailedRequest(
        tier=why.tier,
        key=record.key,
        value=record.value,
        headers=record.headers,
        request=request,
        origin=origin,
        request_id=_identity(record, origin),
        generation=h.find_int(record.headers, h.GENERATION) or 0,
        failure=Failure(
            code=why.code, detail=why.detail, retryable=why.code not in NOTHING_TO_REPLAY
        ),
        reason=reason_of(why.code, why.detail),
        attempts=hop.attempts if hop is not None else 0,
        history=hop.history if hop is not None else (),
        timing=Timing(queued_ms=waited, throttled_ms=0, model_ms=0, total_ms=waited),
        published=_moment(origin.timestamp_ms / 1000, why.now),
        at=datetime.fromtimestamp(why.now, UTC),
        place=DeadLetterPlace(topic=topic, partition=number),
        source=_SOURCE,
        version=_VERSION,
        prompt=_prompt(request),
    )
    outcome, letter = failed.outcome(), failed.letter()
    results: tuple[str, int | None] = (names.results(why.tier), number)
    if hop is not None and hop.outcome_topic is not None:
        results = (hop.outcome_topic, None)
    return [
        Output(*results, record.key, outcome.value, outcome.headers),
        Output(topic, number, letter.key, letter.value, letter.headers),
    ]


def _request(record: Record) -> CompletionRequested | None:
    try:
        return decode_request(record.value, record.headers)
    except InvalidEvent:
        return None


def _identity(record: Record, origin: Origin) -> str:
    return identity(
        record.value, record.headers, topic=origin.topic, partition=origin.partition,
        offset=origin.offset,
    )  # fmt: skip


def _place(record: Record) -> Origin:
    topic, number = record.partition
    return Origin(topic, number, record.offset, max(0, record.timestamp_ms))


def _moment(at: float, now: float) -> datetime:
    return datetime.fromtimestamp(min(at, now), UTC)


def _prompt(request: CompletionRequested | None) -> str | None:
    """Name the prompt, unless it may be a restricted word: the library is not known here."""
    if request is None or request.data_classification is DataClassification.RESTRICTED:
        return None
    return request.prompt
