"""`sluice` as an operator runs it, and how much memory it takes."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended well."""

    said: bytes
    rss_mb: float
    """The most memory that it and its children had."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs commands on one system of topics."""

    bootstrap: str
    prefix: str

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command."""
        environment = {
            **os.environ,
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__TOPIC_PREFIX": self.prefix,
        }
        command = [sys.executable, "-m", "services.ops", *arguments]
        return subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *arguments: str) -> Ran:
        """Run a command to its end.

        Raises:
            RuntimeError: It failed.
        """
        began = time.monotonic()
        process = self.start(*arguments)
        with ThreadPoolExecutor(1) as beside:
            peak = beside.submit(_peak_mb, process)
            said, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"sluice {' '.join(arguments)}: {errors.decode()}")
        return Ran(said, peak.result(), time.monotonic() - began)


def _peak_mb(process: "subprocess.Popen[bytes]") -> float:
    """Watch the high-water marks of a process and its children, added up.

    `wait4` would count the memory of the parent that started it too.
    """
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in (process.pid, *_children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0), _high_water_kb(pid))
        time.sleep(0.05)
    return round(sum(peaks.values()) / 1024, 1)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text(encoding="utf-8").split())
    return found


def _high_water_kb(pid: int) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return 0
