"""A room of Sluice as a process: started, asked whether it is ready, killed, started again."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from services.ops.local.ports import free_port
from services.ops.local.processes import Child
from services.ops.local.run import Run

_READY_SECONDS: Final = 120.0
_LOOK_AGAIN: Final = 0.05
_PROBE_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 30.0
_OF_THE_MACHINE: Final = {
    "PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "no_proxy",
}  # fmt: skip
_ALSO: Final = ("LC_", "PYTHON", "SSL_CERT_", "XDG_", "COVERAGE")


def _is_of_the_machine(name: str) -> bool:
    """Whether a variable says where things are here; settings and keys are for other systems."""
    return name in _OF_THE_MACHINE or name.startswith(_ALSO)


class RoomError(Exception):
    """A room did not become ready; the message holds its facts and last words."""


class Room:
    """One worker or relay; its health port stays the same when it is started again."""

    def __init__(
        self,
        run: Run,
        name: str,
        module: str,
        environment: Mapping[str, str],
        *,
        port: int | None = None,
    ) -> None:
        self.health_port: Final = free_port(port)
        self.name: Final = name
        self._run: Final = run
        self._command: Final = [sys.executable, "-m", module]
        self._environment: Final = {
            **{name: said for name, said in os.environ.items() if _is_of_the_machine(name)},
            **environment,
            "HEALTH__HOST": "127.0.0.1",
            "HEALTH__PORT": str(self.health_port),
            "KAFKA__CLIENT_ID": name,
        }
        self.child: Child = self._launch()

    def _launch(self) -> Child:
        return self._run.start(self.name, self._command, environment=self._environment)

    @property
    def url(self) -> str:
        """Where its probes and metrics are, without a slash at the end."""
        return f"http://127.0.0.1:{self.health_port}"

    async def facts(self) -> dict[str, Any] | None:
        """Return what readiness says, with its verdict as `ready`; None when nobody answers."""
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/health/ready") as answer,
            ):
                return {**json.loads(await answer.read()), "ready": answer.ok}
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def ready(self, within: float = _READY_SECONDS) -> None:
        """Wait until it does work.

        Raises:
            RoomError: It ended, or is still not ready after `within` seconds.
        """
        facts: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(within):
                while (facts := await self.facts()) is None or not facts["ready"]:
                    if not self.child.is_running:
                        raise RoomError(
                            f"{self.name} ended with exit code {self.child.exit_code}; its last "
                            f"words, from {self.child.log}:\n{self.child.tail()}"
                        )
                    await asyncio.sleep(_LOOK_AGAIN)
        except TimeoutError:
            raise RoomError(
                f"{self.name} is not ready after {within:.0f} s ({facts}); its last words, "
                f"from {self.child.log}:\n{self.child.tail()}"
            ) from None

    async def kill(self) -> None:
        """Kill it with signal 9."""
        await self.child.kill()

    def pause(self) -> None:
        """Stop it in its tracks; its connections stay open."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self.child.send(signal.SIGCONT)

    async def stop(self, grace: float = _STOP_SECONDS) -> int:
        """Ask it to finish and end (SIGTERM), and return its exit code."""
        return await self.child.stop(grace)

    async def restart(self) -> None:
        """Start it again after a stop or a kill; does not wait until it is ready."""
        if self.child.is_running:
            await self.stop()
        self.child = self._launch()
