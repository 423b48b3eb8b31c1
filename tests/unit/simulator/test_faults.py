"""Which calls are hit by a fault."""

import pytest

from services.simulator.fault_answers import answer_of
from services.simulator.faults import Fault, FaultKind, Faults
from services.simulator.limiter import Limiter, Limits


def strike(faults: Faults, **call: object) -> FaultKind | None:
    """Return what hits a call of haiku."""
    given = {"path": "/v1/messages", "model": "claude-haiku-5-5", "key": "k", "body": b"text"}
    fault = faults.strike(**(given | call))  # type: ignore[arg-type]
    return None if fault is None else fault.kind


def test_used_up() -> None:
    """A fault without count or rate hits one call, in the order of injection."""
    faults = Faults(1)
    faults.add(Fault(kind=FaultKind.OVERLOADED))
    faults.add(Fault(kind=FaultKind.RAMP, count=2))
    hits = [strike(faults) for _ in range(4)]
    assert [FaultKind.OVERLOADED, FaultKind.RAMP, FaultKind.RAMP, None] == hits


def test_rate() -> None:
    """A fault with a rate hits that share until it is removed."""
    faults = Faults(1)
    fault = faults.add(Fault(kind=FaultKind.OVERLOADED, rate=0.1))
    hits = sum(strike(faults) is not None for _ in range(5_000))
    assert 400 < hits < 600
    assert 1 == faults.remove(fault.id)
    assert strike(faults) is None


@pytest.mark.parametrize(
    ("narrowed", "call"),
    [
        ({"model": "opus"}, {"model": "claude-opus-5-5"}),
        ({"contains": "needle"}, {"body": b"hay needle hay"}),
        ({"key": "k2"}, {"key": "k2"}),
        ({"path": "/v1/models"}, {"path": "/v1/models"}),
    ],
)
def test_narrowed(narrowed: dict[str, str], call: dict[str, object]) -> None:
    """A narrowed fault waits for its call."""
    faults = Faults(1)
    faults.add(Fault.model_validate({"kind": "overloaded", **narrowed}))
    assert strike(faults) is None
    assert FaultKind.OVERLOADED == strike(faults, **call)


def test_streams_only() -> None:
    """What happens within a stream leaves other calls alone."""
    faults = Faults(1)
    faults.add(Fault(kind=FaultKind.STREAM_CUT))
    assert strike(faults) is None
    assert FaultKind.STREAM_CUT == strike(faults, streams=True)


ANSWERS: dict[str, tuple[int, str, bool | None, str | None, str | None]] = {
    # status, type, x-should-retry, retry-after, error code
    "rate_limited": (429, "rate_limit_error", True, "3", None),
    "oversize": (429, "rate_limit_error", False, None, None),
    "spend_cap": (429, "rate_limit_error", False, None, "enforced_spend_limit_reached"),
    "contract_spend_cap": (429, "rate_limit_error", False, None, "contract_spend_limit_reached"),
    "ramp": (429, "rate_limit_error", True, "3", "ramp_limit_exceeded"),
    "concurrency": (429, "rate_limit_error", True, None, None),
    "own_spend_limit": (400, "invalid_request_error", False, None, None),
    "on_hold": (400, "invalid_request_error", False, None, "organization_on_hold"),
    "unauthorised": (401, "authentication_error", False, None, None),
    "payment_required": (
        402,
        "billing_error",
        False,
        None,
        "linked_organization_spend_limit_reached",
    ),
    "edge_forbidden": (403, "forbidden", None, None, None),
    "model_not_found": (404, "not_found_error", False, None, None),
    "edge_too_large": (413, "request_too_large", None, None, None),
    "server_error": (500, "api_error", True, None, None),
    "server_error_final": (500, "api_error", False, None, None),
    "gateway_timeout": (504, "timeout_error", None, None, None),
    "overloaded": (529, "overloaded_error", True, None, None),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_error_answers(kind: str) -> None:
    """Each kind has the status, type, code and headers of the API."""
    limiter = Limiter(Limits(1, 1, 1), clock=lambda: 0.0)
    error = answer_of(Fault(kind=FaultKind(kind)), "m", "o", limiter)
    assert error is not None
    assert ANSWERS[kind] == (
        error.status,
        error.type,
        error.should_retry,
        error.headers.get("retry-after"),
        (error.details or {}).get("error_code"),
    )


def test_any_error_can_be_put_together() -> None:
    """What a fault says of an error replaces what its kind would say."""
    limiter = Limiter(Limits(1, 1, 1), clock=lambda: 0.0)
    given = {"code": "file_expired", "should_retry": True, "retry_after": 0, "message": "Gone."}
    for kind, status in (("error", 404), ("model_not_found", 500)):
        error = answer_of(
            Fault.model_validate({"kind": kind, "status": status, **given}), "m", "o", limiter
        )
        assert error is not None
        assert (404, "Gone.", {"error_code": "file_expired"}, True, "0") == (
            error.status,
            error.message,
            error.details,
            error.should_retry,
            error.headers["retry-after"],
        )
