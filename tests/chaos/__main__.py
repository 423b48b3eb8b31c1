"""Kill, pause, cut and storm a real system, then check every promise: `make chaos MINUTES=2`.

The last line is the result as JSON; the exit code is 1 where a promise was broken, a request got no
outcome, or a kind of fault could not be done. `--seed` repeats the order of faults, not their
effects: those are decided by real processes.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from random import SystemRandom

from rich.console import Console

from tests.chaos.kinds import KINDS
from tests.chaos.run import Wanted, run


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="at least; each kind occurs")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--rate", type=float, default=25.0, help="requests published a second")
    parser.add_argument(
        "--only",
        action="append",
        metavar="KIND",
        help=f"these kinds, or all that begin so; may be repeated; one of {', '.join(KINDS)}",
    )
    parser.add_argument("--keep", type=Path, help="write what was observed to this directory")
    given = parser.parse_args()
    kinds = [name for name in KINDS if name.startswith(tuple(given.only or ("",)))]
    if not kinds:
        parser.error(f"--only {' '.join(given.only)}: there are {', '.join(KINDS)}")
    seed = given.seed if given.seed is not None else SystemRandom().randrange(1_000_000)
    wanted = Wanted(given.minutes, given.brokers, seed, given.rate, tuple(kinds), given.keep)
    return asyncio.run(run(wanted, Console(stderr=True, highlight=False, soft_wrap=True)))


if __name__ == "__main__":
    sys.exit(main())
