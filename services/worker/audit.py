"""One record for each call that was answered or may have been paid, for `claude.audit.v1`.

It says who asked what of which model with which key, what it used and cost, and how it ended; not
the content. It is written in the transaction that ends the request's stay in this worker: a call
that a crash took away is counted by its repetition instead.
"""

from typing import Any

from services.runtime.engine.ports import Output
from services.worker.answer import Answer
from services.worker.attempt import Attempt
from services.worker.errors import SluiceError, TransientError
from services.worker.publish import SOURCE
from sluice_contracts import CallAudited, Cost, encode


def audited(
    topic: str, attempt: Attempt, ended: Answer | SluiceError, *, seconds: float, cost: Cost | None
) -> Output:
    """Write the audit record of one call."""
    request, rendered = attempt.request, attempt.rendered
    assert request is not None
    assert rendered is not None
    now = attempt.now
    event = CallAudited(
        request_id=request.request_id,
        generation=attempt.generation,
        attempt=attempt.number,
        call=attempt.calls,
        tier=attempt.tier,
        tenant=request.tenant,
        user=request.user,
        data_classification=request.data_classification,
        prompt=rendered.prompt,
        model_asked=rendered.body["model"],
        cost=cost,
        model_ms=round(seconds * 1000),
        at=now,
        **_end_of(ended),
    )
    encoded = encode(
        event,
        source=SOURCE,
        time=now,
        key=request.tenant,
        event_id=f"{request.request_id}.{attempt.generation}.{attempt.number}.{attempt.calls}",
    )
    return Output(topic, None, encoded.key, encoded.value, encoded.headers)


def _end_of(ended: Answer | SluiceError) -> dict[str, Any]:
    if isinstance(ended, Answer):
        return {
            "model": ended.model,
            "stop_reason": ended.stop_reason,
            "usage": dict(ended.usage),
            "api_request_id": ended.request_id,
            "key_id": ended.key_id,
        }
    return {
        "possibly_paid": isinstance(ended, TransientError) and ended.possibly_paid,
        "failure": ended.code,
        "api_error_type": ended.api_error_type,
        "api_request_id": ended.api_request_id,
        "key_id": ended.key_id,
    }
