"""Reads dead letters into what is kept of them, on request in several processes at once.

Python unpacks some fifty thousand records a second on one core; a topic has partitions, so cores
can share it. Each process costs about 70 MB, whatever the number of records.
"""

import asyncio
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import Synchronized
from typing import Final, Protocol, Self, TypeVar

from aiokafka import TopicPartition

from services.ops.dead_letters.connecting import connect
from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.scan import DeadLetters, Progress, Watch
from services.ops.dead_letters.selection import Selection
from services.runtime.reading import Range

_LOOK: Final = 0.2
Ranges = Mapping[TopicPartition, Range]


class Fold(Protocol):
    """Something that is made of dead letters, whatever their number."""

    def add(self, letter: Letter) -> None:
        """Take one in."""
        ...

    def absorb(self, other: Self) -> None:
        """Take in what was made of others."""
        ...


F = TypeVar("F", bound=Fold)


async def fold(
    letters: DeadLetters, selection: Selection, into: F, *, watch: Watch, jobs: int
) -> F:
    """Fold the dead letters that are meant.

    Args:
        letters: Where they are.
        selection: Which are meant.
        into: What to make of them; still empty.
        watch: Told how far it is.
        jobs: Processes at most.
    """
    ranges = await letters.pin(selection)
    shares = _shares(ranges, jobs)
    if len(shares) < 2:  # noqa: PLR2004
        async for letter in letters.select(selection, ranges=ranges, watch=watch):
            into.add(letter)
        return into
    return await asyncio.to_thread(_fold_shares, selection, shares, into, watch)


def _shares(ranges: Ranges, jobs: int) -> list[dict[TopicPartition, Range]]:
    """Part the partitions so that each process has about as much to read."""
    shares: list[dict[TopicPartition, Range]] = [{} for _ in range(jobs)]
    sizes = [0] * jobs
    for tp, inside in sorted(ranges.items(), key=lambda item: item[1].start - item[1].end):
        least = sizes.index(min(sizes))
        shares[least][tp] = inside
        sizes[least] += inside.end - inside.start
    return [share for share, size in zip(shares, sizes, strict=True) if size]


def _fold_shares(
    selection: Selection, shares: list[dict[TopicPartition, Range]], into: F, watch: Watch
) -> F:
    # Spawned: a forked process would inherit this one's event loop and connections.
    context = multiprocessing.get_context("spawn")
    read, selected = context.Value("q", 0), context.Value("q", 0)
    total = sum(end - start for share in shares for start, end in share.values())
    with ProcessPoolExecutor(
        len(shares), mp_context=context, initializer=_share_counts, initargs=(read, selected)
    ) as pool:
        futures = [pool.submit(_fold_share, selection, share, into) for share in shares]
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=_LOOK)
            watch(Progress(total, read.value, selected.value))
        for future in futures:
            into.absorb(future.result())
    watch(Progress(total, total, selected.value))
    return into


_counts: "list[Synchronized[int]]" = []
"""In a process of the pool: what it shares with the others."""


def _share_counts(read: "Synchronized[int]", selected: "Synchronized[int]") -> None:
    _counts[:] = [read, selected]


def _fold_share(selection: Selection, share: Ranges, into: F) -> F:
    return asyncio.run(_fold_here(connect(), selection, share, into))


async def _fold_here(letters: DeadLetters, selection: Selection, share: Ranges, into: F) -> F:
    before = Progress()

    def watch(at: Progress) -> None:
        for count, more in zip(
            _counts, (at.read - before.read, at.selected - before.selected), strict=True
        ):
            with count.get_lock():
                count.value += more
        before.read, before.selected = at.read, at.selected

    async for letter in letters.select(selection, ranges=share, watch=watch):
        into.add(letter)
    return into
