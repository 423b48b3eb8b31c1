"""All of Sluice on this machine: Kafka, topics, Secrets Manager, the simulator, workers, relay.

async with Stack.running(StackPlan(workers=2)) as stack:
    await stack.workers[0].kill()
    await stack.workers[0].restart()
    await stack.keys.rotate()
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from services.ops.cluster import Cluster
from services.ops.local.distribution import KafkaUnavailableError
from services.ops.local.kafka import LocalKafka
from services.ops.local.keys import KeyRing
from services.ops.local.processes import Child
from services.ops.local.rooms import Room
from services.ops.local.run import Run
from services.ops.local.servers import Server, start_mock_kafka, start_moto, start_simulator
from services.ops.topic_plan import plan
from services.runtime.settings import KafkaSettings
from sluice_contracts.topics import TopicNames, catalogue

Report = Callable[[str], None]
_KAFKA: Final = 9092
_MOTO: Final = 5000
_SIMULATOR: Final = 8787
_WORKER: Final = 8080
_RELAY: Final = 8081
_LIVE_URL: Final = "https://api.anthropic.com"


@dataclass(frozen=True, slots=True)
class StackPlan:
    """What to start."""

    workers: int = 1
    relay: bool = True
    brokers: int = 1
    bootstrap_servers: str | None = None
    """A cluster that is already there; None starts one."""
    topic_prefix: str = ""
    partitions: int = 8
    poll_interval: float = 2.0
    """How often workers look for a new key, in seconds."""
    simulator_arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings of every room, above those that follow from the stack."""
    bootstrap_for_rooms: str | None = None
    """Where rooms find Kafka when it is not where it listens: the address of a proxy."""
    may_mock_kafka: bool = False
    """Without Java, run on a mock of Kafka that shows nothing about crashes; else fail."""
    has_well_known_ports: bool = False
    """Listen where the settings' defaults and .env.example look, as far as those ports are free."""
    live_key: str | None = field(default=None, repr=False)
    """A real API key: no simulator and no Secrets Manager, calls go to the real API and cost."""


