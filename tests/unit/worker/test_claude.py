"""The client: what is sent, whose key, and what every failure becomes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx2
import pytest
from anthropic import AsyncAnthropic
from anthropic._vendor.httpx_aiohttp.transport import AiohttpTransport

from services.worker.answer import Answer
from services.worker.claude import Call, Claude
from services.worker.connection import EnvironmentRefused, refuse_environment, session
from services.worker.errors import FatalError, SluiceError, TransientError
from services.worker.settings import ClaudeSettings
from sluice_contracts import FailureCode as F
from tests.unit.worker.conftest import Keys, Reply, Wire, answered, message, refused

pytestmark = pytest.mark.looptime
CALL = Call(b'{"model": "claude-haiku-5-5"}', "haiku-group", 10)


class Ear:
    """Remembers what the throttle would hear."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, dict[str, str]]] = []

    def __call__(self, group: str, headers: Any, *, sent_at: float, status: int) -> None:
        """Hear an answer."""
        assert sent_at >= 0
        self.heard.append((group, status, dict(headers)))


def _claude(wire: Wire, keys: Keys | None = None, ear: Ear | None = None) -> Claude:
    store = (keys or Keys("sk-one")).store()
    return Claude(ClaudeSettings(), store, ear or Ear(), httpx2.MockTransport(wire))


async def _failing(*replies: Reply) -> SluiceError:
    async with _claude(Wire(list(replies))) as claude:
        with pytest.raises(SluiceError) as caught:
            await claude.call(CALL)
    return caught.value


async def test_a_call_is_sent_as_the_api_wants_it() -> None:
    """Version, key and body; no header of the SDK's own retry counting up."""
    wire = Wire()
    async with _claude(wire) as claude:
        answer = await claude.call(CALL)
    (request,) = wire.requests
    assert ("https://api.anthropic.com/v1/messages", "2026-10-21", "Bearer sk-one") == (
        str(request.url),
        request.headers["anthropic-version"],
        request.headers["authorization"],
    )
    assert ("application/json", CALL.body) == (request.headers["content-type"], request.content)
    assert "x-api-key" not in request.headers
    assert ("Hello.", "req_1") == (answer.text, answer.request_id)


async def test_a_rotated_key_is_taken_up_inside_the_call() -> None:
    """A 401 reads the secret once and sends again; the caller sees one answer."""
    wire = Wire([refused(401, "authentication_error"), answered()])
    keys = Keys("sk-old", "sk-new")
    async with _claude(wire, keys) as claude:
        answer = await claude.call(CALL)
    sent = [request.headers["authorization"] for request in wire.requests]
    assert (["Bearer sk-old", "Bearer sk-new"], 1) == (sent, keys.reads)
    assert keys.keys[1].key_id == answer.key_id


async def test_many_calls_with_a_revoked_key_read_the_secret_once() -> None:
    """Single flight: fifty answers 401 are one read, and no call fails."""
    wire, keys = Wire(), Keys("sk-old", "sk-new")
    wire.choose = lambda request: (
        answered()
        if request.headers["authorization"] == "Bearer sk-new"
        else refused(401, "authentication_error")
    )
    async with _claude(wire, keys) as claude:
        answers = await asyncio.gather(*(claude.call(CALL) for _ in range(50)))
    assert (50, 1) == (len(answers), keys.reads)


async def test_a_key_that_stays_wrong_is_fatal() -> None:
    """It is not sent twice when there is no other."""
    wire = Wire([refused(401, "authentication_error")])
    async with _claude(wire) as claude:
        with pytest.raises(FatalError):
            await claude.call(CALL)
    assert 1 == len(wire.requests)


async def test_nothing_is_retried_by_the_sdk() -> None:
    """Every retry needs new tokens from the throttle, so each failure comes out at once."""
    wire = Wire([refused(529, "overloaded_error", headers={"x-should-retry": "true"})])
    async with _claude(wire) as claude:
        with pytest.raises(TransientError):
            await claude.call(CALL)
    assert 1 == len(wire.requests)


