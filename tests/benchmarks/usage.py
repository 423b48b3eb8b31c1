"""What processes use and say of themselves: CPU and memory from /proc, counts from /metrics."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the user and system CPU time a process has used; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB; 0 where it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0.0
    return int(pages) * _PAGE / 1e6


async def samples(url: str, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """Read the samples of a metric that have these labels: all their labels, and the value."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


class Usage:
    """The last reading of each process that was seen; killed ones keep theirs."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self.peak_rss_mb = 0.0

    @property
    def cpu_seconds(self) -> float:
        """CPU time used since the first reading of each, start-ups of restarts included."""
        return sum(self._last[pid] - self._first[pid] for pid in self._last)

    def read(self, pids: Iterable[int], *, is_start: bool = False) -> None:
        """Read these processes now; at the start, what they have used so far does not count."""
        for pid in pids:
            used = cpu_seconds(pid)
            if used:
                self._first.setdefault(pid, used if is_start else 0.0)
                self._last[pid] = used
            self.peak_rss_mb = max(self.peak_rss_mb, rss_mb(pid))

    @asynccontextmanager
    async def watching(self, pids: Callable[[], Iterable[int]]) -> AsyncIterator[None]:
        """Read them twice a second for as long as it is entered."""
        self.read(pids(), is_start=True)
        watcher = asyncio.create_task(self._watch(pids))
        try:
            yield
        finally:
            watcher.cancel()
            self.read(pids())

    async def _watch(self, pids: Callable[[], Iterable[int]]) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.read(pids())
