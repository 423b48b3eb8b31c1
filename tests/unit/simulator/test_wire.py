"""HTTP/1.1 byte by byte, on a transport that only collects."""

import asyncio
import json
from typing import Any, cast
from unittest.mock import Mock

import pytest

from services.simulator.app import build
from services.simulator.settings import LatencySettings, SimulatorSettings
from services.simulator.wire import Connection, Reply, Request


class Transport:
    """Collects what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        """Collect."""
        self.written += data

    def close(self) -> None:
        """Note it."""
        self.closed = True


class Peer:
    """A connection, its transport and the requests it heard."""

    def __init__(self) -> None:
        self.heard: list[Request] = []
        self.transport = Transport()
        self.connection = Connection(self.answer, set())
        self.connection.connection_made(cast("asyncio.BaseTransport", self.transport))

    async def answer(self, request: Request, reply: Reply) -> None:
        """Echo the body."""
        self.heard.append(request)
        reply.send(200, [("content-length", str(len(request.body)))], request.body)

    async def receive(self, *pieces: bytes) -> None:
        """Let bytes arrive, one piece after the other."""
        for piece in pieces:
            self.connection.data_received(piece)
            await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
async def peer() -> Peer:
    """Return a fresh connection."""
    return Peer()


def post(body: bytes, *headers: str) -> bytes:
    """Return a request."""
    lines = ["POST /v1/messages?beta=true HTTP/1.1", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_byte_by_byte(peer: Peer) -> None:
    """A request may arrive in any pieces."""
    raw = post(b"hello", "X-Api-Key: k")
    await peer.receive(*[raw[at : at + 1] for at in range(len(raw))])
    assert 1 == len(peer.heard)
    heard = peer.heard[0]
    assert ("POST", "/v1/messages", "beta=true", b"hello", "k") == (
        heard.method,
        heard.path,
        heard.query,
        heard.body,
        heard.headers["x-api-key"],
    )
    assert peer.transport.written.endswith(b"\r\n\r\nhello")


async def test_chunked_request(peer: Peer) -> None:
    """A chunked body is put together."""
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.receive(head + b"3\r\nabc\r\n4;x=y\r\nde", b"fg\r\n0\r\n\r\n")
    assert [b"abcdefg"] == [request.body for request in peer.heard]


async def test_pipelined(peer: Peer) -> None:
    """Requests sent in one go are answered in order."""
    await peer.receive(post(b"one") + post(b"two") + post(b"three"))
    await asyncio.sleep(0.01)
    assert [b"one", b"two", b"three"] == [request.body for request in peer.heard]


async def test_close(peer: Peer) -> None:
    """A client that wants no keep-alive is let go."""
    await peer.receive(post(b"x", "Connection: close"))
    assert peer.transport.closed


async def test_head(peer: Peer) -> None:
    """An answer to HEAD has no body."""
    await peer.receive(b"HEAD / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
    assert peer.transport.written.endswith(b"\r\n\r\n")


async def test_nonsense(peer: Peer) -> None:
    """What is not HTTP is refused."""
    await peer.receive(b"nonsense\r\n\r\n")
    assert peer.transport.written.startswith(b"HTTP/1.1 400 ")
    assert peer.transport.closed


async def test_client_gone() -> None:
    """When the client goes, its call is cancelled."""
    ended: list[Any] = []

    async def hang(_request: Request, _reply: Reply) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    connection = Connection(hang, set())
    connection.connection_made(cast("asyncio.BaseTransport", Transport()))
    connection.data_received(post(b"x"))
    await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0.01)
    assert [True] == ended


async def test_chunked_answer() -> None:
    """A streamed answer is chunked and ended."""

    async def stream(_request: Request, reply: Reply) -> None:
        reply.start(529, [("transfer-encoding", "chunked")])
        reply.chunk(b"abc")
        reply.chunk(b"")
        reply.end()

    transport = Transport()
    connection = Connection(stream, set())
    connection.connection_made(cast("asyncio.BaseTransport", transport))
    connection.data_received(post(b""))
    await asyncio.sleep(0.01)
    assert transport.written.startswith(b"HTTP/1.1 529 Overloaded\r\n")
    assert transport.written.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert not transport.closed


async def test_what_is_answered_after_the_server_hung_up_is_not_answered() -> None:
    """Its client sees a broken connection: nobody may count it as a paid answer."""
    simulator = build(SimulatorSettings(keys=("k",), latency=LatencySettings(scale=0)))
    connection = Connection(simulator.handle, set())
    connection.connection_made(cast("asyncio.BaseTransport", Mock()))
    asked = {"model": "claude-haiku-5-5", "max_tokens": 9}
    body = json.dumps({**asked, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    headers = ("POST /v1/messages HTTP/1.1", "x-api-key: k", "anthropic-version: 2023-06-01")
    head = "\r\n".join((*headers, f"content-length: {len(body)}", "", ""))
    connection.data_received(head.encode() + body)
    connection.drop()
    async with asyncio.timeout(10):
        while not simulator.state.ledger.lines():  # noqa: ASYNC110 -- the log has no event
            await asyncio.sleep(0)
    call = json.loads(simulator.state.ledger.lines())
    assert (200, "outage") == (call["status"], call["outcome"])
