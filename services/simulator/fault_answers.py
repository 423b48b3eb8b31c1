"""The error answers that a fault puts in place of an answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from services.simulator import errors
from services.simulator.errors import ErrorAnswer
from services.simulator.faults import Fault, FaultKind
from services.simulator.limiter import Limiter

RETRY_AFTER = 3
"""Seconds, where an error that says when to come back is not told what to say."""

Make = Callable[[Fault, str, str, Limiter], ErrorAnswer]


def answer_of(fault: Fault, model: str, organization: str, limiter: Limiter) -> ErrorAnswer | None:
    """Return the error of a fault, or None where the fault is of another nature."""
    make = _ANSWERS.get(fault.kind)
    if make is None:
        return None
    error = make(fault, model, organization, limiter)
    if fault.message is not None:
        error.message = fault.message
    if fault.code is not None:
        error.details = {"error_code": fault.code}
    if fault.should_retry is not None:
        error.should_retry = fault.should_retry
    if fault.retry_after is not None:
        error.headers["retry-after"] = str(fault.retry_after)
    return error


def _simple(
    status: int,
    kind: str,
    message: str,
    *,
    should_retry: bool | None = None,
    code: str | None = None,
) -> Make:
    details: dict[str, object] | None = None if code is None else {"error_code": code}

    def make(_fault: Fault, _model: str, _organization: str, _limiter: Limiter) -> ErrorAnswer:
        return ErrorAnswer(status, kind, message, details, should_retry=should_retry)

    return make


def _rate_limited(_fault: Fault, model: str, organization: str, limiter: Limiter) -> ErrorAnswer:
    return errors.rate_limited(
        limit=int(limiter.limits.input_tokens),
        measure="input tokens",
        organization=organization,
        model=model,
        retry_after=RETRY_AFTER,
    )


def _oversize(_fault: Fault, model: str, organization: str, limiter: Limiter) -> ErrorAnswer:
    return errors.rate_limited(
        limit=int(limiter.limits.input_tokens),
        measure="input tokens",
        organization=organization,
        model=model,
        retry_after=None,
    )


def _spend(code: str, text: str) -> Make:
    def make(_fault: Fault, _model: str, _organization: str, _limiter: Limiter) -> ErrorAnswer:
        message = f"{text} You will regain access on {_next_month()} at 00:00 UTC."
        return ErrorAnswer(
            429, "rate_limit_error", message, {"error_code": code}, should_retry=False
        )

    return make


def _own_limit(text: str) -> Make:
    def make(_fault: Fault, _model: str, _organization: str, _limiter: Limiter) -> ErrorAnswer:
        return errors.invalid(f"{text} You will regain access on {_next_month()} at 00:00 UTC.")

    return make


def _next_month() -> str:
    today = datetime.now(UTC)
    year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)  # noqa: PLR2004 December
    return f"{year}-{month:02}-01"


def _final(make: Make) -> Make:
    return lambda *context: replace(make(*context), should_retry=False)


_SERVER_ERROR = _simple(500, "api_error", "Internal server error", should_retry=True)

_ANSWERS: dict[FaultKind, Make] = {
    FaultKind.RATE_LIMITED: _rate_limited,
    FaultKind.OVERSIZE: _oversize,
    FaultKind.SPEND_CAP: _spend(
        "enforced_spend_limit_reached", "You have reached your monthly spend limit."
    ),
    FaultKind.CONTRACT_SPEND_CAP: _spend(
        "contract_spend_limit_reached", "You have reached your contract's spend limit."
    ),
    FaultKind.RAMP: lambda *_: errors.ramp_limited(RETRY_AFTER),
    FaultKind.CONCURRENCY: lambda *_: errors.too_many_connections(),
    FaultKind.OWN_SPEND_LIMIT: _own_limit("You have reached your specified API usage limits."),
    FaultKind.WORKSPACE_SPEND_LIMIT: _own_limit(
        "You have reached your specified workspace API usage limits."
    ),
    FaultKind.BAD_REQUEST: _simple(
        400,
        "invalid_request_error",
        "messages.0: Input does not match the expected shape.",
        should_retry=False,
    ),
    FaultKind.PROMPT_TOO_LONG: _simple(
        400,
        "invalid_request_error",
        "prompt is too long: 1207791 tokens > 1000000 maximum",
        should_retry=False,
    ),
    FaultKind.CONTEXT_EXCEEDED: _simple(
        400,
        "invalid_request_error",
        "input length and `max_tokens` exceed context limit: 998981 + 21333 > 1000000, "
        "decrease input length or `max_tokens` and try again",
        should_retry=False,
    ),
    FaultKind.ON_HOLD: _simple(
        400,
        "invalid_request_error",
        "This organization is on hold.",
        should_retry=False,
        code="organization_on_hold",
    ),
    FaultKind.UNAUTHORISED: lambda *_: errors.unauthorised(),
    FaultKind.PAYMENT_REQUIRED: _simple(
        402,
        "billing_error",
        "A billing account this organization is linked to has reached its spend limit.",
        should_retry=False,
        code="linked_organization_spend_limit_reached",
    ),
    FaultKind.FORBIDDEN: _simple(
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
        should_retry=False,
    ),
    FaultKind.EDGE_FORBIDDEN: lambda *_: ErrorAnswer(
        403, "forbidden", "Request not allowed", from_edge=True
    ),
    FaultKind.MODEL_NOT_FOUND: lambda _fault, model, *_: errors.not_found(f"model: {model}"),
    FaultKind.REQUEST_TIMEOUT: _simple(408, "timeout_error", "Request timed out"),
    FaultKind.CONFLICT: _simple(409, "conflict_error", "The resource was changed meanwhile."),
    FaultKind.EDGE_TOO_LARGE: lambda *_: errors.too_large(),
    FaultKind.UNPROCESSABLE: _simple(
        422, "invalid_request_error", "Unprocessable entity", should_retry=False
    ),
    FaultKind.SERVER_ERROR: _SERVER_ERROR,
    FaultKind.SERVER_ERROR_FINAL: _final(_SERVER_ERROR),
    FaultKind.UNAVAILABLE: lambda *_: ErrorAnswer(
        503,
        "api_error",
        "upstream connect error or disconnect/reset before headers. reset reason: "
        "connection termination",
        plain=True,
    ),
    FaultKind.GATEWAY_TIMEOUT: _simple(504, "timeout_error", "Request timed out."),
    FaultKind.OVERLOADED: lambda *_: errors.overloaded(),
    FaultKind.ERROR: lambda fault, *_: ErrorAnswer(fault.status, fault.type, "Injected."),
}
