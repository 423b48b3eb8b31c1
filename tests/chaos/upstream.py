"""Upstream that keeps its own account: what it sent, and what the broker said of it."""

from typing import Any

from confluent_kafka import KafkaError, Message

from sluice_contracts import TopicNames, identity
from sluice_contracts import headers as h
from tests.benchmarks.traffic import Upstream
from tests.chaos.collect import digest
from tests.chaos.history import Sent


class AccountingUpstream(Upstream):
    """Publishes requests; what is not acknowledged is noted, not raised."""

    def __init__(self, bootstrap: str, topics: TopicNames) -> None:
        super().__init__(bootstrap, topics)
        self.sent: list[Sent] = []
        self._headers: dict[str, h.AnyHeaders] = {}
        """By the digest of the body: delivery reports leave them out."""

    def publish_raw(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None
    ) -> None:
        """Hand over any record, readable or not."""
        self._headers[digest(value)] = headers or ()
        super().publish_raw(topic, key, value, headers)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        value: Any = message.value()
        topic = str(message.topic())
        number, offset = int(message.partition() or 0), int(message.offset() or 0)
        body = digest(value)
        name = identity(
            value, tuple(self._headers[body]), topic=topic, partition=number, offset=offset
        )
        self.sent.append(Sent(name, body, (topic, number, offset) if error is None else None))
