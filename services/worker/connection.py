"""How calls travel: the key on each request, and sockets that survive long silences."""

import socket
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

import aiohttp
import httpx2
from aiohappyeyeballs import AddrInfoType

from services.runtime.secret import Secret
from services.runtime.secrets import SecretStore
from services.worker.settings import ClaudeSettings

KEY_USED: Final[ContextVar[str | None]] = ContextVar("key_used", default=None)
"""Which key the last call of this task was sent with, however it ended."""
_UNAUTHORIZED: Final = 401


class EnvironmentRefused(Exception):  # noqa: N818 -- a state of the environment
    """A variable is set that would change what is sent behind our back."""


def refuse_environment(environ: Mapping[str, str]) -> None:
    """Refuse to start with variables that the SDK reads and we do not want.

    `ANTHROPIC_CUSTOM_HEADERS` overrides the key, `ANTHROPIC_LOG=debug` writes whole prompts, and
    the rest would be ignored, which is worse than refused.

    Raises:
        EnvironmentRefused: One is set.
    """
    found = sorted(name for name in environ if name.startswith("ANTHROPIC_"))
    if found:
        raise EnvironmentRefused(
            f"{', '.join(found)} is set; unset it: the key comes from SECRETS__…, the address from"
            " CLAUDE__BASE_URL"
        )


class KeyedClient(httpx2.AsyncClient):
    """Sends with the key of the moment; a 401 refreshes it once and sends again.

    Sends and nothing else: looking for cookies, redirects and proxies at every call was a sixth of
    a worker's CPU time, and the API has none of them for us.

    Args:
        secrets: Holds the key.
        transport: How bytes travel.
        timeout: Of requests that bring none.
    """

    def __init__(
        self, secrets: SecretStore, transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout
    ) -> None:
        super().__init__(transport=transport, timeout=timeout)
        self._secrets = secrets
        self._wire = transport

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **_: object
    ) -> httpx2.Response:
        """Send a request as the SDK built it, and again with a newer key where it was replaced."""
        key = self._secrets.get()
        response = await self._sent(request, key)
        try:
            if response.status_code == _UNAUTHORIZED:
                newer = await self._secrets.refresh(bad=key)
                if newer != key:
                    await response.aread()  # else its connection could not be used again
                    response = await self._sent(request, newer)
            if not stream:
                await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response

    async def _sent(self, request: httpx2.Request, key: Secret) -> httpx2.Response:
        request.headers["Authorization"] = f"Bearer {key.reveal()}"
        KEY_USED.set(key.key_id)
        response = await self._wire.handle_async_request(request)
        response.request = request
        return response


def session(settings: ClaudeSettings) -> aiohttp.ClientSession:
    """Open the connection pool; called inside the running loop."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),  # the edge's cookies would tie us to one of its hosts
        connector=aiohttp.TCPConnector(
            limit=settings.max_connections,
            keepalive_timeout=settings.keepalive.total_seconds(),
            socket_factory=_keepalive_socket,
        ),
    )


def _keepalive_socket(address: AddrInfoType) -> socket.socket:
    """Make a socket that a NAT or load balancer does not forget during minutes of thinking."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):  # macOS has its own names
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
