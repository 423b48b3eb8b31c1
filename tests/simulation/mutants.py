"""Seeded bugs that the simulation must find: `python -m tests.simulation.mutants`.

Each is a mistake that somebody made elsewhere. The last line is JSON: the first seed that found it.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from services.runtime.engine.calls import Calls, Ready
from services.runtime.engine.lane import Lane
from services.runtime.engine.ledger import Ledger, Snapshot
from services.runtime.engine.phase import Phase
from services.runtime.engine.ports import Committed, Fenced, Indeterminate, Output, Partition
from services.runtime.engine.publication import Lost, Publication
from tests.simulation.__main__ import silence, simulate
from tests.simulation.broker import Concurrent
from tests.simulation.process import Process, Producer


async def fetch_before_fence(self: Publication) -> Committed:
    """Read progress first: the old owner may still commit behind what was read."""
    while True:
        if not await self._may_claim():
            raise Lost
        try:
            await self.let_go()
            found = await self._log.committed(self._partition)
            self._producer = await self._transactions.fence(self._partition)
        except (Fenced, Indeterminate, TimeoutError):
            await asyncio.sleep(self._limits.retry_pause)
        else:
            return found


def highest_seen(self: Ledger, finishing: Collection[int] = ()) -> Snapshot:
    """Commit the highest offset fetched, as after a revoke in parallel-consumer #826."""
    return Snapshot(self.end, self.end, ())


async def late_end(self: Publication, outputs: Sequence[Output], progress: Committed) -> None:
    """Take an unknown result for a failure and use the producer again."""
    while True:
        try:
            await self._transaction(outputs, progress)
        except (Indeterminate, TimeoutError):
            await asyncio.sleep(self._limits.retry_pause)
        except Fenced as exc:
            raise Lost from exc
        else:
            self.last = progress
            return


def unpublished_bit(self: Calls) -> list[Ready]:
    """Publish one outcome, and (with `all_ready`) mark all that are ready complete."""
    return [self.ready[0]] if self.ready else []


def all_ready(self: Lane, finishing: set[int], *, is_clean: bool) -> Committed:
    """Mark complete what is finished, published or not."""
    everything = finishing | {ready.record.offset for ready in self.calls.ready}
    committed: Committed = _PROGRESS(self, everything, is_clean=is_clean)
    return committed


async def unawaited_send(self: Publication, outputs: Sequence[Output], progress: Committed) -> None:
    """Commit without looking at what became of the sends."""
    assert self._producer is not None
    await self._producer.begin()
    for output in outputs:
        await self._producer.send(output)
    await self._producer.send_progress(progress)
    await self._producer.commit()


async def own_id(self: Process, partition: Partition) -> Producer:
    """Derive the transactional id from the process, so that nobody fences anybody."""
    name = f"{self.name}.{partition.topic}.{partition.number}"
    while True:
        try:
            epoch = await self.ask("initialise", lambda: self.world.broker.initialise(name))
        except Concurrent:
            await asyncio.sleep(0.02)
        else:
            return Producer(self, name, epoch, partition)


def start_in_rebalance(self: Lane) -> bool:
    """Start records of a partition that the group has been told is idle, or that is lost."""
    return self.phase is Phase.OPEN


def no_reread(_: Lane) -> None:
    """Read on after a failed poll: what it took from other buffers is a gap in their logs."""


async def never_landed(self: Publication, progress: Committed) -> bool:
    """Publish again after every unknown result."""
    self.last = await self.claim()
    return False


_PROGRESS: Any = Lane._progress
MUTANTS: dict[str, list[tuple[Any, str, Callable[..., Any]]]] = {
    "fetch_before_fence": [(Publication, "claim", fetch_before_fence)],
    "highest_seen_commit": [(Ledger, "snapshot", highest_seen)],
    "late_end_txn": [(Publication, "publish", late_end)],
    "bit_of_unpublished": [(Calls, "batch", unpublished_bit), (Lane, "_progress", all_ready)],
    "unawaited_send": [(Publication, "_transaction", unawaited_send)],
    "start_in_rebalance": [(Lane, "_may_start", start_in_rebalance)],
    "no_reread": [(Lane, "reread", no_reread)],
    "never_landed": [(Publication, "_landed", never_landed)],
    "id_per_worker": [(Process, "fence", own_id)],
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Put a mutant in the engine's place."""
    places = [(where, what, getattr(where, what), by) for where, what, by in MUTANTS[name]]
    for where, what, _, by in places:
        setattr(where, what, by)
    try:
        yield
    finally:
        for where, what, original, _ in places:
            setattr(where, what, original)


def find(name: str, most: int) -> tuple[int, str] | None:
    """Return the first seed that breaks a promise with this mutant, and what it broke."""
    with mutated(name):
        for seed in range(1, most + 1):
            found = simulate(seed)
            if isinstance(found, str):
                return seed, found
    return None


def main() -> None:
    """Find every mutant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="at most so many for each")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    silence()
    began = time.monotonic()
    with multiprocessing.get_context("fork").Pool(given.jobs) as pool:
        asked = {name: pool.apply_async(find, (name, given.seeds)) for name in MUTANTS}
        found = {name: each.get() for name, each in asked.items()}
    for name, result in found.items():
        print(f"{name}: {f'seed {result[0]}: {result[1]}' if result else 'NOT FOUND'}")
    missed = sum(result is None for result in found.values())
    summary = {
        "seeds": given.seeds,
        "failures": missed,
        "mutants": {name: result and result[0] for name, result in found.items()},
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(summary))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
