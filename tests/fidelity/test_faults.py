"""Every fault as the official SDK sees it: the exceptions that a worker has to translate."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import pytest

from services.simulator.app import Simulator
from services.simulator.faults import Fault, FaultKind
from tests.fidelity.comparing import KEY

REQUEST: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "Tell me about card arrival times."}],
}


@pytest.fixture
async def client(simulator: tuple[Simulator, str]) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Return the SDK on the transport that the worker uses, without retries."""
    http = anthropic.DefaultAioHttpClient()
    async with anthropic.AsyncAnthropic(
        api_key=KEY, base_url=simulator[1], max_retries=0, timeout=30, http_client=http
    ) as made:
        yield made


def inject(simulator: tuple[Simulator, str], kind: FaultKind, **more: Any) -> None:
    """Let the next call fail."""
    simulator[0].state.faults.add(Fault(kind=kind, **more))


STATUSES: dict[FaultKind, tuple[type[anthropic.APIStatusError], int, str | None]] = {
    FaultKind.RATE_LIMITED: (anthropic.RateLimitError, 429, "rate_limit_error"),
    FaultKind.OVERSIZE: (anthropic.RateLimitError, 429, "rate_limit_error"),
    FaultKind.SPEND_CAP: (anthropic.RateLimitError, 429, "rate_limit_error"),
    FaultKind.RAMP: (anthropic.RateLimitError, 429, "rate_limit_error"),
    FaultKind.CONCURRENCY: (anthropic.RateLimitError, 429, "rate_limit_error"),
    FaultKind.OWN_SPEND_LIMIT: (anthropic.BadRequestError, 400, "invalid_request_error"),
    FaultKind.BAD_REQUEST: (anthropic.BadRequestError, 400, "invalid_request_error"),
    FaultKind.ON_HOLD: (anthropic.BadRequestError, 400, "invalid_request_error"),
    FaultKind.UNAUTHORISED: (anthropic.AuthenticationError, 401, "authentication_error"),
    FaultKind.PAYMENT_REQUIRED: (anthropic.PaymentRequiredError, 402, "billing_error"),
    FaultKind.FORBIDDEN: (anthropic.PermissionDeniedError, 403, "permission_error"),
    FaultKind.EDGE_FORBIDDEN: (anthropic.PermissionDeniedError, 403, "forbidden"),
    FaultKind.MODEL_NOT_FOUND: (anthropic.NotFoundError, 404, "not_found_error"),
    FaultKind.REQUEST_TIMEOUT: (anthropic.APIStatusError, 408, "timeout_error"),
    FaultKind.CONFLICT: (anthropic.ConflictError, 409, "conflict_error"),
    FaultKind.EDGE_TOO_LARGE: (anthropic.APIStatusError, 413, "request_too_large"),
    FaultKind.UNPROCESSABLE: (anthropic.UnprocessableEntityError, 422, "invalid_request_error"),
    FaultKind.SERVER_ERROR: (anthropic.InternalServerError, 500, "api_error"),
    FaultKind.UNAVAILABLE: (anthropic.ServiceUnavailableError, 503, None),
    FaultKind.GATEWAY_TIMEOUT: (anthropic.GatewayTimeoutError, 504, "timeout_error"),
    FaultKind.OVERLOADED: (anthropic.OverloadedError, 529, "overloaded_error"),
}


@pytest.mark.parametrize("kind", STATUSES)
async def test_statuses(
    kind: FaultKind, simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """Each error answer becomes the SDK's class for it."""
    inject(simulator, kind)
    with pytest.raises(anthropic.APIStatusError) as raised:
        await client.messages.create(**REQUEST)
    expected, status, type_ = STATUSES[kind]
    assert isinstance(raised.value, expected)
    assert (status, type_) == (raised.value.status_code, raised.value.type)


@pytest.mark.parametrize(
    "kind", [FaultKind.RESET_BEFORE_HEADERS, FaultKind.RESET_IN_BODY, FaultKind.CUT_IN_BODY]
)
async def test_lost_answers(
    kind: FaultKind, simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """A lost answer is a connection error, and the call was charged."""
    inject(simulator, kind)
    with pytest.raises(anthropic.APIConnectionError):
        await client.messages.create(**REQUEST)
    account = simulator[0].state.limiters.of("claude-haiku-5-5").account
    assert 1 == account.total.requests
    assert account.total.output_tokens > 0


async def test_hanging(simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic) -> None:
    """A hanging answer ends in the client's timeout."""
    inject(simulator, FaultKind.HANG)
    with pytest.raises(anthropic.APITimeoutError):
        await client.messages.create(**REQUEST, timeout=0.2)


async def test_html(simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic) -> None:
    """A page in place of JSON comes back as a string."""
    inject(simulator, FaultKind.HTML)
    assert isinstance(await client.messages.create(**REQUEST), str)


async def test_broken_json(
    simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """Half an answer is no JSON."""
    inject(simulator, FaultKind.BROKEN_JSON)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|EOF"):
        await client.messages.create(**REQUEST)


@pytest.mark.parametrize("kind", [FaultKind.STREAM_ERROR_FIRST, FaultKind.STREAM_ERROR_MIDDLE])
async def test_error_in_a_stream(
    kind: FaultKind, simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """An error after status 200 is a status error of status 200."""
    inject(simulator, kind)
    with pytest.raises(anthropic.APIStatusError) as raised:
        async with client.messages.stream(**REQUEST) as stream:
            await stream.get_final_message()
    assert (200, "overloaded_error") == (raised.value.status_code, raised.value.type)


async def test_cut_stream(
    simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """A clean end without message_stop is no error: the stop reason is missing."""
    inject(simulator, FaultKind.STREAM_CUT)
    async with client.messages.stream(**REQUEST) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason is None


async def test_reset_stream(
    simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """A reset within a stream is a raw transport error."""
    inject(simulator, FaultKind.STREAM_RESET)
    with pytest.raises(httpx2.TransportError):
        async with client.messages.stream(**REQUEST) as stream:
            await stream.get_final_message()


async def test_unknown_event(
    simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic
) -> None:
    """An event of tomorrow does not disturb the message."""
    inject(simulator, FaultKind.STREAM_UNKNOWN_EVENT)
    async with client.messages.stream(**REQUEST) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "end_turn"


async def test_refusal(simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic) -> None:
    """A refusal is an answer, with its category."""
    inject(simulator, FaultKind.REFUSAL)
    message = await client.messages.create(**REQUEST)
    assert ("refusal", []) == (message.stop_reason, message.content)
    assert message.stop_details is not None
    assert "cyber" == message.stop_details.category


async def test_outage(simulator: tuple[Simulator, str], client: anthropic.AsyncAnthropic) -> None:
    """While nobody listens a connection is refused, afterwards all is as before."""
    async with httpx2.AsyncClient() as control:
        await control.post(f"{simulator[1]}/_sim/outage", json={"seconds": 1.5})
        await asyncio.sleep(0.3)
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.create(**REQUEST)
        await asyncio.sleep(2.0)
        assert "message" == (await client.messages.create(**REQUEST)).type
