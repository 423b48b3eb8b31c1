"""A worker process for tests: answers every record with itself after a while.

    python -m tests.integration.engine.echo --servers … --source … --target … --seconds 0.3

Writes a line to standard output for every call, `call <partition> <offset>`, so that tests can
count the calls that were repeated.
"""

import argparse
import asyncio
import os
from datetime import timedelta

from faststream import FastStream
from faststream.kafka import KafkaBroker

from services.runtime.engine.engine import Engine
from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import Done, Output, Partition, Record
from services.runtime.intake import subscribe
from services.runtime.kafka import KafkaLog, KafkaTransactions


class Echo:
    """Answers on the same partition of another topic; kills the process on a record `poison`."""

    def __init__(self, target: str, seconds: float) -> None:
        self._target = target
        self._seconds = seconds

    async def handle(self, record: Record, attempts: int) -> Done:  # noqa: ARG002
        """Answer after a while."""
        print(f"call {record.partition.number} {record.offset}", flush=True)
        if record.value == b"poison":
            os.abort()
        await asyncio.sleep(self._seconds)
        if record.value == b"large":
            return self._answer(record, b"x" * 2_000_000)
        return self._answer(record, record.value)

    def takes(self, topic: str) -> bool:  # noqa: ARG002
        """Take every topic."""
        return True

    def relinquish(self, partition: Partition) -> None:
        """End nothing."""

    def condemn(self, record: Record, crashes: int) -> Done:  # noqa: ARG002
        """Answer in place of the record that kills the process."""
        return self._answer(record, b"condemned")

    def refused(self, record: Record, output: Output, reason: str) -> Done:  # noqa: ARG002
        """Answer with the reason."""
        return self._answer(record, b"refused")

    def _answer(self, record: Record, value: bytes | None) -> Done:
        origin = (("x-origin-offset", str(record.offset).encode()),)
        return Done([Output(self._target, record.partition.number, record.key, value, origin)])


async def described(event: dict[str, str]) -> None:
    """Stand in the AsyncAPI document."""


def build(given: argparse.Namespace) -> FastStream:
    """Put the process together; the ten lines that any room needs."""
    broker = KafkaBroker(given.servers, client_id="echo")
    log = KafkaLog()
    transactions = KafkaTransactions({"bootstrap_servers": given.servers}, group=given.group)
    engine = Engine(
        group=given.group,
        log=log,
        transactions=transactions,
        work=Echo(given.target, given.seconds),
        limits=Limits(),
    )
    subscribe(
        broker,
        [given.source],
        engine=engine,
        log=log,
        group=given.group,
        grace=timedelta(seconds=given.grace),
        session_timeout=timedelta(seconds=given.session),
        handler=described,
    )
    return FastStream(broker, logger=None)


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--grace", type=float, default=20.0)
    parser.add_argument("--session", type=float, default=6.0)
    parser.add_argument("--group", default="echo")
    given = parser.parse_args()
    asyncio.run(run(given))


async def run(given: argparse.Namespace) -> None:
    """Build inside the loop: the engine's events belong to it."""
    await build(given).run()


if __name__ == "__main__":
    main()
