"""Faults between the workers and the brokers, and of the brokers."""

import asyncio
import time

from tests.chaos.proxy import MEMBERSHIP, Api, Manners
from tests.chaos.world import SESSION_TIMEOUT, Struck, World, process_of

_BELOW_SESSION = (1.0, 3.0)
"""Seconds that nobody is excluded from the group for."""
BEYOND_REQUEST = (8.5, 11.5)
"""Longer than a transactional producer waits for an answer (8 s), so the result is unknown."""
BEYOND_TRANSACTION = (20.0, 20.0)
"""Longer than the broker waits for a transaction's end (12 s), so it has ended it by itself."""


async def cut(world: World) -> Struck:
    """Break connections, of one worker or of all."""
    began = time.time()
    whose = _whose(world)
    for proxy in world.proxies:
        proxy.cut(whose)
    return Struck(began, time.time())


async def refuse(world: World) -> Struck:
    """Break connections and refuse new ones."""
    manners = Manners(_whose(world), refuses=True)
    return await world.misbehave(manners, world.random.uniform(*_BELOW_SESSION))


async def delay(world: World) -> Struck:
    """Hold every piece of data back."""
    manners = Manners(_whose(world), delay=world.random.uniform(0.05, 0.4))
    return await world.misbehave(manners, world.random.uniform(2.0, 5.0))


async def drop_answers(world: World) -> Struck:
    """Let requests reach the broker and lose its answers."""
    manners = Manners(_whose(world), drops_answers=True)
    return await world.misbehave(manners, world.random.uniform(*_BELOW_SESSION))


async def freeze(world: World) -> Struck:
    """Half-open connections of one worker, until the group has given its partitions away."""
    room = await world.worker()
    await world.ready(world.other(room))
    seconds = SESSION_TIMEOUT + world.random.uniform(1.0, 4.0)
    return await world.misbehave(Manners(room.name, flows=False), seconds, process_of(room))


async def cut_off_coordinator(world: World) -> Struck:
    """Let one worker reach the brokers and not its group's coordinator, past the session timeout.

    It writes and commits as before, and does not hear that its partitions are somebody else's.
    """
    room = await world.worker()
    await world.ready(world.other(room))
    seconds = SESSION_TIMEOUT + world.random.uniform(1.0, 4.0)
    manners = Manners(room.name, refused=MEMBERSHIP)
    return await world.misbehave(manners, seconds, process_of(room))


async def deliver_end_late(world: World, *, seconds: tuple[float, float]) -> Struck:
    """Hold one EndTxn until its producer has given it up, then deliver it."""
    room = await world.worker()
    held: list[Struck] = []

    async def hold() -> None:
        began = time.time()
        await asyncio.sleep(world.random.uniform(*seconds))
        held.append(Struck(began, time.time()))

    async with world.trap(room, Api.END_TXN, hold):
        pass
    return held[0]


async def kill_broker(world: World) -> Struck:
    """Kill a broker with signal 9 and start it again."""
    began = time.time()
    index = world.random.randrange(len(world.proxies))
    await world.kafka.kill(index)
    await asyncio.sleep(world.random.uniform(0.0, 1.0))
    await world.kafka.restart(index)
    return Struck(began, time.time())


async def pause_broker(world: World) -> Struck:
    """Stop a broker in its tracks for a while."""
    began = time.time()
    index = world.random.randrange(len(world.proxies))
    world.kafka.pause(index)
    await asyncio.sleep(world.random.uniform(*_BELOW_SESSION))
    world.kafka.resume(index)
    return Struck(began, time.time())


def _whose(world: World) -> str:
    """Choose one worker, or everybody who connects through the proxies."""
    return world.random.choice(["", *(room.name for room in world.stack.workers[:2])])
