"""The stand-ins for what Sluice calls: moto as Secrets Manager, the simulator as the Claude API."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.ops.local.ports import free_port
from services.ops.local.processes import Child
from services.ops.local.run import Run

_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_LOOK_AGAIN: Final = 0.03


class ServerError(Exception):
    """A server did not start; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Server:
    """An HTTP server on the loopback interface."""

    port: int
    child: Child

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{_LOOPBACK}:{self.port}"


async def start_moto(run: Run, *, port: int | None = None) -> Server:
    """Start Secrets Manager's API (and all of moto's others); any credentials will do."""
    port = free_port(port)
    child = run.start(
        "moto", [sys.executable, "-m", "moto.server", "-H", _LOOPBACK, "-p", str(port)]
    )
    await _until(child, lambda: _accepts(port))
    return Server(port, child)


async def start_simulator(
    run: Run,
    *,
    name: str = "simulator",
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Server:
    """Start the simulator; without a port it chooses one, which it announces on its first line."""
    chosen = "0" if port is None else str(free_port(port))
    child = run.start(
        name,
        [sys.executable, "-m", "services.simulator", "--port", chosen, *arguments],
        environment={**os.environ, **(environment or {})},
    )
    return Server(int(await _announced(child, "port")), child)


async def start_mock_kafka(run: Run, prefix: str) -> tuple[str, Child]:
    """Start the mock of a cluster (`mock.py`); returns its bootstrap servers."""
    child = run.start("mock-kafka", [sys.executable, "-m", "services.ops.local.mock", prefix])
    return str(await _announced(child, "bootstrap_servers")), child


async def _announced(child: Child, name: str) -> Any:
    """Wait until a process prints a line of JSON that begins with `name`, and return its value."""
    found: list[Any] = []

    def is_there() -> bool:
        printed = child.log.read_text(encoding="utf-8", errors="replace")
        lines = printed.rpartition("\n")[0].splitlines()
        found.extend(json.loads(line)[name] for line in lines if line.startswith(f'{{"{name}"'))
        return bool(found)

    await _until(child, is_there)
    return found[0]


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_LOOPBACK, port)) == 0


async def _until(child: Child, is_ready: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not is_ready():
                if not child.is_running:
                    raise ServerError(f"{child.name} ended at once; it said:\n{child.tail()}")
                await asyncio.sleep(_LOOK_AGAIN)
    except TimeoutError:
        await child.kill()
        raise ServerError(
            f"{child.name} was not ready within {_START_SECONDS:.0f} s; it said:\n{child.tail()}"
        ) from None
