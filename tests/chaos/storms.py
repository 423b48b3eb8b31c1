"""What the API does to its callers for a while."""

import asyncio
import time
from typing import Any

from tests.chaos.world import Struck, World

_SECONDS = (4.0, 7.0)


async def storm(kind: str, world: World, **details: Any) -> Struck:
    """Let a share of all calls go wrong."""
    began = time.time()
    await world.control("POST", "faults", {"kind": kind, **details})
    await asyncio.sleep(world.random.uniform(*_SECONDS))
    await world.control("DELETE", "faults")
    return Struck(began, time.time())


async def outage(world: World) -> Struck:
    """Let nobody listen where the API was."""
    began = time.time()
    seconds = world.random.uniform(1.0, 3.0)
    await world.control("POST", "outage", {"seconds": seconds})
    await asyncio.sleep(seconds + 1.0)
    return Struck(began, time.time())
