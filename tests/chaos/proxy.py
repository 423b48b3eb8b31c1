"""A TCP proxy between the workers and a broker that can misbehave on command.

The broker advertises the proxy's port to its clients, so everything a worker says passes here; the
run's own clients use the broker's internal listener and see the truth. Requests are read frame by
frame (length, API key, version, correlation id, client id), so that a `Trap` can wait for the
moment when a named worker is about to end a transaction, and kill it just then.
"""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

_CHUNK = 65_536
_HEAD = struct.Struct(">hhih")  # API key, version, correlation id, length of the client id


class Api(IntEnum):
    """The requests of the commit protocol and of the group, by their key on the wire."""

    PRODUCE = 0
    OFFSET_FETCH = 9
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


MEMBERSHIP = frozenset(
    {Api.OFFSET_FETCH, Api.JOIN_GROUP, Api.HEARTBEAT, Api.LEAVE_GROUP, Api.SYNC_GROUP}
)
"""What a member says to its group's coordinator."""
_TRANSACTIONAL_SINCE = 3
"""The version of Produce that names a transaction first, where it is of one."""


@dataclass(eq=False)
class Trap:
    """Acts, once, at the next request of one kind by one worker."""

    client: str
    """The worker's client id; those of its producers begin with it."""
    api: Api
    act: Callable[[], Coroutine[Any, Any, None]]
    """Done while the request is held."""
    is_after: bool = False
    """Whether the request reaches the broker before the act; it is not held then."""
    swallows: bool = False
    """Whether the request never reaches the broker."""
    sprung: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the act begins; `acting` is there then."""
    acting: asyncio.Task[None] | None = None
    is_taken: bool = False

    def takes(self, request: "Request") -> bool:
        """Take this request, if it is the one that is waited for."""
        if self.is_taken or request.api != self.api or not is_of(request.client, self.client):
            return False
        if not request.is_transactional:
            return False
        self.is_taken = True
        return True

    async def spring(self) -> None:
        """Act, in a task of its own: the request's connection may break before it is done."""
        self.acting = asyncio.create_task(self.act())
        self.sprung.set()
        await asyncio.shield(self.acting)


@dataclass(frozen=True, slots=True)
class Request:
    """What is read of a request."""

    api: int
    client: str
    is_transactional: bool
    """False for records that a worker writes beside its transactions, its rate posts for one."""

    @classmethod
    def read(cls, frame: bytes) -> Self:
        """Read a request's head, and of Produce whether it is part of a transaction."""
        api, version, _, size = _HEAD.unpack_from(frame)
        end = _HEAD.size + max(size, 0)
        client = frame[_HEAD.size : end].decode(errors="replace")
        if api != Api.PRODUCE:
            return cls(api, client, is_transactional=True)
        is_named = int.from_bytes(frame[end : end + 2], signed=True) >= 0
        return cls(api, client, version >= _TRANSACTIONAL_SINCE and is_named)


def is_of(client: str, worker: str) -> bool:
    """Tell whether a client id is one of a worker's; the empty name means everybody."""
    return not worker or client == worker or client.startswith(f"{worker}-")


@dataclass(slots=True)
class Manners:
    """How connections of `worker` are treated; of everybody's where that is empty."""

    worker: str = ""
    flows: bool = True
    refuses: bool = False
    refused: frozenset[Api] = frozenset()
    """Requests at which the connection breaks, where it is not all of them."""
    drops_answers: bool = False
    delay: float = 0.0


class Proxy:
    """Forwards a port to a broker; the run sets and clears the ways of misbehaving."""

    def __init__(self, port: int, target: Callable[[], int]) -> None:
        self.port = port
        self._target = target
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._healed = asyncio.Event()
        self.manners = Manners()
        self.traps: list[Trap] = []
        """May be shared with the other proxies: whichever sees the request springs it."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Break every connection and stop listening."""
        assert self._server is not None, "entered before"
        self._server.close()
        self.heal()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self, worker: str = "") -> None:
        """Break a worker's connections, or everybody's; new ones are taken at once."""
        for task, connection in self._connections.items():
            if is_of(connection.client, worker):
                task.cancel()

    def misbehave(self, manners: Manners) -> None:
        """Treat connections so from now on; refusing breaks the open ones."""
        self.heal()
        self.manners = manners
        if manners.refuses:
            self.cut(manners.worker)

    def heal(self) -> None:
        """Behave; a connection that lost an answer has lost its framing, so it is cut."""
        before, self.manners = self.manners, Manners()
        if before.drops_answers:
            self.cut(before.worker)
        self._healed.set()
        self._healed = asyncio.Event()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "runs as a task"
        self._connections[task] = connection = _Connection(self, reader, writer)
        try:
            if not (self.manners.refuses and not self.manners.worker):
                await connection.forward(self._target())
        except* (OSError, EOFError, asyncio.CancelledError):
            pass  # either end went away, or the run cut the connection
        finally:
            del self._connections[task]
            writer.close()

    async def treat(self, connection: "_Connection") -> Manners | None:
        """Wait as long as this connection has to; return how it is treated, None for well."""
        while is_of(connection.client, self.manners.worker):
            manners = self.manners
            if manners.flows:
                if manners.delay:
                    await asyncio.sleep(manners.delay)
                return manners
            await self._healed.wait()
        return None


class _Connection:
    """One client's connection and the one to the broker that belongs to it."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self.client = ""
        """The client id, from the first request on."""

    async def forward(self, port: int) -> None:
        """Forward both ways until either end goes away."""
        answers, requests = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward_requests(requests))
                both.create_task(self._forward_answers(answers))
        finally:
            requests.close()

    async def _forward_requests(self, sink: asyncio.StreamWriter) -> None:
        while True:
            length = await self._reader.readexactly(4)
            frame = await self._reader.readexactly(int.from_bytes(length))
            request = Request.read(frame)
            self.client = request.client
            manners = await self._proxy.treat(self)
            if manners is not None and (manners.refuses or request.api in manners.refused):
                raise ConnectionRefusedError(self.client)
            trap = next((t for t in self._proxy.traps if t.takes(request)), None)
            if trap is not None and not trap.is_after:
                await trap.spring()
            if trap is None or not trap.swallows:
                sink.write(length + frame)
                await sink.drain()
            if trap is not None and trap.is_after:
                await trap.spring()

    async def _forward_answers(self, source: asyncio.StreamReader) -> None:
        while data := await source.read(_CHUNK):
            manners = await self._proxy.treat(self)
            if manners is None or not manners.drops_answers:
                self._writer.write(data)
                await self._writer.drain()
        raise ConnectionResetError("the broker closed: close the client's end too")
