"""The Claude API: one client for each process, one HTTP call for each call, errors made ours.

The only file that imports the SDK. Its retries are off: a retry must take new tokens from the
throttle, and its owner is `retries.py`. What errors mean is the table in `api_errors.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, Self, TypeVar, cast
from urllib.parse import quote

import aiohttp
import anthropic
import httpx2
from anthropic import (
    AnthropicError,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncAnthropic,
    AsyncAPIResponse,
    CredentialsError,
    Timeout,
    WorkloadIdentityError,
)
from anthropic._error_classes import ERROR_CLASSES  # private: pinned by test_claude.py
from anthropic._types import RequestOptions
from anthropic._vendor.httpx_aiohttp.transport import AiohttpTransport  # likewise
from pydantic_core import to_json

from services.runtime.secrets import SecretStore
from services.worker.answer import Answer, NotAMessage, read_answer, read_body
from services.worker.api_errors import Fault, Wire, in_stream, translate
from services.worker.connection import KEY_USED, KeyedClient, session
from services.worker.models import ModelFacts
from services.worker.settings import ClaudeSettings
from services.worker.sse import MessageFold, StreamError

KNOWN_ERRORS: Final = {key: cls.__name__ for key, cls in ERROR_CLASSES.items()}
"""Every (status, code) that the installed SDK has a name for; `reference.py` lists them."""
OTHER_ERRORS: Final[tuple[type[AnthropicError], ...]] = tuple(
    cls
    for cls in vars(anthropic).values()
    if isinstance(cls, type) and issubclass(cls, AnthropicError)
    and not issubclass(cls, APIStatusError)
)  # fmt: skip
"""What else it can raise: no answer of the API."""
_COUNTED: Final = ("model", "messages", "system", "thinking", "output_config")
_OK: Final = 200
_ASKING: Final = 5.0
"""Longest wait, in seconds, for what is asked beside the calls: models, token counts."""
_UNREAD: Final = {"X-Stainless-Raw-Response": "stream"}
_T = TypeVar("_T")
_Raw = AsyncAPIResponse[object]


class Observe(Protocol):
    """Hears the headers of every answer: the throttle's ear."""

    def __call__(
        self, group: str, headers: Mapping[str, str], *, sent_at: float, status: int
    ) -> None:
        """Take in the headers of one answer."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call to send; `group` is empty where the throttle has no interest in the answer."""

    body: bytes
    group: str = ""
    input_estimate: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class Claude:
    """The client of this process; enter it once and keep it.

    Args:
        settings: Where and how to call.
        secrets: Holds the key; read at the moment of use.
        observe: Hears every answer's headers.
        transport: How bytes travel; default: aiohttp with keep-alive sockets.
    """

    def __init__(
        self,
        settings: ClaudeSettings,
        secrets: SecretStore,
        observe: Observe,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._observe = observe
        self._total = settings.timeout.total_seconds()
        connect = settings.connect_timeout.total_seconds()
        timeout = Timeout(self._total, connect=connect, pool=10)
        silence = settings.stream_read_timeout.total_seconds()
        self._streamed: Final = {
            "timeout": Timeout(self._total, connect=connect, pool=10, read=silence)
        }
        self._client = AsyncAnthropic(
            api_key="KeyedClient puts the real one",
            base_url=str(settings.base_url),
            max_retries=0,
            timeout=timeout,
            http_client=KeyedClient(
                secrets,
                transport or AiohttpTransport(client=partial(session, settings)),
                timeout,
            ),
            open_telemetry=False,  # its spans could carry prompts by an environment variable
        )

    async def __aenter__(self) -> Self:
        """Keep connections from here on."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._client.close()

    async def call(self, call: Call) -> Answer:
        """Send a call and return the whole answer.

        Raises:
            SluiceError: The call failed; the table in `api_errors.py` says how.
        """
        return await self._translated(call, self._call(call))

    async def stream(self, call: Call, on_text: Callable[[str], Awaitable[None]]) -> Answer:
        """Send a call whose body asks for a stream; hand over text as it is written.

        Raises:
            SluiceError: As `call`; text that was handed over is void then.
        """
        return await self._translated(call, self._stream(call, on_text))

    async def count_tokens(self, body: Mapping[str, Any]) -> int:
        """Ask the API how many input tokens a body has; free, but a round trip.

        Raises:
            SluiceError: The call failed.
        """
        content = to_json({key: body[key] for key in _COUNTED if key in body})
        return await self._translated(Call(content), self._count(content), within=_ASKING)

    async def facts(self, model: str) -> ModelFacts:
        """Ask the Models API what a model is and can do.

        Raises:
            SluiceError: The call failed.
        """
        return await self._translated(Call(b""), self._model(model), within=_ASKING)

    async def _count(self, content: bytes) -> int:
        body = read_body(await self._post("/v1/messages/count_tokens", content))
        if not isinstance(body.get("input_tokens"), int):
            raise NotAMessage("the body counts no input_tokens")
        return int(body["input_tokens"])

    async def _model(self, model: str) -> ModelFacts:
        raw = await self._client.get(f"/v1/models/{quote(model, safe='')}", cast_to=_Raw)
        return ModelFacts.read(read_body(raw.http_response))

    async def _post(self, path: str, content: bytes, **options: Any) -> httpx2.Response:
        asked = cast("RequestOptions", options)
        raw = await self._client.post(path, content=content, cast_to=_Raw, options=asked)
        return raw.http_response

    async def _call(self, call: Call) -> Answer:
        sent_at = asyncio.get_running_loop().time()
        response = await self._post("/v1/messages", call.body, headers=call.headers)
        self._hear(call, response, sent_at)
        return read_answer(read_body(response), response)

    async def _stream(self, call: Call, on_text: Callable[[str], Awaitable[None]]) -> Answer:
        sent_at = asyncio.get_running_loop().time()
        headers = {**call.headers, **_UNREAD}
        response = await self._post("/v1/messages", call.body, headers=headers, **self._streamed)
        self._hear(call, response, sent_at)
        fold = MessageFold()
        try:
            async for chunk in response.aiter_bytes():
                text = fold.feed(chunk)
                if text:
                    await on_text(text)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise NotAMessage("an event of the stream is malformed") from exc
        except StreamError as exc:
            raise translate(
                Fault(
                    status=in_stream(exc.type), type=exc.type, code=exc.code, message=str(exc),
                    request_id=response.headers.get("request-id"), key_id=KEY_USED.get(),
                    input_estimate=call.input_estimate,
                )
            ) from exc  # fmt: skip
        finally:
            await response.aclose()
        if not fold.is_complete:
            raise _Incomplete
        return read_answer(fold.message, response)

    async def _translated(
        self, call: Call, awaitable: Awaitable[_T], *, within: float | None = None
    ) -> _T:
        """Await under the total timeout; every way to fail leaves as one of our errors."""
        sent_at = asyncio.get_running_loop().time()
        try:
            # The SDK's timeout is per socket operation: a stream with pings would never end.
            async with asyncio.timeout(within or self._total):
                return await awaitable
        except APIStatusError as exc:
            self._hear(call, exc.response, sent_at)
            raise translate(_fault(exc, call.input_estimate)) from exc
        except (AnthropicError, TimeoutError, httpx2.RequestError, _Incomplete, NotAMessage) as exc:
            raise translate(_lost(exc)) from exc

    def _hear(self, call: Call, response: httpx2.Response, sent_at: float) -> None:
        if call.group:
            # As a plain dict: each lookup in the SDK's headers decodes all of them.
            headers = {
                name.decode().lower(): value.decode() for name, value in response.headers.raw
            }
            self._observe(call.group, headers, sent_at=sent_at, status=response.status_code)


class _Incomplete(Exception):  # noqa: N818
    """A stream that ended without `message_stop`."""


def _fault(exc: APIStatusError, input_estimate: int) -> Fault:
    return Fault(
        status=exc.status_code,
        type=exc.type,
        code=exc.error_code,
        message=exc.api_message or "",
        headers=exc.response.headers,
        request_id=exc.request_id,
        key_id=KEY_USED.get(),
        input_estimate=input_estimate,
    )


def _lost(exc: Exception) -> Fault:
    """Describe the end of a call that brought neither an answer nor an error of the API."""
    wire = wire_of(exc)
    said = exc.__cause__ if isinstance(exc, APIConnectionError) else exc
    status = _OK if wire is Wire.NOT_JSON else 0
    return Fault(status=status, wire=wire, message=str(said or ""), key_id=KEY_USED.get())


def wire_of(exc: Exception) -> Wire:
    """Say how a call ended that brought neither an answer nor an error of the API."""
    match exc:
        case APITimeoutError() | TimeoutError() | httpx2.TimeoutException():
            return Wire.TIMED_OUT
        case APIConnectionError():
            return _connection(exc)
        case httpx2.RequestError() | _Incomplete():
            return Wire.CUT_SHORT
        case NotAMessage() | APIResponseValidationError():
            return Wire.NOT_JSON
        case CredentialsError() | WorkloadIdentityError():
            return Wire.NO_CREDENTIALS
        case _:
            return Wire.NOT_UNDERSTOOD


def _connection(exc: APIConnectionError) -> Wire:
    """Say whether a call left before its connection failed; the httpx error alone cannot."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, aiohttp.ClientConnectorError):
            return Wire.NEVER_SENT
        if isinstance(cause, httpx2.ReadError):
            return Wire.CUT_SHORT
        cause = cause.__cause__
    return Wire.CONNECTION_LOST
