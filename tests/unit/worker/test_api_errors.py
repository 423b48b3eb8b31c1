"""The table of errors, held against every error that the installed SDK can raise."""

import pytest
from anthropic import AnthropicError, APIStatusError
from anthropic._error_classes import ERROR_CLASSES

from services.worker.api_errors import TABLE, Fault, Wire, in_stream, row_of, translate
from services.worker.causes import DEAD, RETRY, STOP
from services.worker.claude import OTHER_ERRORS, wire_of
from services.worker.errors import FatalError, Hold, PermanentError, TransientError
from sluice_contracts import FailureCode as F

BY_STATUS = {
    400: (DEAD, F.REQUEST_REJECTED),
    401: (STOP, F.NOT_AUTHORISED),
    402: (STOP, F.SPEND_LIMIT_REACHED),
    403: (STOP, F.NOT_AUTHORISED),
    404: (DEAD, F.REQUEST_REJECTED),
    408: (RETRY, F.TIMED_OUT),
    409: (RETRY, F.UPSTREAM_FAILED),
    412: (DEAD, F.REQUEST_REJECTED),
    413: (DEAD, F.REQUEST_TOO_LARGE),
    422: (DEAD, F.REQUEST_REJECTED),
    429: (RETRY, F.RATE_LIMITED),
    431: (DEAD, F.REQUEST_REJECTED),
    499: (RETRY, F.UPSTREAM_FAILED),
    501: (DEAD, F.UPSTREAM_FAILED),
    503: (RETRY, F.UPSTREAM_FAILED),
    504: (RETRY, F.TIMED_OUT),
    529: (RETRY, F.OVERLOADED),
}
BY_CODE = {
    (404, None): (STOP, F.REQUEST_REJECTED),
    (400, "organization_on_hold"): (STOP, F.NOT_AUTHORISED),
    (400, "cmek_key_disabled"): (STOP, F.NOT_AUTHORISED),
    (400, "cmek_key_network_blocked"): (STOP, F.NOT_AUTHORISED),
    (429, "contract_spend_limit_reached"): (STOP, F.SPEND_LIMIT_REACHED),
    (429, "enforced_spend_limit_reached"): (STOP, F.SPEND_LIMIT_REACHED),
}


@pytest.mark.parametrize(("status", "code"), sorted(ERROR_CLASSES, key=str))
def test_every_error_of_the_sdk_has_its_row(status: int, code: str | None) -> None:
    """An SDK with a new status fails here, and so does a row that moved."""
    row = row_of(Fault(status=status, code=code))
    assert BY_CODE.get((status, code), BY_STATUS[status]) == (row.then, row.code)


@pytest.mark.parametrize("cls", OTHER_ERRORS, ids=lambda cls: cls.__name__)
def test_every_other_error_of_the_sdk_is_named(cls: type[AnthropicError]) -> None:
    """A new one falls to the last row for such; what is known of the others is kept."""
    expected = {
        "APIConnectionError": "connection lost",
        "APITimeoutError": "no answer",
        "DeadlineExceededError": "no answer",
        "APIResponseValidationError": "not an answer",
        "CredentialsError": "no credentials",
        "IdentityTokenFileError": "no credentials",
        "WorkloadIdentityError": "no credentials",
    }
    row = row_of(Fault(wire=wire_of(cls.__new__(cls))))
    assert expected.get(cls.__name__, "not understood") == row.name


def test_no_error_of_the_sdk_is_left_out() -> None:
    """Also those that only its inner modules name are caught by their base."""
    inner = {cls for cls in _below(AnthropicError) if not issubclass(cls, APIStatusError)}
    assert set(OTHER_ERRORS) <= inner
    rows = {row_of(Fault(wire=wire_of(cls.__new__(cls)))).name for cls in inner - set(OTHER_ERRORS)}
    assert rows <= {"not understood", "no credentials"}


def _below(cls: type[AnthropicError]) -> set[type[AnthropicError]]:
    return {cls}.union(*(_below(each) for each in cls.__subclasses__()))