async def test_the_throttle_hears_every_answer() -> None:
    """Good and bad, with plain lower-case headers."""
    ear = Ear()
    limited = refused(429, "rate_limit_error", headers={"Retry-After": "3"})
    async with _claude(Wire([limited, answered()]), ear=ear) as claude:
        with pytest.raises(TransientError):
            await claude.call(CALL)
        await claude.call(CALL)
    assert [("haiku-group", 429), ("haiku-group", 200)] == [(g, s) for g, s, _ in ear.heard]
    assert "3" == ear.heard[0][2]["retry-after"]


def _chained(error: httpx2.TransportError, cause: Exception) -> httpx2.TransportError:
    error.__cause__ = cause
    return error


_KEY: Any = None
GONE = aiohttp.ServerDisconnectedError()
NOWHERE = aiohttp.ClientConnectorError(_KEY, OSError("refused"))


@pytest.mark.parametrize(
    ("reply", "code", "paid"),
    [
        (_chained(httpx2.ConnectError("x"), NOWHERE), F.UNREACHABLE, False),
        (_chained(httpx2.ConnectError("x"), GONE), F.UNREACHABLE, True),
        (httpx2.ReadError("cut"), F.UPSTREAM_FAILED, True),
        (httpx2.ReadTimeout("silence"), F.TIMED_OUT, True),
        (httpx2.ConnectTimeout("silence"), F.TIMED_OUT, True),
        (httpx2.Response(200, html="<html>"), F.UPSTREAM_FAILED, True),
        (httpx2.Response(200, content=b'{"type": "mess'), F.UPSTREAM_FAILED, True),
        (httpx2.Response(200, json={"type": "other"}), F.UPSTREAM_FAILED, True),
        (httpx2.Response(503, text="upstream connect error"), F.UPSTREAM_FAILED, False),
        (httpx2.Response(503, json=["odd"]), F.UPSTREAM_FAILED, False),
    ],
)  # fmt: skip
async def test_what_the_network_does_is_ours_to_name(reply: Reply, code: F, *, paid: bool) -> None:
    """Each is transient, and says whether the call may be on the bill."""
    error = await _failing(reply)
    assert isinstance(error, TransientError)
    assert (code, paid) == (error.code, error.possibly_paid)


async def test_a_call_that_never_ends_is_ended() -> None:
    """The SDK's timeout is per read; ours is for the whole call."""

    async def hang(_: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(10_000)
        return answered()

    transport = httpx2.MockTransport(hang)
    async with Claude(ClaudeSettings(), Keys("sk-one").store(), Ear(), transport) as claude:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransientError) as caught:
            await claude.call(CALL)
    assert F.TIMED_OUT == caught.value.code
    assert 600 == round(asyncio.get_running_loop().time() - began)


async def _stream(*events: dict[str, Any], fail: Exception | None = None) -> Answer | SluiceError:
    async def body() -> AsyncIterator[bytes]:
        for event in events:
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        if fail is not None:
            raise fail

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body()))
    said: list[str] = []

    async def hear(text: str) -> None:
        said.append(text)

    async with Claude(ClaudeSettings(), Keys("sk-one").store(), Ear(), transport) as claude:
        try:
            return await claude.stream(CALL, hear)
        except SluiceError as exc:
            return exc


START = {"type": "message_start", "message": message(None, stop_reason=None)}
OVERLOAD = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize("before", [(), (START,)])
async def test_an_error_inside_a_stream_is_what_it_says(before: tuple[dict[str, Any], ...]) -> None:
    """Although its status is 200."""
    error = await _stream(*before, OVERLOAD)
    assert isinstance(error, TransientError)
    assert (F.OVERLOADED, "overloaded_error") == (error.code, error.api_error_type)


async def test_a_stream_without_its_end_is_cut_short() -> None:
    """A clean end of the connection is not the end of the message."""
    error = await _stream(START)
    assert isinstance(error, TransientError)
    assert (F.UPSTREAM_FAILED, "cut short") == (error.code, error.rule)


async def test_a_stream_that_breaks_is_cut_short() -> None:
    """The raw error of the transport does not get out."""
    error = await _stream(START, fail=httpx2.ReadError("reset"))
    assert isinstance(error, TransientError)
    assert "cut short" == error.rule


