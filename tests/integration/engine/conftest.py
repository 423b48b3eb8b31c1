"""A stage for the engine's scenarios: echo workers that can be killed, and what readers see."""

import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

ROOT = Path(__file__).parents[3]
PARTITIONS = 4
Outcome = tuple[int, int]
"""Partition and offset of the record it answers."""


class Servers(Protocol):
    """What the fixture `kafka` gives."""

    bootstrap_servers: str


class Worker:
    """An echo process."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self._process = process
        self._output = output

    def calls(self) -> list[Outcome]:
        """Return the calls it has made so far."""
        lines = self._output.read_text().splitlines()
        words = [line.split() for line in lines if line.startswith("call ")]
        return [(int(partition), int(offset)) for _, partition, offset in words]

    def log(self) -> str:
        """Return all that it has written."""
        return self._output.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, seconds: float = 60) -> int:
        """Wait for its end and return its exit code."""
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def end(self) -> None:
        """End it at once, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Stage:
    """A group of its own on two topics of its own."""

    def __init__(self, servers: str, directory: Path) -> None:
        self._servers = servers
        self._directory = directory
        self._name = f"it-{secrets.token_hex(4)}"
        self.source, self.target = f"{self._name}.source", f"{self._name}.target"
        self.workers: list[Worker] = []
        self._sent = [0] * PARTITIONS
        self._admin = AdminClient({"bootstrap.servers": servers})
        topics = [
            NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)
            for topic in (self.source, self.target)
        ]
        for created in self._admin.create_topics(topics).values():
            created.result()

    async def start(
        self, *, seconds: float = 0.5, grace: float = 20, path: Path | None = None
    ) -> Worker:
        """Start a worker, with modules from `path` before all others."""
        output = self._directory / f"worker-{len(self.workers)}.log"
        with output.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.integration.engine.echo"),
                *("--servers", self._servers, "--group", self._name),
                *("--source", self.source, "--target", self.target),
                *("--seconds", str(seconds), "--grace", str(grace)),
                stdout=stream,
                stderr=stream,
                cwd=ROOT,
                env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
            )
        worker = Worker(process, output)
        self.workers.append(worker)
        return worker

    async def stop(self) -> None:
        """End every worker."""
        for worker in self.workers:
            await worker.end()

    def send(self, *values: bytes, codec: str = "none", partition: int | None = None) -> None:
        """Put records on the source, spread over the partitions or on one."""
        producer = Producer({"bootstrap.servers": self._servers, "compression.type": codec})
        self._produce(producer, values, partition)
        producer.flush()

    def send_transactionally(self, *values: bytes) -> None:
        """Put records on the source as the relay does, with transaction markers behind them."""
        producer = Producer(
            {"bootstrap.servers": self._servers, "transactional.id": self._name + ".sender"}
        )
        producer.init_transactions()
        producer.begin_transaction()
        self._produce(producer, values, None)
        producer.commit_transaction()

    def _produce(self, producer: Producer, values: Sequence[bytes], partition: int | None) -> None:
        for value in values:
            number = sum(self._sent) % PARTITIONS if partition is None else partition
            producer.produce(self.source, value, partition=number)
            self._sent[number] += 1

    def delete_everything(self) -> None:
        """Delete the source's records, as retention does in time."""
        whole = [TopicPartition(self.source, number, -1) for number in range(PARTITIONS)]
        for deleted in self._admin.delete_records(whole).values():
            deleted.result()

    async def until_called(self, calls: int, worker: Worker, seconds: float = 90) -> None:
        """Wait until a worker has made so many calls."""
        async with asyncio.timeout(seconds):
            while len(worker.calls()) < calls:  # noqa: ASYNC110 -- another process makes them
                await asyncio.sleep(0.05)

    async def outcomes(
        self, seconds: float = 90, settle: float = 2, enough: int | None = None
    ) -> "Counter[Outcome]":
        """Read as a consumer of committed records until there are enough, and a little longer."""
        return await asyncio.to_thread(self._read, seconds, settle, enough or sum(self._sent))

    def _read(self, seconds: float, settle: float, enough: int) -> "Counter[Outcome]":
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": self._name + ".reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        consumer.assign([TopicPartition(self.target, number, 0) for number in range(PARTITIONS)])
        found: Counter[Outcome] = Counter()
        self.values: dict[Outcome, bytes] = {}
        left = seconds
        while left > 0:
            messages = consumer.consume(500, timeout=0.2)
            for message in messages:
                offset = dict(message.headers() or ())["x-origin-offset"]
                origin = (message.partition() or 0, int(offset or b""))
                found[origin] += 1
                self.values[origin] = message.value() or b""
            left -= 0.2
            if len(found) >= enough:
                left = min(left, settle)
        consumer.close()
        return found

    def calls(self) -> "Counter[Outcome]":
        """Count the calls of all workers."""
        return Counter(call for worker in self.workers for call in worker.calls())

    def expected(self) -> "Counter[Outcome]":
        """Return one outcome for every record sent."""
        return Counter(
            (number, offset) for number, sent in enumerate(self._sent) for offset in range(sent)
        )


def repeats(calls: "Counter[Outcome]") -> int:
    """Count calls beyond the first of each record."""
    return sum(calls.values()) - len(calls)


@pytest.fixture
async def stage(kafka: Servers, tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty stage, cleared at the end."""
    made = Stage(kafka.bootstrap_servers, tmp_path)
    yield made
    await made.stop()


def values(number: int) -> Sequence[bytes]:
    """Make so many ordinary values."""
    return [b"value-%d" % n for n in range(number)]
