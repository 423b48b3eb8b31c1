"""Which calls go wrong, and how: injected through the control endpoint, used up one by one.

A fault has a kind and either a count (the next N matching calls) or a rate (this share of them,
until it is removed). It may be narrowed to a model, to text in the body, to a key.
"""

from enum import StrEnum
from itertools import count
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """Everything that can go wrong."""

    # Answered in place of an answer; nothing is charged.
    RATE_LIMITED = "rate_limited"
    OVERSIZE = "oversize"
    SPEND_CAP = "spend_cap"
    CONTRACT_SPEND_CAP = "contract_spend_cap"
    RAMP = "ramp"
    CONCURRENCY = "concurrency"
    OWN_SPEND_LIMIT = "own_spend_limit"
    WORKSPACE_SPEND_LIMIT = "workspace_spend_limit"
    BAD_REQUEST = "bad_request"
    PROMPT_TOO_LONG = "prompt_too_long"
    CONTEXT_EXCEEDED = "context_exceeded"
    ON_HOLD = "on_hold"
    UNAUTHORISED = "unauthorised"
    PAYMENT_REQUIRED = "payment_required"
    FORBIDDEN = "forbidden"
    EDGE_FORBIDDEN = "edge_forbidden"
    MODEL_NOT_FOUND = "model_not_found"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    EDGE_TOO_LARGE = "edge_too_large"
    UNPROCESSABLE = "unprocessable"
    SERVER_ERROR = "server_error"
    SERVER_ERROR_FINAL = "server_error_final"
    UNAVAILABLE = "unavailable"
    GATEWAY_TIMEOUT = "gateway_timeout"
    OVERLOADED = "overloaded"
    ERROR = "error"
    """Any other error answer: `status`, `type` and the rest say which."""

    # Happens to the connection after the answer was produced, so the call is charged.
    RESET_BEFORE_HEADERS = "reset_before_headers"
    RESET_IN_BODY = "reset_in_body"
    CUT_IN_BODY = "cut_in_body"
    HANG = "hang"
    SLOW = "slow"
    HTML = "html"
    BROKEN_JSON = "broken_json"

    # Happens within a stream; other calls are left alone.
    STREAM_ERROR_FIRST = "stream_error_first"
    STREAM_ERROR_MIDDLE = "stream_error_middle"
    STREAM_CUT = "stream_cut"
    STREAM_RESET = "stream_reset"
    STREAM_UNKNOWN_EVENT = "stream_unknown_event"

    # Changes what the model says.
    CONTENT_EMPTY = "content_empty"
    REFUSAL = "refusal"
    REFUSAL_AFTER_TEXT = "refusal_after_text"
    TRUNCATED = "truncated"
    THINKING_ONLY = "thinking_only"
    WINDOW_EXCEEDED = "window_exceeded"
    PAUSE_TURN = "pause_turn"
    WRONG_CASE = "wrong_case"
    SCHEMA_VIOLATION = "schema_violation"
    NOT_JSON = "not_json"
    UNKNOWN_BLOCK = "unknown_block"
    SCRIPTED = "scripted"


WITHIN_STREAM = frozenset(kind for kind in FaultKind if kind.value.startswith("stream_"))


class Fault(BaseModel):
    """One injected fault."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    id: int = 0
    """Given by the simulator."""
    kind: FaultKind
    """What happens."""
    count: int | None = Field(default=None, ge=1)
    """How many matching calls are hit; one when neither this nor `rate` is given."""
    rate: float | None = Field(default=None, gt=0, le=1)
    """The share of matching calls that is hit."""
    path: str = "/v1/messages"
    """Only calls of this path."""
    model: str | None = None
    """Only calls whose model id contains this, for example `haiku`."""
    contains: str | None = None
    """Only calls whose body contains this text."""
    key: str | None = None
    """Only calls with the key of this id."""
    status: int = Field(default=500, ge=400, le=599)
    """The status of an error."""
    code: str | None = None
    """Replaces the code of an error."""
    should_retry: bool | None = None
    """Replaces what an error's `x-should-retry` says."""
    retry_after: int | None = Field(default=None, ge=0)
    """Seconds that any error asks to wait; without it, the kinds that say when to come back say
    3."""
    seconds: float = Field(default=30.0, ge=0)
    """How much longer a slow answer takes, and how long a hanging one is silent."""
    type: str = "overloaded_error"
    """The type of an error, and of one inside a stream."""
    category: str | None = "cyber"
    """The category of a refusal."""
    content: list[dict[str, Any]] = []
    """The content blocks of a scripted answer."""
    stop_reason: str | None = "end_turn"
    """The stop reason of a scripted answer; null where it got lost."""
    message: str | None = None
    """Replaces the message of an error."""
    hits: int = 0
    """How often it has happened."""


class Faults:
    """The faults that wait for their calls."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 not a secret
        self._ids = count(1)
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Inject a fault."""
        fault.id = next(self._ids)
        if fault.count is None and fault.rate is None:
            fault.count = 1
        self._waiting.append(fault)
        return fault

    def remove(self, fault_id: int | None) -> int:
        """Remove one fault, or all of them; return how many."""
        before = len(self._waiting)
        self._waiting = [
            fault for fault in self._waiting if fault_id is not None and fault.id != fault_id
        ]
        return before - len(self._waiting)

    def waiting(self) -> list[Fault]:
        """Return the faults that can still happen."""
        return list(self._waiting)

    def strike(
        self, *, path: str, model: str = "", key: str = "", body: bytes = b"", streams: bool = False
    ) -> Fault | None:
        """Return the fault that hits this call, and use it up."""
        for fault in self._waiting:
            if fault.path != path or not _matches(fault, model, key, body, streams=streams):
                continue
            if fault.rate is not None and self._random.random() >= fault.rate:
                continue
            fault.hits += 1
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self._waiting.remove(fault)
            return fault
        return None


def _matches(fault: Fault, model: str, key: str, body: bytes, *, streams: bool) -> bool:
    return (
        (streams or fault.kind not in WITHIN_STREAM)
        and (fault.model is None or fault.model in model)
        and (fault.key is None or fault.key == key)
        and (fault.contains is None or fault.contains.encode() in body)
    )