@pytest.mark.parametrize(
    "event",
    [
        [],
        "text",
        {"type": "content_block_delta", "index": 0, "delta": "text"},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "citations_delta"}},
        {"type": "content_block_stop", "index": "first"},
        {"type": "message_start"},
        {"type": "message_delta", "usage": 5},
    ],
)
async def test_a_malformed_event_is_no_answer(event: Any) -> None:
    """Whatever is wrong with it."""
    body = f"data: {json.dumps(START)}\n\ndata: {json.dumps(event)}\n\n".encode()
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))

    async def hear(_: str) -> None:
        return

    async with Claude(ClaudeSettings(), Keys("sk-one").store(), Ear(), transport) as claude:
        with pytest.raises(TransientError) as caught:
            await claude.stream(CALL, hear)
    assert "not an answer" == caught.value.rule


@pytest.mark.parametrize(
    "reply",
    [
        httpx2.Response(200, html="<html>"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"input_tokens": "many"}),
        httpx2.Response(200, json={}),
    ],
)
async def test_a_page_is_no_count(reply: httpx2.Response) -> None:
    """An edge may answer 200 with anything; what asks beside the calls fails like them."""
    async with _claude(Wire([reply])) as claude:
        with pytest.raises(TransientError):
            await claude.count_tokens({"model": "m"})


async def test_a_page_is_no_model() -> None:
    """As above."""
    async with _claude(Wire([httpx2.Response(200, html="<html>")])) as claude:
        with pytest.raises(TransientError):
            await claude.facts("claude-haiku-5-5")


async def test_what_is_asked_beside_the_calls_waits_for_seconds_only() -> None:
    """Nobody starts ten minutes late because a question hangs."""
    wire = Wire(seconds=10_000)
    async with _claude(wire) as claude:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransientError):
            await claude.facts("claude-haiku-5-5")
        with pytest.raises(TransientError):
            await claude.count_tokens({"model": "m"})
    assert 10 == round(asyncio.get_running_loop().time() - began)


async def test_the_models_api_is_read_into_facts() -> None:
    """What it does not say stays unknown."""
    entry = {
        "id": "claude-haiku-5-5",
        "line": "haiku",
        "lifecycle": "active",
        "max_tokens": 128_000,
        "capabilities": {
            "thinking": {
                "types": {"adaptive": {"supported": True}, "enabled": {"supported": False}}
            }
        },
    }
    wire = Wire([httpx2.Response(200, json=entry)])
    async with _claude(wire) as claude:
        facts = await claude.facts("claude-haiku-5-5")
    assert "/v1/models/claude-haiku-5-5" == wire.requests[0].url.path
    assert ("haiku", frozenset({"adaptive"}), None) == (facts.line, facts.thinking, facts.efforts)


async def test_tokens_are_counted_by_the_api() -> None:
    """Without what the endpoint does not take."""
    wire = Wire([httpx2.Response(200, json={"input_tokens": 42})])
    async with _claude(wire) as claude:
        counted = await claude.count_tokens({"model": "m", "messages": [], "max_tokens": 5})
    assert (42, [{"model": "m", "messages": []}]) == (counted, wire.bodies)


@pytest.mark.parametrize("name", ["ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_API_KEY", "ANTHROPIC_LOG"])
def test_variables_that_change_calls_are_refused(name: str) -> None:
    """The SDK reads them behind our back."""
    with pytest.raises(EnvironmentRefused, match=name):
        refuse_environment({name: "x", "PATH": "/bin"})


async def test_connections_are_kept_alive() -> None:
    """The private transport takes our session, whose sockets survive a silent minute."""
    opened = session(ClaudeSettings())
    transport = AiohttpTransport(client=lambda: opened)
    assert opened is transport.get_client()
    assert 90 == opened.connector._keepalive_timeout  # type: ignore[union-attr]
    await opened.close()


async def test_the_sdk_still_sends_the_key_as_bearer() -> None:
    """An upgrade that changes the header would make two keys travel."""
    wire = Wire()
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(wire))
    async with AsyncAnthropic(
        api_key="sk-x", base_url="https://x.example", http_client=http
    ) as sdk:
        await sdk.messages.create(
            model="claude-haiku-5-5", max_tokens=5, messages=[{"role": "user", "content": "x"}]
        )
    assert "Bearer sk-x" == wire.requests[0].headers["authorization"]
