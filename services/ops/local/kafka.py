"""Apache Kafka on a laptop without Docker: one broker, or three for the tests that need them.

Each node is broker and controller (KRaft) with three listeners: CLIENT, whose advertised address
may be that of a proxy; INTERNAL, over which brokers speak to each other, so that a proxy which is
cut off cuts off clients only; and CONTROLLER.
"""

import asyncio
import base64
import contextlib
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.ops.local.distribution import KafkaUnavailableError, find_java, kafka_jars
from services.ops.local.nodes import LOOPBACK, Address, Node
from services.ops.local.ports import free_port, free_ports
from services.ops.local.processes import Child
from services.ops.local.run import Run

_ANSWER_SECONDS: Final = 60.0
_ATTEMPTS: Final = 3
_ENDED_BY_SIGTERM: Final = 143


class LocalKafka:
    """A cluster of this process's own.

    Brokers are counted from 0 in its methods. `advertised` gives clients another address for a
    broker, that of a proxy in front of `addresses[index]`. The first one listens on `port`, where
    it is free.
    """

    def __init__(
        self,
        *,
        brokers: int = 1,
        advertised: Mapping[int, Address] | None = None,
        port: int | None = None,
        run: Run | None = None,
    ) -> None:
        self._brokers: Final = brokers
        self._advertised: Final = dict(advertised or {})
        self._port: Final = port
        self._run: Run | None = run
        self._owns_run: Final = run is None
        self._nodes: list[Node] = []
        self._children: list[Child] = []
        self._java = ""
        self._jars = Path()

    @property
    def _archive(self) -> Path:
        """Where the JVM finds Kafka's classes ready to use, which halves the time to start."""
        return self._jars / "classes.jsa"

    @property
    def bootstrap_servers(self) -> str:
        """The addresses clients connect to, proxies among them."""
        return ",".join(f"{host}:{port}" for host, port in (n.advertised for n in self._nodes))

    @property
    def addresses(self) -> list[Address]:
        """The addresses the brokers themselves listen on."""
        return [(LOOPBACK, node.client) for node in self._nodes]

    @property
    def internal_servers(self) -> str:
        """The listener that brokers speak over: never behind a proxy."""
        return ",".join(f"{LOOPBACK}:{node.internal}" for node in self._nodes)

    @property
    def logs(self) -> list[Path]:
        """The brokers' log files."""
        return [child.log for child in self._children]

    async def start(self) -> str:
        """Start every broker, wait until all answer, and return the bootstrap servers."""
        self._java, self._jars = await asyncio.gather(find_java(), kafka_jars())
        if self._run is None:
            self._run = Run.open()
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    await self._start_on_free_ports(attempt)
                    break
                except _PortTakenError:
                    if attempt == _ATTEMPTS - 1:
                        raise
        except BaseException:
            await self.stop()
            raise
        return self.bootstrap_servers

    async def _start_on_free_ports(self, attempt: int) -> None:
        ports = iter(free_ports(3 * self._brokers))
        self._nodes = []
        for index in range(self._brokers):
            client, internal, controller = next(ports), next(ports), next(ports)
            if index == 0 and attempt == 0 and self._port is not None:
                client = free_port(self._port)
            advertised = self._advertised.get(index, (LOOPBACK, client))
            self._nodes.append(Node(index + 1, client, internal, controller, advertised))
        # The first byte is fixed: an id that begins with a dash would be read as an option.
        identifier = b"S" + secrets.token_bytes(15)
        cluster = base64.urlsafe_b64encode(identifier).decode().rstrip("=")
        await asyncio.gather(*(self._format(node, cluster, attempt) for node in self._nodes))
        self._children = [self._launch(node) for node in self._nodes]
        await self._answer()

    def _directory(self, node: Node) -> Path:
        assert self._run is not None, "started"
        return self._run.data(f"kafka-{node.number}")

    async def _format(self, node: Node, cluster: str, attempt: int) -> None:
        assert self._run is not None, "started"
        directory = self._directory(node)
        directory.mkdir(parents=True, exist_ok=True)
        lines = node.properties(self._nodes, directory / f"log-{attempt}").items()
        settings = directory / "server.properties"
        settings.write_text("".join(f"{name}={value}\n" for name, value in lines))
        child = self._run.start(
            f"kafka-{node.number}-format",
            self._command(
                "64m", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", settings
            ),
        )
        if await child.wait(_ANSWER_SECONDS):
            raise KafkaUnavailableError(f"Kafka's storage was not formatted: {child.tail()}")

    def _launch(self, node: Node) -> Child:
        assert self._run is not None, "started"
        settings = self._directory(node) / "server.properties"
        heap = "512m" if self._brokers == 1 else "384m"
        command = self._command(heap, "kafka.Kafka", settings)
        if not self._archive.exists() and node.number == 1:
            command.insert(1, f"-XX:ArchiveClassesAtExit={self._new_archive}")
        return self._run.start(f"kafka-{node.number}", command)

    @property
    def _new_archive(self) -> Path:
        return self._directory(self._nodes[0]) / "classes.jsa"

    def _command(self, heap: str, program: str, *arguments: str | Path) -> list[str | Path]:
        archive = [f"-XX:SharedArchiveFile={self._archive}"] if self._archive.exists() else []
        return [
            self._java, *archive, f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp", f"{self._jars}/*", program, *arguments,
        ]  # fmt: skip

    async def _answer(self) -> None:
        """Wait until every broker that runs takes connections and all of them know each other."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await asyncio.gather(
                    *(_accepts(n, c) for n, c in zip(self._nodes, self._children, strict=True))
                )
                while not await self._knows_all():  # noqa: ASYNC110 - the broker is asked
                    await asyncio.sleep(0.1)
        except TimeoutError:
            tails = "\n".join(child.tail() for child in self._children)
            raise KafkaUnavailableError(
                f"Kafka did not answer within {_ANSWER_SECONDS:.0f} s; its last words:\n{tails}"
            ) from None

    async def _knows_all(self) -> bool:
        own = ",".join(f"{host}:{port}" for host, port in self.addresses)
        admin = AIOKafkaAdminClient(bootstrap_servers=own, request_timeout_ms=2000)
        try:
            await admin.start()
            return len((await admin.describe_cluster())["brokers"]) == self._brokers
        except (KafkaError, OSError):
            return False
        finally:
            await admin.close()

    async def kill(self, index: int) -> None:
        """Kill a broker with signal 9."""
        await self._children[index].kill()

    def pause(self, index: int) -> None:
        """Stop a broker in its tracks; its connections stay open."""
        self._children[index].send(signal.SIGSTOP)

    def resume(self, index: int) -> None:
        """Let a paused broker go on."""
        self._children[index].send(signal.SIGCONT)

    async def restart(self, index: int) -> None:
        """Start a broker again on its own port and data, after stopping it if it still runs."""
        await self._children[index].stop()
        self._children[index] = self._launch(self._nodes[index])
        await self._answer()

    async def stop(self) -> None:
        """Stop every broker and remove the data; the logs stay."""
        await asyncio.gather(*(child.stop() for child in self._children))
        self._keep_archive()
        self._children = []
        if self._run is not None and self._owns_run:
            self._run.close()
            self._run = None

    def _keep_archive(self) -> None:
        """Keep the classes that the first broker's JVM wrote down at its clean end."""
        if self._children and self._children[0].exit_code == _ENDED_BY_SIGTERM:
            with contextlib.suppress(OSError):  # there is one already, or another system has it
                self._new_archive.rename(self._archive)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


class _PortTakenError(KafkaUnavailableError):
    """Somebody else took a port between its choice and the broker's start."""


async def _accepts(node: Node, child: Child) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, node.client)
        except OSError:
            if not child.is_running:
                tail = child.tail()
                kind = (
                    _PortTakenError if "Address already in use" in tail else KafkaUnavailableError
                )
                raise kind(f"broker {node.number} ended at once; its last words:\n{tail}") from None
            await asyncio.sleep(0.03)
        else:
            writer.close()
            await writer.wait_closed()
            return
