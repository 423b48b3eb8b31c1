"""Every topic of the system: its name, owner, key, partitions, retention and the events it carries.

Nobody writes a topic name as a string: a process holds one `TopicNames`, whose prefix lets several
systems (or test scenarios) share a cluster.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict


class Tier(StrEnum):
    """A model tier; a setting maps it to one model id."""

    HAIKU = "haiku"
    SONNET = "sonnet"
    OPUS = "opus"


class RetryDelay(StrEnum):
    """The fixed delays of the retry topics, shortest first."""

    ONE_MINUTE = "1m"
    FIVE_MINUTES = "5m"
    THIRTY_MINUTES = "30m"

    @property
    def duration(self) -> timedelta:
        """How long a record rests on this topic."""
        return timedelta(minutes=int(self.value.removesuffix("m")))

    @classmethod
    def nearest(cls, wait: timedelta) -> "RetryDelay":
        """Return the delay that differs from a wait by the smallest factor."""
        return min(cls, key=lambda delay: max(delay.duration / wait, wait / delay.duration))


class Topic(BaseModel):
    """One row of the catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    owner: str
    """Who answers for what is on it."""
    writers: tuple[str, ...] = ()
    """Who publishes to it: rooms, `upstream`."""
    readers: tuple[str, ...] = ()
    """Who subscribes to it: rooms, `downstream`."""
    key: str
    partitions: int
    retention: timedelta | None
    """None keeps records until compaction replaces them."""
    compacted: bool = False
    max_message_bytes: int = 1_048_588
    timestamps: Literal["CreateTime", "LogAppendTime"] = "CreateTime"
    events: tuple[str, ...]
    """The CloudEvents types that it carries."""
    summary: str


