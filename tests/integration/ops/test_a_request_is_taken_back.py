"""A person cancels requests."""

import json

import pytest

from services.runtime.settings import KafkaSettings
from sluice_contracts import CancellationRequested, TopicNames, decode
from sluice_contracts import headers as h
from sluice_contracts.topics import ACTION_AUDITED_TYPE
from tests.integration.ops.conftest import Command, read_all

pytestmark = pytest.mark.kafka


async def test_who_and_why_are_on_record(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """Each request is asked for once, and the audit topic says who did it and why."""
    ended = await sluice(
        "cancel", "r-1", "r-2", "r-1", "--reason", "wrong customer", "--by", "ada", "--json"
    )
    asked = await read_all(kafka_settings, [topics.cancellations])
    audited = await read_all(kafka_settings, [topics.audit])

    assert ended.code == 0, ended.err
    assert ["r-1", "r-2"] == json.loads(ended.out)["requested"]
    assert [
        CancellationRequested(request_id=one, reason="wrong customer", requested_by="ada")
        for one in ("r-1", "r-2")
    ] == [decode(record.value, record.headers) for record in asked]
    assert {ACTION_AUDITED_TYPE} == {h.find(record.headers, h.CE_TYPE) for record in audited}
    assert {("r-1", "ada", "wrong customer"), ("r-2", "ada", "wrong customer")} == {
        (row["subject"], row["who"], row["why"])
        for row in (json.loads(record.value) for record in audited)
    }


async def test_a_reason_is_required(sluice: Command) -> None:
    """Without a reason nothing is cancelled."""
    ended = await sluice("cancel", "r-1")

    assert ended.code == 2
    assert "--reason" in ended.err
