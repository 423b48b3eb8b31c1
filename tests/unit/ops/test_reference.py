"""The generated reference is committed, and the AsyncAPI document is whole."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from faststream.kafka import KafkaBroker

from services.ops.reference.__main__ import files, main
from services.ops.reference.asyncapi import asyncapi, described
from sluice_contracts import CATALOGUE, FailureCode
from sluice_contracts.generate import write
from sluice_contracts.headers import OURS
from sluice_contracts.topics import INTERNAL_TYPES

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The AsyncAPI document as its readers load it."""
    loaded: dict[str, Any] = yaml.safe_load(asyncapi())
    return loaded


def references(node: Any) -> set[str]:
    """Collect every `$ref` below a node."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if isinstance(node, dict):
        here = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return here.union(*map(references, node.values()))
    return set()


def test_committed_pages_are_current() -> None:
    """`make generate` would change nothing."""
    assert [] == write(REFERENCE, files(), generated="asyncapi.*", check=True)


def test_drift_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing page is named with --check, and written without."""
    assert 1 == main([str(tmp_path), "--check"])
    assert "docs/reference/topics.md: stale; run make generate" in capsys.readouterr().out
    assert 0 == main([str(tmp_path)])
    assert 0 == main([str(tmp_path), "--check"])


def test_every_topic_is_a_channel(document: dict[str, Any]) -> None:
    """Each topic of the catalogue is there with its partitions, configuration and messages."""
    assert [topic.name for topic in CATALOGUE] == list(document["channels"])
    for topic in CATALOGUE:
        channel = document["channels"][topic.name]
        binding = channel["bindings"]["kafka"]
        assert list(topic.events) == list(channel["messages"])
        assert topic.partitions == binding["partitions"]
        assert "0.5.0" == binding["bindingVersion"]
        policy = ["compact"] if topic.compacted else ["delete"]
        assert policy == binding["topicConfiguration"]["cleanup.policy"]


def test_every_room_has_its_operations(document: dict[str, Any]) -> None:
    """Each topic that a room reads or writes is an operation of it, and nothing else is one."""
    rooms = {"worker", "relay", "ops"}
    expected = {
        f"{room}.{verb}.{topic.name}"
        for topic in CATALOGUE
        for verb, names in (("receives", topic.readers), ("sends", topic.writers))
        for room in rooms.intersection(names)
    }
    assert expected == document["operations"].keys()
    worker = document["operations"]["worker.receives.claude.requests.haiku.v1"]
    assert "receive" == worker["action"]
    assert "sluice-worker" == worker["bindings"]["kafka"]["groupId"]["const"]


def test_every_message_is_whole(document: dict[str, Any]) -> None:
    """A message has a key, our headers, and where it is public a payload with examples."""
    for name, message in document["components"]["messages"].items():
        assert message["bindings"]["kafka"]["key"]["description"]
        assert OURS <= message["headers"]["properties"].keys()
        if name not in INTERNAL_TYPES:
            assert ["minimal", "full"] == [example["name"] for example in message["examples"]]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """No `$ref` of the document dangles."""
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


def test_faststream_writes_what_we_complete() -> None:
    """FastStream still writes a channel and an operation for each handler, keyed by its title."""
    broker = KafkaBroker("localhost:9092")
    broker.publisher("some.topic", title="a.title", schema=dict)
    written = described(broker)
    assert "some.topic" == written["channels"]["a.title"]["address"]
    assert "send" == written["operations"]["a.title"]["action"]
    assert "3.1.0" == written["asyncapi"]


def test_pages_name_everything() -> None:
    """Every topic, code and header is on its page."""
    pages = files()
    assert all(f"`{topic.name}`" in pages["topics.md"] for topic in CATALOGUE)
    assert all(f"`{code}`" in pages["failure-codes.md"] for code in FailureCode)
    assert all(f"`{name}`" in pages["headers.md"] for name in OURS)
