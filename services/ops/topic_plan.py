"""What must change for a cluster to hold the catalogue's topics: values in, values out, no client.

A plan never shrinks and never deletes. What it only reports, a person decides.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sluice_contracts.topics import Topic

_OFTEN_ENOUGH: Final = 3
_COMPACTED_SEGMENT_MS: Final = "600000"
"""Kafka compacts closed segments only, and by default closes one after a week."""


class Kind(StrEnum):
    """How a cluster differs from the catalogue."""

    MISSING = "missing"
    PARTITIONS = "partitions"
    SETTING = "setting"
    TOO_MANY_PARTITIONS = "too_many_partitions"
    REPLICATION = "replication"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it."""

    partitions: int
    replication: int
    settings: Mapping[str, str]
    """Every setting in effect, whoever set it."""
    own: Mapping[str, str] = field(default_factory=dict)
    """The settings that were made for this topic; writing one means writing them all."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What `plan` needs to know of a cluster."""

    brokers: int
    topics: Mapping[str, TopicState]

    @property
    def replication(self) -> int:
        """How often a new topic is kept: three times, or as often as there are brokers."""
        return min(_OFTEN_ENOUGH, self.brokers)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the cluster differs from the catalogue."""

    kind: Kind
    topic: str
    what: str
    current: str | None
    wanted: str | None
    note: str = ""

    @property
    def is_applicable(self) -> bool:
        """True for what `apply` puts right; the others are reported only."""
        return self.kind in (Kind.MISSING, Kind.PARTITIONS, Kind.SETTING)


def settings_of(topic: Topic, replication: int) -> dict[str, str]:
    """Return the settings that the catalogue wants for a topic kept `replication` times."""
    settings = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "max.message.bytes": str(topic.max_message_bytes),
        "message.timestamp.type": topic.timestamps,
        # One replica may be away without stopping writes, and no write rests on one replica alone.
        "min.insync.replicas": str(2 if replication >= _OFTEN_ENOUGH else 1),
    }
    if topic.compacted:
        settings["segment.ms"] = _COMPACTED_SEGMENT_MS
    if topic.retention is not None:
        settings["retention.ms"] = str(int(topic.retention.total_seconds() * 1000))
    return settings


def plan(
    catalogue: Iterable[Topic], cluster: ClusterState, *, prefix: str = ""
) -> list[Difference]:
    """List the differences in the order in which they are safe to apply.

    Topics that outcomes go to come before the topics that requests arrive on: a request on
    partition 9 must find partition 9 of the results.
    """
    rows = sorted(catalogue, key=lambda topic: topic.owner == "upstream")
    found = [difference for topic in rows for difference in _compare(topic, cluster)]
    return found + list(_unknown({topic.name for topic in rows}, cluster, prefix))


def _compare(topic: Topic, cluster: ClusterState) -> Iterator[Difference]:
    state = cluster.topics.get(topic.name)
    if state is None:
        wanted = f"{topic.partitions} partitions, {cluster.replication} replicas"
        yield Difference(Kind.MISSING, topic.name, "topic", None, wanted)
        return
    if state.partitions != topic.partitions:
        yield _partitions(topic, state)
    if state.replication < cluster.replication:
        yield Difference(
            Kind.REPLICATION, topic.name, "replicas",
            str(state.replication), str(cluster.replication),
            "not changed here: move it with Kafka's kafka-reassign-partitions",
        )  # fmt: skip
    for name, wanted in settings_of(topic, state.replication).items():
        current = state.settings.get(name)
        if current != wanted:
            yield Difference(Kind.SETTING, topic.name, name, current, wanted, _loss(name))


def _partitions(topic: Topic, state: TopicState) -> Difference:
    current, wanted = str(state.partitions), str(topic.partitions)
    if state.partitions > topic.partitions:
        return Difference(
            Kind.TOO_MANY_PARTITIONS, topic.name, "partitions", current, wanted,
            f"never shrunk; grow the others to it with --partitions {current}",
        )  # fmt: skip
    return Difference(
        Kind.PARTITIONS, topic.name, "partitions", current, wanted,
        "breaks order by key once: a key's new records may go to another partition while its old "
        "ones still wait; let the backlog run empty first",
    )  # fmt: skip


def _loss(setting: str) -> str:
    return "records past it are removed soon after" if setting == "retention.ms" else ""


def _unknown(known: set[str], cluster: ClusterState, prefix: str) -> Iterator[Difference]:
    for name in sorted(cluster.topics):
        if name.startswith(f"{prefix}claude.") and name not in known:
            yield Difference(
                Kind.UNKNOWN, name, "topic", f"{cluster.topics[name].partitions} partitions", None,
                "not in the catalogue; never deleted here",
            )  # fmt: skip


def wanted_topics(catalogue: Iterable[Topic], differences: Iterable[Difference]) -> list[Topic]:
    """Pick the topics to create, in the order of the plan."""
    rows = {topic.name: topic for topic in catalogue}
    return [rows[each.topic] for each in differences if each.kind is Kind.MISSING]


def merged_settings(
    state: TopicState, topic: str, differences: Iterable[Difference]
) -> dict[str, str]:
    """Return all settings to write for a topic, those that others made for it included.

    The client knows only the request that replaces a topic's settings as a whole.
    """
    changed = {
        each.what: each.wanted
        for each in differences
        if each.topic == topic and each.kind is Kind.SETTING and each.wanted is not None
    }
    return {**state.own, **changed}
