"""Say how many recordings the simulator agrees with, and why not: `python -m tests.fidelity`.

Exits with 1 where a difference has no known reason.
"""

import asyncio
import sys
import warnings

from tests.fidelity.comparing import compare, recordings
from tests.fidelity.conftest import serving


async def main() -> int:
    """Replay and print."""
    async with serving() as (simulator, address):
        found = await compare(simulator, address, recordings())
    print(*found.lines(), *found.unexplained, sep="\n")
    return 1 if found.unexplained else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # recordings of retired models
    sys.exit(asyncio.run(main()))