class Stack:
    """What is running; made by `Stack.running`."""

    def __init__(self, stack_plan: StackPlan, run: Run) -> None:
        self.plan: Final = stack_plan
        self.run: Final = run
        self.topics: Final = TopicNames(stack_plan.topic_prefix)
        self.bootstrap_servers = stack_plan.bootstrap_servers or ""
        self.kafka: LocalKafka | None = None
        self.workers: Final[list[Room]] = []
        self.relay: Room | None = None
        self._simulator: Server | None = None
        self._moto: Server | None = None
        self._mock: Child | None = None
        self._keys: KeyRing | None = None

    @classmethod
    @asynccontextmanager
    async def running(
        cls, stack_plan: StackPlan | None = None, *, report: Report = lambda _: None
    ) -> AsyncIterator[Self]:
        """Start everything, hand it over when it is ready, stop it in reverse order.

        Args:
            stack_plan: What to start.
            report: Told what is being waited for.
        """
        with Run.open() as run:
            stack = cls(stack_plan or StackPlan(), run)
            try:
                await stack._start(report)
                yield stack
            finally:
                await stack._stop()

    async def _start(self, report: Report) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._start_kafka(report))
            if self.plan.live_key is None:
                tasks.create_task(self._start_stand_ins(report))
        has_relay = self.plan.relay and not self.is_mock
        rooms = "worker" if self.plan.workers == 1 else f"{self.plan.workers} workers"
        report(f"{rooms}{' and relay' if has_relay else ''}")
        for _ in range(self.plan.workers):
            self.add_worker()
        if has_relay:
            self.relay = self._room("relay", "services.relay", port=self._port(_RELAY))
        await asyncio.gather(*(room.ready() for room in self.rooms))

    def _port(self, well_known: int) -> int | None:
        return well_known if self.plan.has_well_known_ports else None

    async def _start_kafka(self, report: Report) -> None:
        if not self.bootstrap_servers:
            report("Kafka")
            self.kafka = LocalKafka(
                brokers=self.plan.brokers, run=self.run, port=self._port(_KAFKA)
            )
            try:
                self.bootstrap_servers = await self.kafka.start()
            except KafkaUnavailableError as exc:
                if not self.plan.may_mock_kafka:
                    raise
                report(f"a mock of Kafka. {exc}")
                self.bootstrap_servers, self._mock = await start_mock_kafka(
                    self.run, self.plan.topic_prefix
                )
                return
        report("topics")
        settings = KafkaSettings(bootstrap_servers=self.bootstrap_servers)
        rows = catalogue(self.plan.topic_prefix, self.plan.partitions)
        async with Cluster.open(settings) as cluster:
            state = await cluster.state()
            await cluster.apply(rows, state, plan(rows, state))

    async def _start_stand_ins(self, report: Report) -> None:
        report("Secrets Manager and the simulator")
        self._moto, self._simulator = moto, simulator = await asyncio.gather(
            start_moto(self.run, port=self._port(_MOTO)),
            start_simulator(
                self.run,
                port=self._port(_SIMULATOR),
                arguments=self.plan.simulator_arguments,
            ),
        )
        self._keys = KeyRing(simulator.url, moto.url, poll_interval=self.plan.poll_interval)
        await self._keys.create()

    @property
    def is_mock(self) -> bool:
        """True on a mock of Kafka (`mock.py`), where nothing is promised."""
        return self._mock is not None

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which any process joins this stack, `sluice submit` for one."""
        kafka = {
            "KAFKA__BOOTSTRAP_SERVERS": self.plan.bootstrap_for_rooms or self.bootstrap_servers,
            "KAFKA__TOPIC_PREFIX": self.plan.topic_prefix,
        }
        if self.plan.topic_prefix:
            # On a shared cluster, members of one group must not want different topics.
            kafka["ENGINE__GROUP_ID"] = f"{self.plan.topic_prefix}sluice-worker"
            kafka["RELAY__GROUP_ID"] = f"{self.plan.topic_prefix}sluice-relay"
        if self.plan.live_key is not None:
            # Named, because a .env beside the checkout may name the simulator.
            live = {"CLAUDE__BASE_URL": _LIVE_URL, "SECRETS__API_KEY": self.plan.live_key}
            return {**kafka, **live, **self.plan.environment}
        claude = {"CLAUDE__BASE_URL": self.simulator.url, "CLAUDE__CALL_HEADERS": "true"}
        return {**kafka, **claude, **self.keys.environment, **self.plan.environment}

    @property
    def simulator(self) -> Server:
        """The stand-in for the Claude API; not there when calls are live."""
        assert self._simulator is not None, "a live stack has no simulator"
        return self._simulator

    @property
    def keys(self) -> KeyRing:
        """The API key and its rotation; not there when calls are live."""
        assert self._keys is not None, "a live stack has no key of its own"
        return self._keys

    @property
    def rooms(self) -> list[Room]:
        """Workers and relay."""
        return [*self.workers, *([self.relay] if self.relay else [])]

    def add_worker(self, environment: Mapping[str, str] | None = None) -> Room:
        """Start one more worker, with settings of its own; does not wait until it is ready."""
        port = None if self.workers else self._port(_WORKER)
        name = f"worker-{len(self.workers) + 1}"
        room = self._room(name, "services.worker", environment, port=port)
        self.workers.append(room)
        return room

    def _room(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str] | None = None,
        *,
        port: int | None,
    ) -> Room:
        settings = {**self.environment, **(environment or {})}
        return Room(self.run, name, module, settings, port=port)

    async def _stop(self) -> None:
        await asyncio.gather(*(room.stop() for room in self.rooms))
        stand_ins = [server for server in (self._simulator, self._moto) if server is not None]
        await asyncio.gather(*(server.child.stop() for server in stand_ins))
        if self.kafka is not None:
            await self.kafka.stop()
        if self._mock is not None:
            await self._mock.stop()