class TopicNames:
    """Builds and reads topic names; `prefix` is empty in production and `it-…` in tests."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix: Final = prefix
        self.streams: Final = f"{prefix}claude.streams.v1"
        self.cancellations: Final = f"{prefix}claude.cancellations.v1"
        self.audit: Final = f"{prefix}claude.audit.v1"
        self.rate: Final = f"{prefix}claude.rate.v1"
        self.replays: Final = f"{prefix}claude.replays.v1"

    def requests(self, tier: Tier) -> str:
        """Name the topic upstream publishes to."""
        return f"{self.prefix}claude.requests.{tier}.v1"

    def results(self, tier: Tier) -> str:
        """Name the topic downstream reads outcomes from."""
        return f"{self.prefix}claude.results.{tier}.v1"

    def dead_letters(self, tier: Tier) -> str:
        """Name the topic people on call replay from."""
        return f"{self.prefix}claude.dead-letters.{tier}.v1"

    def retries(self, delay: RetryDelay) -> str:
        """Name the topic where delayed retries rest."""
        return f"{self.prefix}claude.retries.{delay}.v1"

    def tier(self, topic: str) -> Tier | None:
        """Return the tier of a request, result or dead-letter topic, or None for any other name."""
        for tier in Tier:
            if topic in (self.requests(tier), self.results(tier), self.dead_letters(tier)):
                return tier
        return None


REQUEST_TYPE: Final = "claude.completion.requested.v1"
SUCCEEDED_TYPE: Final = "claude.completion.succeeded.v1"
FAILED_TYPE: Final = "claude.completion.failed.v1"
CHUNK_TYPE: Final = "claude.completion.chunk.v1"
CANCELLATION_TYPE: Final = "claude.cancellation.requested.v1"
CALL_AUDITED_TYPE: Final = "claude.call.audited.v1"
ACTION_AUDITED_TYPE: Final = "claude.action.audited.v1"
RATE_TYPE: Final = "claude.rate.posted.v1"
REPLAY_TYPE: Final = "claude.replay.planned.v1"

INTERNAL_TYPES: Final = frozenset({RATE_TYPE, REPLAY_TYPE})
"""What only Sluice itself reads and writes; their payloads are no part of the contract."""

_DAY: Final = timedelta(days=1)
REQUEST_RETENTION: Final = 7 * _DAY
"""How long a request may wait, and so for how long what is said about it must be remembered."""
_MIB: Final = 1_048_576
REQUEST_BYTES: Final = 4 * _MIB
"""Largest request record, in bytes: a 1M-token window of text is about 3.5 MB."""
CARRIED_BYTES: Final = REQUEST_BYTES + 65_536
"""Largest record that carries a request and what we say about it (retries, dead letters)."""


def catalogue(prefix: str = "", partitions: int = 8) -> tuple[Topic, ...]:
    """List every topic; `partitions` is that of the request, result, dead-letter and retry topics.

    They share one number because an outcome lands on the partition number of its request
    (`docs/architecture.md`, order by key).
    """
    names = TopicNames(prefix)
    rows: list[Topic] = []
    for tier in Tier:
        rows += [
            Topic(
                name=names.requests(tier), owner="upstream", key="ordering key, else request id",
                writers=("upstream", "relay", "ops"), readers=("worker",),
                partitions=partitions, retention=REQUEST_RETENTION,
                max_message_bytes=REQUEST_BYTES,
                events=(REQUEST_TYPE,), summary=f"Requests for the {tier} tier.",
            ),
            Topic(
                name=names.results(tier), owner="worker", key="as the request",
                writers=("worker",), readers=("downstream", "ops"),
                partitions=partitions, retention=7 * _DAY, max_message_bytes=CARRIED_BYTES,
                events=(SUCCEEDED_TYPE, FAILED_TYPE),
                summary=f"Exactly one outcome for each {tier} request.",
            ),
            Topic(
                name=names.dead_letters(tier), owner="worker", key="as the request",
                writers=("worker",), readers=("ops",),
                partitions=partitions, retention=30 * _DAY, max_message_bytes=CARRIED_BYTES,
                events=(REQUEST_TYPE,),
                summary=f"Failed {tier} requests, byte for byte, with the reason in headers.",
            ),
        ]  # fmt: skip
    rows += [
        Topic(
            name=names.retries(delay), owner="worker", key="as the request",
            writers=("worker",), readers=("relay",),
            partitions=partitions, retention=7 * _DAY, max_message_bytes=CARRIED_BYTES,
            timestamps="LogAppendTime", events=(REQUEST_TYPE,),
            summary=f"Requests resting for {delay} before the relay puts them back.",
        )
        for delay in RetryDelay
    ]  # fmt: skip
    rows += [
        Topic(
            name=names.streams, owner="worker", key="request id", partitions=partitions,
            writers=("worker",), readers=("downstream", "ops"),
            retention=_DAY, events=(CHUNK_TYPE,),
            summary="Pieces of an answer while it is written, when a request asks for them.",
        ),
        Topic(
            name=names.cancellations, owner="upstream", key="request id", partitions=1,
            writers=("upstream", "ops"), readers=("worker",),
            retention=REQUEST_RETENTION, events=(CANCELLATION_TYPE,),
            summary="Requests to fail what has not been called yet.",
        ),
        Topic(
            name=names.audit, owner="worker", key="tenant", partitions=4,
            writers=("worker", "ops"), readers=("downstream",),
            retention=400 * _DAY, events=(CALL_AUDITED_TYPE, ACTION_AUDITED_TYPE),
            summary="One record a call and a person's action.",
        ),
        Topic(
            name=names.rate, owner="worker", key="replica id", partitions=1, retention=None,
            writers=("worker",), readers=("worker", "ops"),
            compacted=True, timestamps="LogAppendTime", events=(RATE_TYPE,),
            summary="Each replica's demand and use of the shared allowance.",
        ),
        Topic(
            name=names.replays, owner="ops", key="plan id", partitions=1, retention=None,
            writers=("ops",), readers=("ops",),
            compacted=True, max_message_bytes=4 * _MIB, events=(REPLAY_TYPE,),
            summary="Replay plans and their state.",
        ),
    ]  # fmt: skip
    return tuple(rows)


CATALOGUE: Final = catalogue()
