"""Reading what a group has committed so that it can be believed after a broker was started."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


async def read_settled(read: Callable[[], Awaitable[_T]], *, pause: float) -> _T:
    """Read until two reads in a row say the same.

    A coordinator that has just started answers for a moment from before what it acknowledged. Seen
    on Kafka 4.3.1, killed under load: nothing at all, for up to 0.2 s after a producer was fenced;
    once the commit before the last. Believed, that repeats what is published.

    Args:
        read: Asks the coordinator.
        pause: Seconds between two reads (`Limits.settle`).
    """
    found = await read()
    while True:
        await asyncio.sleep(pause)
        again = await read()
        if again == found:
            return found
        found = again
