"""What every topic, event, example and public name owes to those who depend on it."""

import ast
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

import sluice_contracts
from sluice_contracts import (
    CATALOGUE,
    FailureCode,
    RetryDelay,
    Tier,
    TopicNames,
    catalogue,
    decode,
    decode_audit,
    encode,
)
from sluice_contracts.codec import TYPES
from sluice_contracts.headers import CE_TYPE, MEANINGS, OURS
from sluice_contracts.schemas import MODELS, event_schema
from sluice_contracts.topics import INTERNAL_TYPES, REQUEST_RETENTION

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples"
FILES = sorted(EXAMPLES.glob("*/*.json"))
TOPIC = re.compile(r"claude\.[a-z-]+(\.(haiku|sonnet|opus|\d+m))?\.v\d+")
EVENT = re.compile(r"claude\.[a-z]+\.[a-z]+\.v\d+")


def test_every_topic_says_what_it_owes() -> None:
    """Each topic has an owner among its writers, readers, a retention and a sentence."""
    for topic in CATALOGUE:
        assert topic.owner in topic.writers, topic.name
        assert topic.readers, topic.name
        assert (topic.retention is None) == topic.compacted, topic.name
        assert topic.summary.endswith("."), topic.name
        assert topic.partitions > 0, topic.name


def test_names_follow_the_rule() -> None:
    """Topics and types use dots and hyphens, end in the major version, and are unique."""
    names = [topic.name for topic in CATALOGUE]
    assert [] == [name for name in names if not TOPIC.fullmatch(name)]
    assert len(names) == len(set(names))
    assert [] == [name for name in (*MODELS, *INTERNAL_TYPES) if not EVENT.fullmatch(name)]


def test_a_prefix_changes_names_only() -> None:
    """Two systems on one cluster differ in nothing but their topics' prefix."""
    renamed = [
        topic.model_copy(update={"name": topic.name.removeprefix("it-1.")})
        for topic in catalogue("it-1.")
    ]
    assert list(CATALOGUE) == renamed


def test_topics_of_a_tier_and_retries_share_a_number_of_partitions() -> None:
    """An outcome, and a request that rests, land on the partition number of the request."""
    names = TopicNames()
    rows = {topic.name: topic.partitions for topic in catalogue(partitions=5)}
    for tier in Tier:
        for name in (names.requests(tier), names.results(tier), names.dead_letters(tier)):
            assert 5 == rows[name]
            assert tier == names.tier(name)
    assert {5} == {rows[names.retries(delay)] for delay in RetryDelay}
    assert names.tier(names.audit) is None


def test_a_cancellation_is_kept_as_long_as_what_it_cancels() -> None:
    """What waits over a long weekend is found cancelled when its turn comes."""
    rows = {topic.name: topic.retention for topic in CATALOGUE}
    names = TopicNames()
    longest = max(rows[names.requests(tier)] or timedelta.max for tier in Tier)
    kept = rows[names.cancellations]
    assert kept is not None
    assert REQUEST_RETENTION == longest <= kept


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [(0.001, "1m"), (60, "1m"), (134, "1m"), (135, "5m"), (734, "5m"), (735, "30m"), (1e6, "30m")],
)
def test_the_nearest_delay_differs_by_the_smallest_factor(seconds: float, delay: str) -> None:
    """Twice as long is as far as half as long."""
    assert delay == RetryDelay.nearest(timedelta(seconds=seconds))


def test_what_carries_a_request_holds_more_than_it() -> None:
    """A request of the largest size fits, with headers, wherever it is carried."""
    rows = {topic.name: topic for topic in CATALOGUE}
    names = TopicNames()
    carriers = [names.dead_letters(tier) for tier in Tier] + [names.retries(d) for d in RetryDelay]
    largest = max(rows[names.requests(tier)].max_message_bytes for tier in Tier)
    assert all(rows[name].max_message_bytes > largest for name in carriers)


def test_retries_are_kept_far_longer_than_they_rest() -> None:
    """A relay that was away for hours loses nothing."""
    rows = {topic.name: topic for topic in CATALOGUE}
    for delay in RetryDelay:
        retention = rows[TopicNames().retries(delay)].retention
        assert retention is not None
        assert retention >= 4 * max(delay.duration for delay in RetryDelay)


def test_no_schema_is_an_orphan() -> None:
    """Every event travels on some topic, and every topic's events are known."""
    carried = {event for topic in CATALOGUE for event in topic.events}
    assert carried == MODELS.keys() | INTERNAL_TYPES


def test_every_event_has_its_examples() -> None:
    """Each event has a minimal and a full example, and no other folder is there."""
    expected = {(name, f"{size}.json") for name in MODELS for size in ("full", "minimal")}
    assert expected == {(path.parent.name, path.name) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_examples_are_true(path: Path) -> None:
    """An example decodes, validates against the schema, and is shown as it would be written."""
    name = path.parent.name
    value = path.read_bytes()
    read = decode if name in TYPES else decode_audit
    event = read(value, ((CE_TYPE, name.encode()),))
    assert MODELS[name] is type(event)
    shown = json.loads(value)
    jsonschema.Draft202012Validator(event_schema(name)).validate(shown)
    assert shown == json.loads(event.model_dump_json(exclude_unset=True))
    written = encode(event, source="/test", time=datetime(2026, 1, 31, tzinfo=UTC))
    assert event == read(written.value, written.headers)


@pytest.mark.parametrize("name", MODELS)
def test_full_examples_are_full(name: str) -> None:
    """A full example shows every field; a request cannot, since prompt and system exclude."""
    shown = json.loads((EXAMPLES / name / "full.json").read_bytes()).keys()
    hidden = {"prompt", "variables"} if "messages" in shown else set()
    assert MODELS[name].model_fields.keys() - hidden == shown


def test_the_package_needs_pydantic_and_nothing_else() -> None:
    """Other teams install it beside whatever they have."""
    package = Path(sluice_contracts.__file__ or "").parent
    imported = {
        name.partition(".")[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [n.name for n in node.names]
        )
    }
    assert {"pydantic", "sluice_contracts"} == imported - sys.stdlib_module_names


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` is sorted (constants, classes, functions) without doubles, and each name exists."""
    names = sluice_contracts.__all__
    assert sorted(set(names), key=lambda name: (not name.isupper(), name)) == names
    assert [] == [name for name in names if not hasattr(sluice_contracts, name)]


def test_failure_codes_have_meanings() -> None:
    """Each code is a word of its own with one sentence about it."""
    assert all(code.meaning.endswith(".") for code in FailureCode)
    assert len(FailureCode) == len({code.meaning for code in FailureCode})
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in FailureCode)
    assert FailureCode.REFUSED is FailureCode("refused")


def test_header_names_are_those_of_their_kind() -> None:
    """Ours begin with x-; all are lower case and have a meaning."""
    assert all(name.startswith("x-") and name.islower() for name in OURS)
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())
