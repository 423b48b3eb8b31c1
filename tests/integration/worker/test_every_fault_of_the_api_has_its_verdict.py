"""Each fault of the simulator, over a real connection, ends where the table of errors says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable

import aiohttp
import pytest
from pydantic import AnyHttpUrl

from services.ops.local.servers import Server
from services.simulator.faults import FaultKind as K
from services.worker.answer import Answer
from services.worker.claude import Call, Claude
from services.worker.errors import FatalError, PermanentError, SluiceError, TransientError
from services.worker.settings import ClaudeSettings
from services.worker.validate import Passed, validate
from sluice_contracts import FailureCode as F
from tests.unit.worker.conftest import Keys

FATAL, DEAD, RETRY = FatalError, PermanentError, TransientError
END = (Passed, None)
EXPECTED: dict[K, tuple[type, F | None]] = {
    K.RATE_LIMITED: (RETRY, F.RATE_LIMITED),
    K.OVERSIZE: (DEAD, F.EXCEEDS_RATE_LIMIT),
    K.SPEND_CAP: (FATAL, F.SPEND_LIMIT_REACHED),
    K.CONTRACT_SPEND_CAP: (FATAL, F.SPEND_LIMIT_REACHED),
    K.RAMP: (RETRY, F.RATE_LIMITED),
    K.CONCURRENCY: (RETRY, F.RATE_LIMITED),
    K.OWN_SPEND_LIMIT: (FATAL, F.SPEND_LIMIT_REACHED),
    K.WORKSPACE_SPEND_LIMIT: (FATAL, F.SPEND_LIMIT_REACHED),
    K.BAD_REQUEST: (DEAD, F.REQUEST_REJECTED),
    K.PROMPT_TOO_LONG: (DEAD, F.CONTEXT_TOO_LONG),
    K.CONTEXT_EXCEEDED: (DEAD, F.CONTEXT_TOO_LONG),
    K.ON_HOLD: (FATAL, F.NOT_AUTHORISED),
    K.UNAUTHORISED: (FATAL, F.NOT_AUTHORISED),
    K.PAYMENT_REQUIRED: (FATAL, F.SPEND_LIMIT_REACHED),
    K.FORBIDDEN: (FATAL, F.NOT_AUTHORISED),
    K.EDGE_FORBIDDEN: (FATAL, F.NOT_AUTHORISED),
    K.MODEL_NOT_FOUND: (FATAL, F.REQUEST_REJECTED),
    K.REQUEST_TIMEOUT: (RETRY, F.TIMED_OUT),
    K.CONFLICT: (RETRY, F.UPSTREAM_FAILED),
    K.EDGE_TOO_LARGE: (DEAD, F.REQUEST_TOO_LARGE),
    K.UNPROCESSABLE: (DEAD, F.REQUEST_REJECTED),
    K.SERVER_ERROR: (RETRY, F.UPSTREAM_FAILED),
    K.SERVER_ERROR_FINAL: (DEAD, F.UPSTREAM_FAILED),
    K.UNAVAILABLE: (RETRY, F.UPSTREAM_FAILED),
    K.GATEWAY_TIMEOUT: (RETRY, F.TIMED_OUT),
    K.OVERLOADED: (RETRY, F.OVERLOADED),
    K.RESET_BEFORE_HEADERS: (RETRY, F.UNREACHABLE),
    K.RESET_IN_BODY: (RETRY, F.UPSTREAM_FAILED),
    K.CUT_IN_BODY: (RETRY, F.UPSTREAM_FAILED),
    K.HANG: (RETRY, F.TIMED_OUT),
    K.SLOW: END,
    K.HTML: (RETRY, F.UPSTREAM_FAILED),
    K.BROKEN_JSON: (RETRY, F.UPSTREAM_FAILED),
    K.CONTENT_EMPTY: END,
    K.REFUSAL: (DEAD, F.REFUSED),
    K.REFUSAL_AFTER_TEXT: (DEAD, F.REFUSED),
    K.TRUNCATED: (DEAD, F.TRUNCATED),
    K.THINKING_ONLY: (DEAD, F.TRUNCATED),
    K.WINDOW_EXCEEDED: (DEAD, F.TRUNCATED),
    K.PAUSE_TURN: (DEAD, F.UPSTREAM_FAILED),
    K.WRONG_CASE: END,
    K.SCHEMA_VIOLATION: END,
    K.NOT_JSON: END,
    K.UNKNOWN_BLOCK: END,
}
STREAMED: dict[K, tuple[type, F | None]] = {
    K.STREAM_ERROR_FIRST: (RETRY, F.OVERLOADED),
    K.STREAM_ERROR_MIDDLE: (RETRY, F.OVERLOADED),
    K.STREAM_CUT: (RETRY, F.UPSTREAM_FAILED),
    K.STREAM_RESET: (RETRY, F.UPSTREAM_FAILED),
    K.STREAM_UNKNOWN_EVENT: END,
    K.OVERLOADED: (RETRY, F.OVERLOADED),
    K.REFUSAL_AFTER_TEXT: (DEAD, F.REFUSED),
}
PAID = {
    K.REQUEST_TIMEOUT, K.GATEWAY_TIMEOUT, K.RESET_BEFORE_HEADERS, K.RESET_IN_BODY, K.CUT_IN_BODY,
    K.HANG, K.HTML, K.BROKEN_JSON,
}  # fmt: skip

SECONDS = {K.HANG: 60, K.SLOW: 1}


@pytest.fixture
async def claude(simulator: Server) -> AsyncIterator[Claude]:
    """The real client, impatient with calls that hang."""
    settings = ClaudeSettings(base_url=AnyHttpUrl(simulator.url), timeout="12s")
    store = Keys("sk-ant-api03-simulator-one").store()
    async with Claude(settings, store, lambda *_, **__: None) as client:
        yield client


async def _inject(server: Server, kind: K, mark: str) -> None:
    fault = {"kind": kind, "count": 1, "contains": mark, "seconds": SECONDS.get(kind, 0)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/_sim/faults", json=[fault]) as answer,
    ):
        assert answer.ok, await answer.text()


def _call(mark: str, *, stream: bool) -> Call:
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 4_000,
        "messages": [{"role": "user", "content": f"Say a word. {mark}"}],
        "stream": stream,
    }
    return Call(json.dumps(body).encode(), "group", 10)


async def _end(answering: Awaitable[Answer]) -> object:
    try:
        return validate(await answering, None)
    except SluiceError as exc:
        return exc


def _is(end: object, expected: tuple[type, F | None]) -> bool:
    kind, code = expected
    return isinstance(end, kind) and getattr(end, "code", None) == code


def test_every_fault_is_expected() -> None:
    """A new one of the simulator fails here."""
    assert set(K) - {K.SCRIPTED, K.ERROR} == set(EXPECTED) | set(STREAMED)


async def test_faults_of_calls(simulator: Server, claude: Claude) -> None:
    """Each has the disposition and code of its row, and says whether it may be paid."""

    async def end_of(kind: K) -> object:
        await _inject(simulator, kind, f"<{kind}>")
        return await _end(claude.call(_call(f"<{kind}>", stream=False)))

    ends = dict(zip(EXPECTED, await asyncio.gather(*map(end_of, EXPECTED)), strict=True))
    assert {} == {kind: end for kind, end in ends.items() if not _is(end, EXPECTED[kind])}
    paid = {k for k, end in ends.items() if isinstance(end, TransientError) and end.possibly_paid}
    assert PAID == paid


async def test_faults_of_streams(simulator: Server, claude: Claude) -> None:
    """After status 200 the same rows decide."""

    async def hear(text: str) -> None:
        assert text

    async def end_of(kind: K) -> object:
        await _inject(simulator, kind, f"[{kind}]")
        return await _end(claude.stream(_call(f"[{kind}]", stream=True), hear))

    ends = dict(zip(STREAMED, await asyncio.gather(*map(end_of, STREAMED)), strict=True))
    assert {} == {kind: end for kind, end in ends.items() if not _is(end, STREAMED[kind])}


async def test_nobody_listening_is_surely_unpaid() -> None:
    """The connection was never made, and the transport's error alone does not say so."""
    settings = ClaudeSettings(base_url=AnyHttpUrl("http://127.0.0.1:9"))
    async with Claude(settings, Keys("sk-one").store(), lambda *_, **__: None) as client:
        with pytest.raises(TransientError) as caught:
            await client.call(_call("", stream=False))
    assert (F.UNREACHABLE, False) == (caught.value.code, caught.value.possibly_paid)
