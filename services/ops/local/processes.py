"""Processes of ours: known by pid and start time, so that no other process is ever signalled.

A pid alone is not enough: after its process has ended, the number may belong to somebody else.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_POLL: Final = 0.02
_STARTTIME_FIELD: Final = 19  # of /proc/<pid>/stat after the command's name: field 22 of proc(5)


def started_at(pid: int) -> str | None:
    """Tell when a process started, in the system's own words; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_at_by_ps(pid)
    except ProcessLookupError:
        return None
    # The command's name may hold spaces and parentheses, so the fields start after the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[_STARTTIME_FIELD]


def _started_at_by_ps(pid: int) -> str | None:
    shown = subprocess.run(  # noqa: S603 - fixed program, a number as argument
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    state, _, started = shown.stdout.strip().partition(" ")
    return started.strip() or None if not state.startswith("Z") else None


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, not mistakable for a later one with the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Identify a living process."""
        started = started_at(pid)
        return None if started is None else cls(pid, started)

    @property
    def is_alive(self) -> bool:
        """True while this very process runs."""
        return started_at(self.pid) == self.started

    def send(self, sent: signal.Signals) -> bool:
        """Signal the process if it still runs; return whether it did."""
        if not self.is_alive:
            return False
        try:
            os.kill(self.pid, sent)
        except ProcessLookupError:
            return False
        return True


class Child:
    """A process started here, its output in a file."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name: Final = name
        self.log: Final = log
        self._process: Final = process

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Self:
        """Start `command` in a session of its own, so that Ctrl-C reaches its owner only."""
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the command is ours
                [str(part) for part in command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory, start_new_session=True,
            )  # fmt: skip
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def is_running(self) -> bool:
        """True until the process has ended (a paused one runs)."""
        return self._process.poll() is None

    def send(self, sent: signal.Signals) -> None:
        """Signal the process; one that has ended is left in peace."""
        self._process.send_signal(sent)

    async def wait(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - see below
        """Wait for the end and return the exit code; raise TimeoutError after `timeout` seconds.

        Polls instead of watching the child, so that it can be started in one event loop and awaited
        in another: a fixture of a whole test session outlives the loops of its tests.
        """
        async with asyncio.timeout(timeout):
            while (code := self._process.poll()) is None:  # noqa: ASYNC110 - see above
                await asyncio.sleep(_POLL)
        return code

    async def stop(self, grace: float = 10.0) -> int:
        """Ask the process to end, and kill it when it has not after `grace` seconds."""
        self.send(signal.SIGCONT)  # a paused process would not see the request
        self.send(signal.SIGTERM)
        try:
            return await self.wait(grace)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Kill the process with signal 9 and wait for its end."""
        self.send(signal.SIGKILL)
        return await self.wait()

    def reap(self) -> None:
        """Take the exit code of a process that was killed by pid, so that no zombie stays."""
        self._process.wait()

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its output, for an error message."""
        written = (
            self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        )
        return "\n".join(written.splitlines()[-lines:])
