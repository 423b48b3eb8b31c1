"""The port to `claude.rate.v1`: what the throttle needs of the topic, whatever carries it."""

from collections.abc import Callable
from typing import Protocol

from services.worker.throttle.record import RatePosted

Arrived = Callable[[float, str, RatePosted | None], None]
"""Told of every record in the log's order: its time in the log, its replica, what it says."""


class Exchange(Protocol):
    """The log that all replicas write to and read from the beginning.

    Kafka's is `topic.py`; the benchmark's runs in virtual time and loses messages.
    """

    async def run(self, arrived: Arrived) -> None:
        """Hand over every record until cancelled; a lost connection is tried again for ever."""
        ...

    def post(self, record: RatePosted) -> None:
        """Write a record soon; one that is not sent yet is replaced."""
        ...

    async def leave(self, replica: str) -> None:
        """Say that a replica is gone, so that the others need not wait for its lease."""
        ...

    def forget(self, replica: str) -> None:
        """Take the record of a replica that died long ago off the log, some time."""
        ...
