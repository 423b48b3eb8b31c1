"""One owner's processes, logs and data in `.cache/run/<id>`: cleaned up, also when it is killed.

Three lines of defence: the owner closes the run; when it was killed, its watchdog does
(`watchdog.py`); when that was killed as well, the next run that is opened does. Logs stay, of the
last runs.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from services.ops.local.processes import Child, Identity

CHECKOUT: Final = Path(__file__).resolve().parents[3]
CACHE: Final = CHECKOUT / ".cache"
_RUNS_KEPT: Final = 20
_OWNER: Final = "owner.json"
_JOURNAL: Final = "processes.jsonl"
_DATA: Final = "data"
_END_WITHIN: Final = 5.0


class Run:
    """The directory of one owner; a context manager, or closed by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        self.logs: Final = directory / "logs"
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._children: list[Child] = []

    @classmethod
    def open(cls, runs: Path = CACHE / "run") -> Self:
        """Clean up after dead owners and open a run of this process."""
        runs.mkdir(parents=True, exist_ok=True)
        sweep_dead(runs)
        owner = Identity.of(os.getpid())
        assert owner is not None, "this process runs"
        directory = runs / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{owner.pid}"
        # Complete before it gets its name: a directory without owner would be swept as dead.
        unnamed = runs / f".{directory.name}"
        (unnamed / "logs").mkdir(parents=True)
        (unnamed / _DATA).mkdir()
        (unnamed / _OWNER).write_text(json.dumps({"pid": owner.pid, "started": owner.started}))
        unnamed.rename(directory)
        run = cls(directory)
        run._watch()
        return run

    def _watch(self) -> None:
        self._watchdog = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "services.ops.local.watchdog", str(self.directory)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=CHECKOUT, start_new_session=True,
        )  # fmt: skip

    def data(self, name: str) -> Path:
        """Name a place for data that ends with the run."""
        return self.directory / _DATA / name

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a process that ends with the run at the latest; it writes to `logs/<name>.log`.

        It works in the run's own folder: what a developer has in `.env` is for other systems.
        """
        log = self.logs / f"{name}.log"
        here = self.directory
        child = Child.start(name, command, log=log, environment=environment, directory=here)
        self._children.append(child)
        if (identity := Identity.of(child.pid)) is not None:
            entry = {"name": name, "pid": identity.pid, "started": identity.started}
            with (self.directory / _JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(entry) + "\n")
        return child

    def close(self) -> None:
        """Kill what still runs and remove the data; safe to repeat."""
        sweep(self.directory)
        for child in self._children:
            child.reap()
        self._children.clear()
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None, "started with a pipe"
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def owner_of(directory: Path) -> Identity | None:
    """Return the owner of a run while it lives."""
    try:
        owner = Identity(**json.loads((directory / _OWNER).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return owner if owner.is_alive else None


def sweep(directory: Path) -> None:
    """Kill what a run started and remove its data; the logs stay."""
    left = [process for process in _journal(directory) if process.send(signal.SIGKILL)]
    deadline = time.monotonic() + _END_WITHIN
    while any(process.is_alive for process in left) and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(directory / _DATA, ignore_errors=True)


def sweep_dead(runs: Path) -> None:
    """Clean up after every owner that is gone, and drop the logs of the oldest runs."""
    dead = sorted(path for path in runs.iterdir() if path.is_dir() and path.name[0] != ".")
    dead = [path for path in dead if owner_of(path) is None]
    for directory in dead:
        sweep(directory)
    for directory in dead[: max(0, len(dead) - _RUNS_KEPT)]:
        shutil.rmtree(directory, ignore_errors=True)


def _journal(directory: Path) -> Iterator[Identity]:
    with contextlib.suppress(FileNotFoundError):
        for line in (directory / _JOURNAL).read_text(encoding="utf-8").splitlines():
            # The last line may be cut short when the owner was killed while writing it.
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line)
                yield Identity(entry["pid"], entry["started"])
