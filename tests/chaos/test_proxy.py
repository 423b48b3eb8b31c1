"""The proxy misbehaves towards those it should, and for as long as it should."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.ops.local.ports import free_ports
from tests.chaos.proxy import Api, Manners, Proxy, Trap


def _frame(client: str, api: Api) -> bytes:
    name = client.encode()
    body = struct.pack(">hhih", api, 0, 1, len(name)) + name
    return struct.pack(">i", len(body)) + body


@asynccontextmanager
async def _echo() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """Run a proxy before a server that notes what comes and sends it back."""
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            came.append(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (own,) = free_ports(1)
    async with server, Proxy(own, lambda: port) as proxy:
        yield proxy, came


async def _ask(proxy: Proxy, frame: bytes, within: float = 2.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(frame)
    try:
        async with asyncio.timeout(within):
            return await reader.read(1000)
    finally:
        writer.close()


async def test_what_is_said_passes_both_ways() -> None:
    """A well-mannered proxy changes nothing."""
    frame = _frame("worker-1", Api.PRODUCE)
    async with _echo() as (proxy, _):
        assert frame == await _ask(proxy, frame)


async def test_only_the_victim_is_refused() -> None:
    """Manners of one worker hold for all of its clients and for nobody else."""
    async with _echo() as (proxy, _):
        proxy.misbehave(Manners("worker-1", refuses=True))

        assert await _ask(proxy, _frame("worker-1-engine", Api.PRODUCE)) == b""
        other = _frame("worker-10", Api.PRODUCE)
        assert other == await _ask(proxy, other)


async def test_dropped_answers_reached_the_broker() -> None:
    """The request takes effect, its answer never comes, and healing breaks the connection."""
    frame = _frame("worker-1", Api.END_TXN)
    async with _echo() as (proxy, came):
        proxy.misbehave(Manners(drops_answers=True))
        with pytest.raises(TimeoutError):
            await _ask(proxy, frame, within=0.2)
        assert [frame] == came


async def test_a_frozen_connection_flows_again_when_healed() -> None:
    """Nothing is lost of what was held."""
    frame = _frame("worker-1", Api.PRODUCE)
    async with _echo() as (proxy, came):
        proxy.misbehave(Manners(flows=False))
        asking = asyncio.create_task(_ask(proxy, frame))
        await asyncio.sleep(0.1)
        assert not came
        proxy.heal()
        assert frame == await asking


@pytest.mark.parametrize("is_after", [True, False])
async def test_a_trap_springs_once_at_the_named_request(*, is_after: bool) -> None:
    """It acts before or after the broker knows of the request, and leaves the next one alone."""
    known: list[int] = []
    frame = _frame("worker-1-engine", Api.END_TXN)
    async with _echo() as (proxy, came):

        async def act() -> None:
            await asyncio.sleep(0.05)
            known.append(len(came))

        trap = Trap("worker-1", Api.END_TXN, act, is_after=is_after)
        proxy.traps.append(trap)
        await _ask(proxy, _frame("worker-1-engine", Api.PRODUCE))
        await _ask(proxy, frame)
        assert trap.acting is not None
        await trap.acting
        await _ask(proxy, frame)
    assert [1 + is_after] == known


async def test_a_swallowed_request_never_reaches_the_broker() -> None:
    """A worker that is killed before it is heard was not heard."""
    async with _echo() as (proxy, came):

        async def act() -> None:
            pass

        proxy.traps.append(Trap("worker-1", Api.END_TXN, act, swallows=True))
        with pytest.raises(TimeoutError):
            await _ask(proxy, _frame("worker-1", Api.END_TXN), within=0.2)
        assert not came
