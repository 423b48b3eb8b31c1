"""`sluice` as a person meets it: a process with an environment, output and an exit code."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.runtime.connection import connection_options
from services.runtime.reading import scan
from services.runtime.settings import KafkaSettings
from sluice_contracts import TopicNames
from tests.conftest import Broker

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Awaitable[Ended]]


@pytest.fixture
def kafka_settings(kafka: Broker, topics: TopicNames) -> KafkaSettings:
    """The broker, and this test's topics."""
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topics.prefix)


@pytest.fixture
def sluice(kafka_settings: KafkaSettings) -> Command:
    """Runs `sluice` with this test's topics."""
    environment = {
        **os.environ,
        "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": kafka_settings.topic_prefix,
    }

    async def run(
        *arguments: str, given: str = "", environ: Mapping[str, str] | None = None
    ) -> Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.ops", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, cwd=CHECKOUT, env={**environment, **(environ or {})},
        )  # fmt: skip
        out, err = await process.communicate(given.encode())
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    return run


async def read_all(settings: KafkaSettings, topics: Sequence[str]) -> list[Any]:
    """Read what topics hold now, committed records only."""
    return [
        record
        async for _, records in scan(connection_options(settings), topics)
        for record in records
    ]
