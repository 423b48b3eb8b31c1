"""librdkafka's mock of a cluster, for a demo on a machine without Java: `python -m …mock <prefix>`.

It speaks the protocol and stores records, and it is no Kafka: transactions are accepted and not
atomic, offsets of a transaction are not kept, every topic has four partitions. Nothing that is
promised about a crash can be seen on it.
"""

import json
import signal
import sys
from typing import Final

from sluice_contracts.topics import catalogue

WARNING: Final = (
    "this runs on librdkafka's mock of a cluster, because Kafka cannot be started here: "
    "transactions are not real on it, so it shows how Sluice looks and not what it promises"
)
_ANSWER_SECONDS: Final = 15.0


def serve(prefix: str) -> None:
    """Hold the mock until a signal; say where it listens on standard output."""
    from confluent_kafka import Producer  # noqa: PLC0415 - not in an installed sluice

    owner = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    for topic in catalogue(prefix):
        owner.list_topics(topic.name, timeout=_ANSWER_SECONDS)  # asking for a topic makes it
    brokers = owner.list_topics(timeout=_ANSWER_SECONDS).brokers.values()
    addresses = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    sys.stdout.write(json.dumps({"bootstrap_servers": addresses}) + "\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    serve(sys.argv[1] if len(sys.argv) > 1 else "")
