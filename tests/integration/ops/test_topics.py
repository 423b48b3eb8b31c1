"""The catalogue's topics on a real broker."""

import asyncio

import pytest

from services.ops.cluster import Cluster
from services.ops.topic_plan import Kind, plan
from services.runtime.settings import KafkaSettings
from sluice_contracts.topics import Tier, TopicNames, catalogue
from tests.conftest import Broker

pytestmark = pytest.mark.kafka


async def test_when_applied_nothing_differs(kafka: Broker, topics: TopicNames) -> None:
    """What apply made, plan finds in order; growing and configuring keep what others had set."""
    rows = catalogue(topics.prefix, partitions=3)
    async with Cluster.open(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)) as cluster:
        state = await cluster.state()
        differences = plan(rows, state, prefix=topics.prefix)
        assert {Kind.PARTITIONS} == {each.kind for each in differences}
        await cluster.apply(rows, state, differences)
        assert [] == plan(rows, await cluster.state(), prefix=topics.prefix)


async def test_when_a_setting_was_changed_the_others_stay(
    kafka: Broker, topics: TopicNames
) -> None:
    """Apply writes back the catalogue's value and keeps a setting that somebody else made."""
    rows = catalogue(topics.prefix, partitions=2)
    name = topics.results(Tier.HAIKU)
    async with Cluster.open(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)) as cluster:
        own = dict((await cluster.state()).topics[name].own)
        await cluster._configure(name, {**own, "retention.ms": "5", "segment.bytes": "1048576"})
        while (state := await cluster.state()).topics[name].own == own:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        differences = [d for d in plan(rows, state) if d.topic == name]
        assert [("retention.ms", "5")] == [(d.what, d.current) for d in differences]
        await cluster.apply(rows, state, differences)
        assert {**own, "segment.bytes": "1048576"} == (await cluster.state()).topics[name].own