def test_every_row_is_reached() -> None:
    """No row is shadowed by one before it."""
    reached = {row_of(fault).name for fault in FAULTS}
    assert {row.name for row in TABLE} == reached


def _429(**headers: str) -> Fault:
    return Fault(status=429, headers={name.replace("_", "-"): v for name, v in headers.items()})


FAULTS = [
    *(Fault(status=status, code=code) for status, code in ERROR_CLASSES),
    Fault(status=400, message="You have reached your specified API usage limits."),
    Fault(status=400, message="prompt is too long: 1000001 tokens > 1000000 maximum"),
    _429(x_should_retry="false"),
    _429(retry_after="3"),
    Fault(status=429, message="Number of concurrent connections has exceeded your rate limit"),
    Fault(status=418, headers={"x-should-retry": "true"}),
    Fault(status=500, headers={"x-should-retry": "false"}),
    Fault(status=500),
    Fault(status=302),
    *(Fault(wire=wire) for wire in Wire),
]


def test_a_429_that_says_when_is_no_attempt_and_holds_the_group() -> None:
    """Its delay is the API's, and the whole group waits."""
    error = translate(_429(retry_after="16", x_should_retry="true"))
    assert isinstance(error, TransientError)
    assert (16, False, Hold.RATE) == (error.delay, error.counts, error.hold)


def test_full_buckets_do_not_hide_an_oversize() -> None:
    """A request above the whole limit never succeeds, whatever the header says about retrying."""
    headers = {
        "anthropic-ratelimit-input-tokens-limit": "200000",
        "retry-after": "41",
        "x-should-retry": "true",
    }
    error = translate(Fault(status=429, headers=headers, input_estimate=200_001))
    assert isinstance(error, PermanentError)
    assert F.EXCEEDS_RATE_LIMIT == error.code


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 12:00:30 GMT",
                "date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            30.0,
        ),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 11:00:00 GMT",
                "date": "Mon, 23 Nov 2026 12:00:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds, milliseconds, or a date against the answer's own date; nonsense is nothing."""
    assert seconds == Fault(status=429, headers=headers).retry_after


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", F.OVERLOADED),
        ("rate_limit_error", F.RATE_LIMITED),
        ("api_error", F.UPSTREAM_FAILED),
        ("timeout_error", F.TIMED_OUT),
        ("invalid_request_error", F.REQUEST_REJECTED),
        ("authentication_error", F.NOT_AUTHORISED),
        ("never_heard_of", F.UPSTREAM_FAILED),
        (None, F.UPSTREAM_FAILED),
    ],
)
def test_an_error_inside_a_stream_is_judged_by_its_type(kind: str | None, expected: F) -> None:
    """Its status is 200 and says nothing."""
    assert expected == translate(Fault(status=in_stream(kind), type=kind)).code


def test_an_overload_waits_longer_and_blames_nobody() -> None:
    """A 529 says nothing about our own limits."""
    error = translate(Fault(status=529, type="overloaded_error"))
    assert isinstance(error, TransientError)
    assert (5, None, True) == (error.patience, error.delay, error.counts)


@pytest.mark.parametrize(
    ("fault", "paid"),
    [
        (Fault(wire=Wire.TIMED_OUT), True),
        (Fault(wire=Wire.CONNECTION_LOST), True),
        (Fault(wire=Wire.CUT_SHORT), True),
        (Fault(status=200, wire=Wire.NOT_JSON), True),
        (Fault(wire=Wire.NEVER_SENT), False),
        (Fault(status=529), False),
        (Fault(status=504), True),
    ],
)
def test_what_may_have_been_paid_is_said(fault: Fault, *, paid: bool) -> None:
    """A lost answer may be on the bill; a connection that was never made is not."""
    error = translate(fault)
    assert isinstance(error, TransientError)
    assert paid == error.possibly_paid


def test_the_apis_words_are_kept_apart() -> None:
    """They may quote content, so the detail is made of codes only."""
    error = translate(Fault(status=401, type="authentication_error", message="invalid x-api-key"))
    assert isinstance(error, FatalError)
    assert ("API answered 401 authentication_error (key)", "invalid x-api-key") == (
        error.detail,
        error.quoted,
    )
