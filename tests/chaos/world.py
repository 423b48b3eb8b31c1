"""What a run acts on: the stack behind its proxies, and the wishes for a moment to act at."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import aiohttp

from services.ops.local.kafka import LocalKafka
from services.ops.local.ports import free_ports
from services.ops.local.rooms import Room
from services.ops.local.stack import Stack, StackPlan
from tests.chaos.collect import output_topics
from tests.chaos.proxy import Api, Manners, Proxy, Trap
from tests.chaos.stream import Stream
from tests.chaos.watch import EndWatch

SESSION_TIMEOUT: Final = 6.0
"""Seconds; the least that a broker allows, so that a pause beyond it is short."""
WORKERS: Final = 2
"""As many as run when nothing is being scaled: whoever is paused needs somebody to take over."""
_TRAP_PATIENCE: Final = 20.0
_QUIET_PATIENCE: Final = 10.0
_GRACE: Final = 90.0
_READY: Final = 180.0

ENVIRONMENT: Final = {
    "LOG__LEVEL": "info",
    # The transaction timeout keeps its default, though above this: a takeover does not wait for it.
    "ENGINE__SESSION_TIMEOUT": str(SESSION_TIMEOUT),
    # Backoffs that fit into a run of minutes; a few of them still go to the one-minute topic.
    "RETRY__MAX_DELAY": "4",
    "RETRY__PARK_LIMIT": "3",
}
SIMULATOR: Final = ("--latency.scale", "0.5")


class Struck(NamedTuple):
    """When a fault began and ended (wall clock), and what it may cost."""

    at: float
    until: float
    process: str = ""
    """Whose calls may be repeated by it: see `Fault.worker`."""


def process_of(room: Room) -> str:
    """Name a worker's process as its calls do."""
    return f"{room.name}.{room.child.pid}"


class NeverHappenedError(Exception):
    """The moment that a fault waits for did not come."""


@dataclass
class World:
    """The system under test and what the faults need of it."""

    stack: Stack
    kafka: LocalKafka
    proxies: list[Proxy]
    stream: Stream
    ends: EndWatch
    random: Random

    @classmethod
    @asynccontextmanager
    async def running(
        cls, *, brokers: int, rate: float, random: Random, call_log: Path
    ) -> AsyncIterator["World"]:
        """Start brokers behind proxies and everything else on them; yield when all is ready."""
        async with AsyncExitStack() as opened:
            ports = free_ports(brokers)
            kafka = LocalKafka(
                brokers=brokers,
                advertised={index: ("127.0.0.1", port) for index, port in enumerate(ports)},
            )
            proxies = [
                # Before the broker: it is asked for its peers through its advertised address.
                await opened.enter_async_context(
                    Proxy(port, lambda index=index: kafka.addresses[index][1])  # type: ignore[misc]
                )
                for index, port in enumerate(ports)
            ]
            await opened.enter_async_context(kafka)
            stack = await opened.enter_async_context(
                Stack.running(
                    StackPlan(
                        workers=WORKERS,
                        brokers=brokers,
                        bootstrap_servers=kafka.internal_servers,
                        bootstrap_for_rooms=kafka.bootstrap_servers,
                        simulator_arguments=("--call-log", str(call_log), *SIMULATOR),
                        environment=ENVIRONMENT,
                    )
                )
            )
            stream = await opened.enter_async_context(
                Stream.running(stack.bootstrap_servers, stack.topics, rate=rate, random=random)
            )
            watch = EndWatch(stack.bootstrap_servers, list(output_topics(stack.topics)))
            ends = await opened.enter_async_context(watch.watching())
            yield cls(stack, kafka, proxies, stream, ends, random)

    # --- workers ---------------------------------------------------------------------------

    async def worker(self) -> Room:
        """Choose one of the workers; it does work, so those that are starting come last."""
        rooms = self.stack.workers[:WORKERS]
        self.random.shuffle(rooms)
        for room in rooms:
            facts = await room.facts()
            if facts is not None and facts["ready"]:
                return room
        return await self.ready(rooms[0])

    def other(self, room: Room) -> Room:
        """Name the worker that stays when one is taken out."""
        first, second = self.stack.workers[:WORKERS]
        return second if room is first else first

    @property
    def relay(self) -> Room:
        """The process that brings back what rests on the retry topics."""
        assert self.stack.relay is not None, "the stack has one"
        return self.stack.relay

    async def ready(self, room: Room) -> Room:
        """Start a worker that does not run and wait until it does work."""
        if not room.child.is_running:
            await room.restart()
        await room.ready(_READY)
        return room

    async def stop(self, room: Room) -> None:
        """Let a worker finish and end, as a deployment does.

        Raises:
            RuntimeError: It did not end of its own accord, or not well.
        """
        code = await room.stop(_GRACE)
        if code != 0:
            raise RuntimeError(
                f"{room.name} ended with exit code {code} after SIGTERM; its last words, from "
                f"{room.child.log}:\n{room.child.tail()}"
            )

    # --- moments ---------------------------------------------------------------------------

    @asynccontextmanager
    async def trap(
        self,
        room: Room,
        api: Api,
        act: Callable[[], Coroutine[Any, Any, None]],
        *,
        is_after: bool = False,
        swallows: bool = False,
    ) -> AsyncIterator[None]:
        """Act when the worker sends its next request of this kind; leave when that is done.

        Raises:
            NeverHappenedError: It sends none.
        """
        trap = Trap(room.name, api, act, is_after=is_after, swallows=swallows)
        for proxy in self.proxies:
            proxy.traps.append(trap)
        try:
            yield
            async with asyncio.timeout(_TRAP_PATIENCE):
                await trap.sprung.wait()
            assert trap.acting is not None, "it has sprung"
            await trap.acting
        except TimeoutError:
            raise NeverHappenedError(f"{room.name} sent no {api.name}") from None
        finally:
            for proxy in self.proxies:
                proxy.traps.remove(trap)

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Publish nothing, and begin when everything published has its outcome, or nearly."""
        self.stream.pause()
        try:
            await self.stream.settled(_QUIET_PATIENCE)
            yield
        finally:
            self.stream.resume()

    # --- what surrounds the workers ----------------------------------------------------------

    async def misbehave(self, manners: Manners, seconds: float, process: str = "") -> Struck:
        """Let every proxy misbehave for a while."""
        began = time.time()
        for proxy in self.proxies:
            proxy.misbehave(manners)
        await asyncio.sleep(seconds)
        for proxy in self.proxies:
            proxy.heal()
        return Struck(began, time.time(), process)

    async def control(self, method: str, path: str, body: Any = None) -> None:
        """Tell the API simulator how to behave."""
        url = f"{self.stack.simulator.url}/_sim/{path}"
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.request(method, url, json=body) as answer,
        ):
            await answer.read()

    async def heal(self) -> None:
        """Let everything behave again, and wait until workers and relay do work."""
        for proxy in self.proxies:
            proxy.heal()
        await self.control("DELETE", "faults")
        for room in (*self.stack.workers[:WORKERS], self.relay):
            room.resume()
            await self.ready(room)
