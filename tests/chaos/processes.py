"""What is done to processes: killed, paused, scaled, restarted."""

import asyncio
import time

from services.ops.local.rooms import Room
from tests.chaos.proxy import Api
from tests.chaos.world import SESSION_TIMEOUT, WORKERS, Struck, World, process_of

_BEYOND_SESSION = (1.5, 4.0)
_MOST_WORKERS = 4


async def kill_at_random(world: World) -> Struck:
    """Kill a worker, whatever it is doing."""
    room = await world.worker()
    await asyncio.sleep(world.random.uniform(0.0, 0.5))
    struck = await _kill(room)
    await room.restart()
    return struck


async def kill_when_idle(world: World) -> Struck:
    """Kill a worker that has nothing to do."""
    room = await world.worker()
    async with world.quiet():
        struck = await _kill(room)
    await room.restart()
    return struck


async def kill_at(api: Api, world: World, *, is_after: bool = False) -> Struck:
    """Kill a worker at one of its requests: before the broker knows of it, or just after."""
    room = await world.worker()
    struck: list[Struck] = []

    async def act() -> None:
        struck.append(await _kill(room))

    async with world.trap(room, api, act, is_after=is_after, swallows=not is_after):
        pass
    await room.restart()
    return struck[0]


async def kill_at_claim(world: World) -> Struck:
    """Kill a worker while it fences the owner of partitions that it is to take over."""
    room = await world.worker()
    leaving = await world.ready(world.other(room))
    struck: list[Struck] = []

    async def act() -> None:
        struck.append(await _kill(room))

    async with world.trap(room, Api.INIT_PRODUCER_ID, act, swallows=True):
        await world.stop(leaving)
    await asyncio.gather(room.restart(), leaving.restart())
    return struck[0]


async def pause_when_idle(world: World) -> Struck:
    """Pause a worker that has nothing to do past the session timeout."""
    room = await world.worker()
    await world.ready(world.other(room))
    async with world.quiet():
        struck = asyncio.create_task(_pause(world, room))
        await asyncio.sleep(0.1)
    return await struck


async def pause_at(api: Api, world: World, *, is_after: bool = False) -> Struck:
    """Pause a worker at one of its requests, which is delivered when somebody else has taken over.

    With `is_after` the broker knows of the request, and its answer waits for the worker.
    """
    room = await world.worker()
    await world.ready(world.other(room))
    struck: list[Struck] = []

    async def act() -> None:
        struck.append(await _pause(world, room))

    async with world.trap(room, api, act, is_after=is_after):
        pass
    return struck[0]


async def pause_in_revoke(world: World) -> Struck:
    """Pause a worker while the group shares out its partitions, because another one came back."""
    room = await world.worker()
    other = await world.ready(world.other(room))
    struck: list[Struck] = []

    async def act() -> None:
        struck.append(await _pause(world, room))

    async with world.trap(room, Api.JOIN_GROUP, act):
        await world.stop(other)
        await other.restart()
    return struck[0]


async def kill_relay(world: World) -> Struck:
    """Kill the relay while it may be putting records back."""
    relay = await world.ready(world.relay)
    struck = await _kill(relay)
    await relay.restart()
    return struck._replace(process="")  # it makes no calls


async def scale(world: World) -> Struck:
    """Go down to one worker, up to four, and down to one again; planned, so it costs nothing."""
    began = time.time()
    stack = world.stack
    await asyncio.gather(*(world.ready(room) for room in stack.workers[:WORKERS]))
    await world.stop(stack.workers[1])
    while len(stack.workers) < _MOST_WORKERS:
        stack.add_worker()
    await asyncio.gather(*(world.ready(room) for room in stack.workers))
    await asyncio.sleep(world.random.uniform(1.0, 3.0))
    await asyncio.gather(*(world.stop(room) for room in stack.workers[1:]))
    await asyncio.sleep(world.random.uniform(0.0, 1.0))
    await world.ready(stack.workers[1])
    return Struck(began, time.time())


async def roll(world: World) -> Struck:
    """Restart one worker after the other, as a deployment does."""
    began = time.time()
    for room in world.stack.workers[:WORKERS]:
        await world.ready(room)
        await world.stop(room)
        await world.ready(room)
    return Struck(began, time.time())


async def _kill(room: Room) -> Struck:
    began, process = time.time(), process_of(room)
    await room.kill()
    return Struck(began, time.time(), process)


async def _pause(world: World, room: Room) -> Struck:
    began = time.time()
    room.pause()
    await asyncio.sleep(SESSION_TIMEOUT + world.random.uniform(*_BEYOND_SESSION))
    room.resume()
    return Struck(began, time.time(), process_of(room))
