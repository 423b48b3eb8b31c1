"""Run the commit protocol in simulated worlds: `python -m tests.simulation --seeds 2000`.

A failing seed is run again, with its log, by `--seed S`. The last line is JSON.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import structlog
from rich.console import Console
from rich.progress import track

from tests.simulation.clock import VirtualLoop
from tests.simulation.promises import Violation
from tests.simulation.world import Report, World

_BREATHS = 30
_COUNTED = ("records", "calls", "kills", "crashes", "condemned")
_CONSOLE = Console(stderr=True)


def simulate(seed: int) -> Report | str:
    """Run one seed; returns what is wrong, if anything is."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(_world(seed))
    except Violation as exc:
        return str(exc)
    except Exception as exc:  # noqa: BLE001 -- any exception is a finding
        return repr(exc)
    finally:
        _dismantle(loop)


async def _world(seed: int) -> Report:
    return await World(seed).run()


def _dismantle(loop: asyncio.AbstractEventLoop) -> None:
    """Drop what still runs; the world has ended, so nothing of it may be waited for."""
    loop.set_exception_handler(lambda *_: None)
    for _ in range(_BREATHS):  # what is cancelled may wait once more, in its clean-up
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
    asyncio.set_event_loop(None)
    loop.close()


def silence() -> None:
    """Keep the engine's log out of thousands of runs."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )


def run(seeds: Sequence[int], jobs: int) -> Iterator[tuple[int, Report | str]]:
    """Run many seeds, on several cores; what they did comes in order, and is not kept."""
    if jobs < 2:
        yield from ((seed, simulate(seed)) for seed in seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from zip(seeds, pool.imap(simulate, seeds, chunksize=16), strict=True)


def main() -> None:
    """Run, print what failed and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="one only, with its log")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.seed is not None:
        found = simulate(given.seed)
        print(found)
        sys.exit(isinstance(found, str))
    silence()
    began = time.monotonic()
    done = Counter[str](dict.fromkeys(("seeds", "failures", *_COUNTED), 0))
    seeds = range(given.first, given.first + given.seeds)
    for seed, found in track(run(seeds, given.jobs), total=len(seeds), console=_CONSOLE):
        done["seeds"] += 1
        if isinstance(found, str):
            done["failures"] += 1
            print(f"seed {seed}: {found}; again with: python -m tests.simulation --seed {seed}")
        else:
            done.update({name: getattr(found, name) for name in _COUNTED})
    print(json.dumps({**done, "seconds": round(time.monotonic() - began, 1)}))
    sys.exit(bool(done["failures"]))


if __name__ == "__main__":
    main()
