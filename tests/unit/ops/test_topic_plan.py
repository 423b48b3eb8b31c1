"""The difference between a catalogue and a cluster."""

from datetime import timedelta
from typing import Any

import pytest

from services.ops.topic_plan import (
    ClusterState,
    Difference,
    Kind,
    TopicState,
    merged_settings,
    plan,
    settings_of,
    wanted_topics,
)
from sluice_contracts.topics import CATALOGUE, Topic


def _cluster(*topics: Topic, brokers: int = 1) -> ClusterState:
    replication = min(3, brokers)
    return ClusterState(
        brokers,
        {
            topic.name: TopicState(topic.partitions, replication, settings_of(topic, replication))
            for topic in topics
        },
    )


def _topic(name: str = "claude.things.v1", **changes: Any) -> Topic:
    plain = Topic(
        name=name, owner="worker", key="id", partitions=8, retention=timedelta(days=7),
        events=("claude.thing.done.v1",), summary="Things.",
    )  # fmt: skip
    return plain.model_copy(update=changes)


@pytest.mark.parametrize("brokers", [1, 3, 5])
def test_a_cluster_made_from_the_catalogue_does_not_differ(brokers: int) -> None:
    """What apply would make is what plan wants, on any number of brokers."""
    assert [] == plan(CATALOGUE, _cluster(*CATALOGUE, brokers=brokers))


def test_an_empty_cluster_misses_everything_and_requests_come_last() -> None:
    """Whoever can publish a request finds the topics that its outcome needs."""
    differences = plan(CATALOGUE, _cluster())
    assert {Kind.MISSING} == {each.kind for each in differences}
    assert {topic.name for topic in CATALOGUE} == {each.topic for each in differences}
    upstream = {topic.name for topic in CATALOGUE if topic.owner == "upstream"}
    assert upstream == {each.topic for each in differences[-len(upstream) :]}
    assert [d.topic for d in differences] == [
        topic.name for topic in wanted_topics(CATALOGUE, differences)
    ]


def test_growing_warns_that_order_by_key_breaks() -> None:
    """A topic with too few partitions is grown, with its price in the note."""
    (found,) = plan([_topic(partitions=12)], _cluster(_topic()))
    assert (Kind.PARTITIONS, "8", "12", True) == (
        found.kind,
        found.current,
        found.wanted,
        found.is_applicable,
    )
    assert "breaks order by key" in found.note


def test_a_topic_is_never_shrunk() -> None:
    """Too many partitions are reported with the way out, and not applied."""
    (found,) = plan([_topic(partitions=4)], _cluster(_topic()))
    assert (Kind.TOO_MANY_PARTITIONS, False) == (found.kind, found.is_applicable)
    assert "--partitions 8" in found.note


def test_a_topic_that_nobody_planned_is_reported_and_kept() -> None:
    """Only names of this system count, and only those under the prefix."""
    cluster = _cluster(
        _topic(), _topic("claude.old.v1"), _topic("orders.v1"), _topic("it-1.claude.old.v1")
    )
    (found,) = plan([_topic()], cluster)
    assert (Kind.UNKNOWN, "claude.old.v1", False) == (found.kind, found.topic, found.is_applicable)
    (prefixed,) = plan([], cluster, prefix="it-1.")
    assert "it-1.claude.old.v1" == prefixed.topic


@pytest.mark.parametrize(
    ("changes", "setting", "wanted"),
    [
        ({"retention": timedelta(days=1)}, "retention.ms", "86400000"),
        ({"max_message_bytes": 5}, "max.message.bytes", "5"),
        ({"timestamps": "LogAppendTime"}, "message.timestamp.type", "LogAppendTime"),
    ],
)
def test_a_wrong_setting_is_found(changes: dict[str, Any], setting: str, wanted: str) -> None:
    """Each setting that the catalogue has an opinion on is compared."""
    (found,) = plan([_topic(**changes)], _cluster(_topic()))
    assert (Kind.SETTING, setting, wanted) == (found.kind, found.what, found.wanted)


def test_a_compacted_topic_closes_its_segments_soon() -> None:
    """Kafka compacts closed segments only; a week-old one would make every reader read a week."""
    compacted = _topic(retention=None, compacted=True)
    differences = plan([compacted], _cluster(_topic()))
    assert {"cleanup.policy": "compact", "segment.ms": "600000"} == {
        each.what: each.wanted for each in differences
    }


def test_too_few_replicas_are_left_to_a_person() -> None:
    """A topic with one replica on three brokers stays writable: its min.insync.replicas stays 1."""
    grown = ClusterState(3, _cluster(_topic()).topics)
    (found,) = plan([_topic()], grown)
    assert (Kind.REPLICATION, "1", "3", False) == (
        found.kind,
        found.current,
        found.wanted,
        found.is_applicable,
    )


def test_settings_that_others_made_are_written_back() -> None:
    """The request replaces all settings of a topic, so the others go along."""
    state = TopicState(8, 1, settings={}, own={"retention.ms": "5", "segment.bytes": "1048576"})
    differences = [
        Difference(Kind.SETTING, "a", "retention.ms", "5", "7"),
        Difference(Kind.SETTING, "b", "retention.ms", "5", "9"),
        Difference(Kind.PARTITIONS, "a", "partitions", "1", "2"),
    ]
    assert {"retention.ms": "7", "segment.bytes": "1048576"} == merged_settings(
        state, "a", differences
    )
