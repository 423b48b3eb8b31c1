"""HTTP/1.1 as far as a Claude client speaks it, on bare asyncio.

Hand-written for two reasons: faults need the socket (a reset before the headers, a body that stops
half-way), and the simulator must never be the bottleneck of a benchmark. Keep-alive is supported,
pipelining is served in order, `Expect: 100-continue` and trailers are not.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

EDGE_BODY_LIMIT = 300 * 1024 * 1024
"""More than any endpoint takes; what is larger is not read at all."""

_LAST_WORDS = 0.05
"""Seconds in which whoever asked for an outage gets its answer."""

REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}

Handler = Callable[["Request", "Reply"], Awaitable[None]]


@dataclass(slots=True)
class Request:
    """One request as it came over the wire; header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    arrived: float
    """The loop's time when the head was complete."""


@dataclass(slots=True)
class _Head:
    method: str
    target: str
    headers: dict[str, str]
    arrived: float
    body: bytearray = field(default_factory=bytearray)
    missing: int = 0
    chunked: bool = False


class Reply:
    """The way back: a whole answer at once, or a head and then chunks."""

    __slots__ = ("_connection", "_head_only", "bytes_sent", "closed", "started", "status")

    def __init__(self, connection: "Connection", *, head_only: bool = False) -> None:
        self._connection = connection
        self._head_only = head_only
        self.started = False
        self.closed = False
        self.status = 0
        self.bytes_sent = 0

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send a whole answer, chunked as the API does it when the headers say so."""
        head = self._head(status, headers)
        if self._head_only:
            framed = b""
        elif ("transfer-encoding", "chunked") in headers:
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        else:
            framed = body
        self._write(head + framed)
        self._finish()

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send the head of a chunked answer."""
        self._write(self._head(status, headers))

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a started answer."""
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Finish a chunked answer."""
        self._write(b"0\r\n\r\n")
        self._finish()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, for faults."""
        self._write(data)

    def close(self) -> None:
        """Close the connection in an orderly way, whatever is missing."""
        self.closed = True
        self._connection.close()

    def reset(self) -> None:
        """Reset the connection: the client sees ECONNRESET."""
        self.closed = True
        self._connection.reset()

    @property
    def is_dropped(self) -> bool:
        """Whether the server hung up before the answer."""
        return self._connection.is_dropped

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        self.started = True
        self.status = status
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        return f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n{lines}\r\n".encode("latin-1")

    def _write(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        self._connection.write(data)

    def _finish(self) -> None:
        self.closed = True


class Connection(asyncio.Protocol):
    """One client connection: reads requests, hands them to the handler one after the other."""

    def __init__(self, handler: Handler, open_connections: set["Connection"]) -> None:
        self._handler = handler
        self._open = open_connections
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._keep_alive = True
        self.is_dropped = False
        """Whether the server hung up in the middle."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        # A cast, because uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the loop passes it
        """Cancel the call in flight: nobody is left to answer."""
        self._transport = None
        self._open.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Collect bytes; start the handler when a request is complete."""
        self._buffer += data
        if self._task is None:
            self._advance()

    def write(self, data: bytes) -> None:
        """Write, unless the client has gone."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close after what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Hang up, whatever is under way."""
        self.is_dropped = True
        self.close()

    def reset(self) -> None:
        """Close with RST."""
        if self._transport is None:
            return
        descriptor = self._transport.get_extra_info("socket").fileno()
        # A duplicate, because uvloop's stand-in for a socket takes no options.
        with contextlib.closing(socket.socket(fileno=os.dup(descriptor))) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _advance(self) -> None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            try:
                self._head = self._parse_head(bytes(self._buffer[:end]))
            except (ValueError, UnicodeDecodeError):
                self.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                self.close()
                return
            del self._buffer[: end + 4]
        head = self._head
        if not (self._take_chunks(head) if head.chunked else self._take_body(head)):
            return
        self._head = None
        path, _, query = head.target.partition("?")
        request = Request(head.method, path, query, head.headers, bytes(head.body), head.arrived)
        self._keep_alive = head.headers.get("connection", "").lower() != "close"
        self._task = self._loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        reply = Reply(self, head_only=request.method == "HEAD")
        try:
            await self._handler(request, reply)
        except asyncio.CancelledError:
            if self._transport is not None:
                raise
            return
        finally:
            self._task = None
        if not reply.closed or not self._keep_alive:
            self.close()
        elif self._buffer:
            self._advance()

    def _parse_head(self, raw: bytes) -> _Head:
        lines = raw.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        head = _Head(method, target, headers, self._loop.time())
        if "chunked" in headers.get("transfer-encoding", "").lower():
            head.chunked = True
        else:
            head.missing = int(headers.get("content-length") or 0)
            if head.missing > EDGE_BODY_LIMIT:
                msg = f"content-length {head.missing} is larger than {EDGE_BODY_LIMIT}"
                raise ValueError(msg)
        return head

    def _take_body(self, head: _Head) -> bool:
        if head.missing:
            taken = self._buffer[: head.missing]
            head.body += taken
            del self._buffer[: len(taken)]
            head.missing -= len(taken)
        return head.missing == 0

    def _take_chunks(self, head: _Head) -> bool:
        while True:
            line = self._buffer.find(b"\r\n")
            if line < 0:
                return False
            size = int(bytes(self._buffer[:line]).split(b";")[0], 16)
            end = line + 2 + size + 2
            if len(self._buffer) < end:
                return False
            head.body += self._buffer[line + 2 : end - 2]
            del self._buffer[:end]
            if size == 0:
                return True


async def listen(handler: Handler, host: str, port: int) -> "Listener":
    """Serve on an address; port 0 takes a free one."""
    listener = Listener(handler, host)
    await listener.open(port)
    return listener


class Listener:
    """A listening server and its open connections."""

    def __init__(self, handler: Handler, host: str) -> None:
        self._handler = handler
        self._host = host
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._outage: asyncio.Task[None] | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        """Take connections."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._handler, self._connections), self._host, port, backlog=4_096
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def go_away(self, seconds: float) -> None:
        """Break every connection and let nobody listen for a while."""
        self._outage = asyncio.create_task(self._be_away(seconds))

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._outage is not None:
            self._outage.cancel()
        await self._drop()

    async def _be_away(self, seconds: float) -> None:
        await asyncio.sleep(_LAST_WORDS)
        await self._drop()
        await asyncio.sleep(seconds)
        await self.open(self.port)

    async def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.drop()
        await asyncio.sleep(0)
