"""A person on call looks at what failed."""

import json

import pytest

from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames
from tests.integration.ops.conftest import Command
from tests.integration.ops.letters import write_letters

pytestmark = pytest.mark.kafka


async def test_they_are_counted_listed_and_shown(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Counts by cause and tier, the newest of one cause, and all about one of them."""
    await write_letters(kafka_settings, topics, 20)
    await write_letters(kafka_settings, topics, 3, tier=Tier.OPUS)

    counted = json.loads((await sluice("dead-letters", "stats", "--json")).out)
    listed = await sluice("dead-letters", "list", "--code", "refused", "--tier", "opus", "--json")
    shown = json.loads((await sluice("dead-letters", "show", "haiku/1/1", "--json")).out)

    assert {("refused", "haiku", 10), ("timed_out", "haiku", 10), ("refused", "opus", 2),
            ("timed_out", "opus", 1)} == {
        (row["code"], row["tier"], row["count"]) for row in counted["rows"]
    }  # fmt: skip
    rows = [json.loads(line) for line in listed.out.splitlines()]
    assert ["r0", "r2"] == sorted(row["request_id"] for row in rows)
    assert ("r3", "timed_out", {"n": 3}) == (
        shown["request_id"],
        shown["code"],
        json.loads(shown["body"])["variables"],
    )


async def test_a_reason_that_was_counted_is_a_filter(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """What `stats --by reason` says is what `--reason` takes, one or several."""
    await write_letters(kafka_settings, topics, 6)

    by_reason = ("dead-letters", "stats", "--by", "reason", "--json")
    rows = json.loads((await sluice(*by_reason)).out)["rows"]
    reasons = [row["reason"] for row in rows]
    one = await sluice("dead-letters", "list", "--reason", reasons[0], "--json")
    both = await sluice(*by_reason, "--reason", reasons[0], "--reason", reasons[1])

    assert {("refused: detail …", 3), ("timed_out: detail …", 3)} == {
        (row["reason"], row["count"]) for row in rows
    }
    assert [reasons[0]] * 3 == [json.loads(line)["reason"] for line in one.out.splitlines()]
    assert 6 == json.loads(both.out)["total"]


async def test_what_is_not_there_is_told(sluice: Command, topics: TopicNames) -> None:
    """The message says what to type instead."""
    ended = await sluice("dead-letters", "show", "haiku/0/99")

    assert ended.code == 1
    assert "sluice dead-letters list" in ended.err
