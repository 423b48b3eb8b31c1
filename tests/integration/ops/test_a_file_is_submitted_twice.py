"""A file of requests is submitted, submitted again, and refused when a row is bad."""

import csv
import json
from pathlib import Path

import pytest

from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames, decode_request
from sluice_contracts import headers as h
from tests.integration.ops.conftest import Command, read_all

pytestmark = pytest.mark.kafka
COUNT = 500


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """A table of tickets."""
    path = tmp_path / "tickets.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["number", "body", "customer"])
        table.writerows([n, f'ticket "{n}",\nover two lines', f"c{n % 3}"] for n in range(COUNT))
    return path


async def test_it_makes_the_same_requests(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames, tickets: Path
) -> None:
    """Twice the file is twice the records and once the ids, each a valid request under its key."""
    arguments = (
        "submit", str(tickets), "--tier", "haiku", "--prompt", "ticket-triage",
        "--map", "text=body", "--field", "tenant=customer", "--priority", "bulk", "--json",
    )  # fmt: skip
    first, second = await sluice(*arguments), await sluice(*arguments)
    assert (0, 0) == (first.code, second.code), first.err + second.err
    assert json.loads(second.out)["submitted"] == COUNT

    records = await read_all(kafka_settings, [topics.requests(Tier.HAIKU)])
    requests = [decode_request(record.value, record.headers) for record in records]
    assert 2 * COUNT == len(requests)
    assert COUNT == len({request.request_id for request in requests})
    assert {"c0", "c1", "c2"} == {request.tenant for request in requests}
    assert {'ticket "7",\nover two lines'} == {
        request.variables["text"] for request in requests if "7" in request.variables["text"][:10]
        and '"7"' in request.variables["text"]
    }  # fmt: skip
    for record, request in zip(records, requests, strict=True):
        assert request.request_id.encode() == record.key
        assert request.request_id == h.find(record.headers, h.REQUEST_ID)


async def test_a_bad_row_sends_nothing(
    sluice: Command, kafka_settings: KafkaSettings, topics: TopicNames, tmp_path: Path
) -> None:
    """Two rows of a file are bad: the error names both, and no request was sent."""
    path = tmp_path / "requests.jsonl"
    rows = [{"messages": [{"role": "user", "content": f"q{n}"}]} for n in range(50)]
    path.write_text(
        "\n".join(map(json.dumps, [*rows, {"messages": "no list"}, {"prompt": "no-such"}]))
    )
    ended = await sluice("submit", str(path), "--tier", "opus")

    assert ended.code == 1
    assert "nothing was sent, 2 of 52 rows are bad" in ended.err
    assert "row 51: messages" in ended.err
    assert "row 52: there is no prompt 'no-such'" in ended.err
    assert "Traceback" not in ended.err
    assert [] == await read_all(kafka_settings, [topics.requests(Tier.OPUS)])


async def test_a_missing_topic_is_explained(sluice: Command) -> None:
    """Without topics the remedy is `sluice topics apply`."""
    ended = await sluice(
        "submit", "--tier", "haiku", "--message", "m", environ={"KAFKA__TOPIC_PREFIX": "no-such."}
    )

    assert ended.code == 1
    assert "no-such.claude.requests.haiku.v1" in ended.err
    assert "sluice topics apply" in ended.err
