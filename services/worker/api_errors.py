"""One table from everything the API and the network can do to a call, to what we make of it.

The first row that fits decides. `docs/reference/errors.md` is this table; the SDK's exceptions are
turned into a `Fault` in `claude.py`, the only file that knows them. Codes and types are open sets:
what no row names falls to the row of its status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from services.worker.causes import BACKOFF, DEAD, RETRY, STOP, Cause
from services.worker.errors import Hold, SluiceError
from sluice_contracts import FailureCode as F


class Wire(StrEnum):
    """What came back, where it was not an error answer."""

    ANSWERED = "answered"
    TIMED_OUT = "timed out"
    NEVER_SENT = "never sent"
    CONNECTION_LOST = "connection lost"
    CUT_SHORT = "cut short"
    NOT_JSON = "not JSON"
    NO_CREDENTIALS = "no credentials"
    NOT_UNDERSTOOD = "not understood"


@dataclass(frozen=True, slots=True)
class Fault:
    """The facts of a failed call; `status` is 0 where there was no answer."""

    status: int = 0
    type: str | None = None
    code: str | None = None
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    wire: Wire = Wire.ANSWERED
    key_id: str | None = None
    """Which key the call carried, as far as it came."""
    input_estimate: int = 0
    """Our estimate of the request's own uncached input, in tokens."""

    @property
    def retry_after(self) -> float | None:
        """Seconds that an error answer asks to wait, from any of its three forms."""
        milliseconds = _number(self.headers.get("retry-after-ms"))
        if milliseconds is not None:
            return milliseconds / 1000
        text = self.headers.get("retry-after")
        seconds = _number(text)
        if seconds is not None or text is None:
            return seconds
        try:
            then = parsedate_to_datetime(text)
            return max(0.0, (then - parsedate_to_datetime(self.headers["date"])).total_seconds())
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def should_retry(self) -> bool | None:
        """What `x-should-retry` says, where it says anything."""
        return {"true": True, "false": False}.get(self.headers.get("x-should-retry", ""))

    @property
    def is_oversize(self) -> bool:
        """Whether this one request is larger than the whole limit of a minute."""
        limit = _number(self.headers.get("anthropic-ratelimit-input-tokens-limit"))
        if limit is not None and self.input_estimate > limit:
            return True
        return self.should_retry is False and self.retry_after is None

    def says(self, *phrases: str) -> bool:
        """Whether the message holds one of the phrases: the last resort, where no code exists."""
        message = self.message.casefold()
        return any(phrase in message for phrase in phrases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Cause):
    """A row of the table; fits where all that it names fits."""

    name: str
    stage: str = "call"
    status: int | None = None
    family: int | None = None
    """4 for any 4xx status, 5 for any from 500 on."""
    codes: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    """Only where the API has no code for it."""
    wire: Wire | None = None
    test: Callable[[Fault], bool] | None = None

    def fits(self, fault: Fault) -> bool:
        """Whether this row is about the fault."""
        return (
            (self.status is None or fault.status == self.status)
            and (self.family is None or min(fault.status // 100, 5) == self.family)
            and (not self.codes or fault.code in self.codes)
            and (not self.phrases or fault.says(*self.phrases))
            and (self.wire is None or fault.wire is self.wire)
            and (self.test is None or self.test(fault))
        )


_STATUS_OF_TYPE: Final = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402,
    "permission_error": 403, "not_found_error": 404, "conflict_error": 409,
    "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
"""Errors inside a stream arrive with status 200: their type says which row is meant."""
_TOLD: Final = "`retry-after`"

# fmt: off
TABLE: Final = (
    Row(name="spend cap", status=429, when="429 with one of the two spend codes",
        codes=("enforced_spend_limit_reached", "contract_spend_limit_reached"),
        then=STOP, code=F.SPEND_LIMIT_REACHED),
    Row(name="own spend limit", status=400, when="400 that says the usage limits are reached",
        phrases=("specified api usage limits", "workspace api usage limits"),
        then=STOP, code=F.SPEND_LIMIT_REACHED),
    Row(name="billing", status=402, when="402", then=STOP, code=F.SPEND_LIMIT_REACHED),
    Row(name="ramp", status=429, when="429 with the ramp code", codes=("ramp_limit_exceeded",),
        then=RETRY, code=F.RATE_LIMITED, delay=_TOLD, hold=Hold.RAMP, counts=False),
    Row(name="oversize", status=429, test=lambda f: f.is_oversize,
        when="429 for a request above the limit of a whole minute: by our estimate, or by"
             " `x-should-retry: false` without `retry-after`",
        then=DEAD, code=F.EXCEEDS_RATE_LIMIT),
    Row(name="rate", status=429, when="429 with `retry-after`",
        test=lambda f: f.retry_after is not None,
        then=RETRY, code=F.RATE_LIMITED, delay=_TOLD, hold=Hold.RATE, counts=False),
    Row(name="concurrency", status=429, when="429 that names concurrent connections",
        phrases=("concurrent connections",),
        then=RETRY, code=F.RATE_LIMITED, delay=BACKOFF, hold=Hold.CONCURRENCY),
    Row(name="unexplained 429", status=429, when="any other 429",
        then=RETRY, code=F.RATE_LIMITED, delay=BACKOFF, hold=Hold.RATE),
    Row(name="key", status=401, when="401, after the key was refreshed and the call sent again",
        then=STOP, code=F.NOT_AUTHORISED),
    Row(name="permission", status=403, when="403", then=STOP, code=F.NOT_AUTHORISED),
    Row(name="organisation", status=400, when="400 with a code that names the organisation's state",
        codes=("organization_on_hold", "cmek_key_disabled", "cmek_key_network_blocked"),
        then=STOP, code=F.NOT_AUTHORISED),
    Row(name="model", status=404, when="404 without a code: a retired or misspelt model",
        test=lambda f: f.code is None, then=STOP, code=F.REQUEST_REJECTED),
    Row(name="context", status=400, when="400 that says the prompt is too long for the model",
        phrases=("prompt is too long", "exceed context limit"),
        then=DEAD, code=F.CONTEXT_TOO_LONG),
    Row(name="size", status=413, when="413", then=DEAD, code=F.REQUEST_TOO_LARGE),
    Row(name="timeout answer", status=408, when="408",
        then=RETRY, code=F.TIMED_OUT, delay=BACKOFF, possibly_paid=True),
    Row(name="conflict", status=409, when="409",
        then=RETRY, code=F.UPSTREAM_FAILED, delay=BACKOFF),
    Row(name="closed", status=499, when="499",
        then=RETRY, code=F.UPSTREAM_FAILED, delay=BACKOFF, possibly_paid=True),
    Row(name="told to retry", family=4, when="any other 4xx with `x-should-retry: true`",
        test=lambda f: f.should_retry is True,
        then=RETRY, code=F.UPSTREAM_FAILED, delay=BACKOFF),
    Row(name="rejected", family=4, when="any other 4xx", then=DEAD, code=F.REQUEST_REJECTED),
    Row(name="overloaded", status=529, when="529",
        then=RETRY, code=F.OVERLOADED, delay="5 times the backoff", hold=Hold.OVERLOADED,
        patience=5),
    Row(name="not implemented", status=501, when="501", then=DEAD, code=F.UPSTREAM_FAILED),
    Row(name="hopeless", family=5, when="any other 5xx with `x-should-retry: false`",
        test=lambda f: f.should_retry is False, then=DEAD, code=F.UPSTREAM_FAILED),
    Row(name="gateway timeout", status=504, when="504",
        then=RETRY, code=F.TIMED_OUT, delay=BACKOFF, possibly_paid=True),
    Row(name="server", family=5, when="any other 5xx",
        then=RETRY, code=F.UPSTREAM_FAILED, delay=BACKOFF),
    Row(name="no answer", wire=Wire.TIMED_OUT,
        when="nothing came within `CLAUDE__TIMEOUT`, or a stream fell silent",
        then=RETRY, code=F.TIMED_OUT, delay=BACKOFF, possibly_paid=True),
    Row(name="nobody listens", wire=Wire.NEVER_SENT, when="the connection was never made",
        then=RETRY, code=F.UNREACHABLE, delay=BACKOFF),
    Row(name="connection lost", wire=Wire.CONNECTION_LOST,
        when="the connection broke after the call was sent",
        then=RETRY, code=F.UNREACHABLE, delay=BACKOFF, possibly_paid=True),
    Row(name="cut short", wire=Wire.CUT_SHORT,
        when="a body or a stream that stopped before its end (no `message_stop`)",
        then=RETRY, code=F.UPSTREAM_FAILED, delay=BACKOFF, possibly_paid=True),
    Row(name="no credentials", wire=Wire.NO_CREDENTIALS,
        when="the SDK finds no credentials, or cannot exchange them",
        then=STOP, code=F.NOT_AUTHORISED),
    Row(name="not understood", wire=Wire.NOT_UNDERSTOOD,
        when="any other error of the SDK's own, before or after the call",
        then=RETRY, code=F.INTERNAL_ERROR, delay=BACKOFF, possibly_paid=True),
    Row(name="not an answer", when="a success that holds no message, and any other status",
        then=RETRY, code=F.UPSTREAM_FAILED, delay=BACKOFF, possibly_paid=True),
)
# fmt: on


def row_of(fault: Fault) -> Row:
    """Return the row that decides."""
    return next(row for row in TABLE if row.fits(fault))


def in_stream(error_type: str | None) -> int:
    """Return the status that an error inside a stream would have had as an answer."""
    return _STATUS_OF_TYPE.get(error_type or "", 500)


def translate(fault: Fault) -> SluiceError:
    """Turn a failed call into ours."""
    row = row_of(fault)
    said = fault.code or fault.type
    where = f"API answered {fault.status}" if fault.status else f"call to the API: {fault.wire}"
    detail = f"{where}{f' {said}' if said else ''} ({row.name})"
    return row.error(
        detail,
        delay=fault.retry_after,
        quoted=fault.message[:500] or None,
        api_error_type=fault.type,
        api_request_id=fault.request_id,
        key_id=fault.key_id,
        rule=row.name,
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None  # noqa: PLR2004 -- 'inf', and dates in a year 33658
