"""What a broker on a laptop is told: the same for the launcher here and for docker-compose.yml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Address = tuple[str, int]
LOOPBACK: Final = "127.0.0.1"

SHARED_PROPERTIES: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "listener.security.protocol.map": ("CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    # A topic that nobody planned has the wrong number of partitions.
    "auto.create.topics.enable": "false",
    # Waiting for more members only slows a laptop down.
    "group.initial.rebalance.delay.ms": "0",
    # Small, because every partition costs files and start time.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # A broker that was killed is refused until its old session ends; the default is 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""What every node of a laptop shares; docker-compose.yml says the same to the official image."""


def replication_properties(brokers: int) -> dict[str, str]:
    """Say how often the cluster's own topics are kept: three times with three brokers."""
    factor = str(min(3, brokers))
    in_sync = str(2 if brokers >= 3 else 1)  # noqa: PLR2004 - the majority of three
    return {
        "default.replication.factor": factor,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
    }


@dataclass(frozen=True, slots=True)
class Node:
    """The addresses of one broker; `number` starts at 1, as Kafka's node ids do."""

    number: int
    client: int
    internal: int
    controller: int
    advertised: Address

    def properties(self, nodes: "Sequence[Node]", data: Path) -> dict[str, str]:
        """Return its server.properties among `nodes`."""
        voters = ",".join(f"{node.number}@{LOOPBACK}:{node.controller}" for node in nodes)
        host, port = self.advertised
        return {
            **SHARED_PROPERTIES,
            **replication_properties(len(nodes)),
            "node.id": str(self.number),
            "controller.quorum.voters": voters,
            "listeners": (
                f"CLIENT://{LOOPBACK}:{self.client},INTERNAL://{LOOPBACK}:{self.internal},"
                f"CONTROLLER://{LOOPBACK}:{self.controller}"
            ),
            "advertised.listeners": (
                f"CLIENT://{host}:{port},INTERNAL://{LOOPBACK}:{self.internal}"
            ),
            "log.dirs": str(data),
        }
