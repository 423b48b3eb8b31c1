"""What integration tests share: a real broker, fresh topics, Secrets Manager and the simulator.

Each is started once a session, on the loopback interface, and ends with it.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from services.ops.cluster import Cluster
from services.ops.local.distribution import KafkaUnavailableError
from services.ops.local.kafka import LocalKafka
from services.ops.local.run import Run
from services.ops.local.servers import Server, start_moto, start_simulator
from services.runtime.settings import KafkaSettings
from sluice_contracts.topics import Topic, TopicNames, catalogue

# How fast a machine is says nothing about a property; CI's own profile has the same two.
hypothesis.settings.register_profile(
    "sluice", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
if os.environ.get("CI") != "true":
    hypothesis.settings.load_profile("sluice")


def pytest_configure() -> None:
    """Say that there is no event loop yet."""
    # looptime asks the policy for the loop of every test; before the first asynchronous one the
    # policy would make a loop that nobody closes, and its warning fails a test at random.
    asyncio.set_event_loop(None)


@dataclass(frozen=True)
class Broker:
    """The cluster that tests use."""

    bootstrap_servers: str


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """What this session starts; ended with it, also when it is killed."""
    with Run.open() as opened:
        yield opened


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """One broker for the session, or that of KAFKA__BOOTSTRAP_SERVERS."""
    if given := os.environ.get("KAFKA__BOOTSTRAP_SERVERS"):
        yield Broker(given)
        return
    local = LocalKafka(run=request.getfixturevalue("run"))
    try:
        servers = asyncio.run(local.start())
    except KafkaUnavailableError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc), pytrace=False)
        pytest.skip(str(exc))
    yield Broker(servers)
    asyncio.run(local.stop())


@pytest.fixture
async def topics(kafka: Broker) -> TopicNames:
    """Every topic of the catalogue with two partitions, under a prefix of the test's own."""
    names = TopicNames(f"it-{secrets.token_hex(4)}.")
    rows = [_narrow(topic) for topic in catalogue(names.prefix, partitions=2)]
    async with Cluster.open(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)) as cluster:
        await cluster.create(rows, replication=1)
    return names


def _narrow(topic: Topic) -> Topic:
    return topic.model_copy(update={"partitions": min(2, topic.partitions)})


@pytest.fixture(scope="session")
def moto(run: Run) -> Iterator[Server]:
    """Secrets Manager's API; give its url as SECRETS__ENDPOINT_URL, with any AWS credentials."""
    server = asyncio.run(start_moto(run))
    yield server
    asyncio.run(server.child.stop())


@pytest.fixture(scope="session")
def simulator(run: Run) -> Iterator[Server]:
    """The Claude API's stand-in with its default settings; faults are set through `/_sim/`."""
    server = asyncio.run(start_simulator(run))
    yield server
    asyncio.run(server.child.stop())


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data beside the checkout; it is not part of the repository."""
    directory = Path(__file__).resolve().parents[2] / "shared"
    if not directory.is_dir():
        pytest.skip(f"{directory} is not on this machine")
    return directory
