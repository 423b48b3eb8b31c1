"""`sluice topics` as a person uses it: plan, apply, plan again."""

import json
import secrets

import pytest
from typer.testing import CliRunner

from services.ops.topics import topics_app
from sluice_contracts.topics import CATALOGUE
from tests.conftest import Broker

pytestmark = pytest.mark.kafka


@pytest.fixture
def prefix(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix under which there are no topics yet."""
    prefix = f"it-{secrets.token_hex(4)}."
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("KAFKA__TOPIC_PREFIX", prefix)
    return prefix


def test_apply_makes_what_plan_showed_and_is_safe_to_repeat(prefix: str) -> None:
    """The check fails before and passes after; a second apply changes nothing."""
    sluice = CliRunner()
    before = sluice.invoke(topics_app, ["plan", "--json", "--check", "--partitions", "2"])
    assert 1 == before.exit_code
    missing = json.loads(before.stdout)
    assert {f"{prefix}{topic.name}" for topic in CATALOGUE} == {row["topic"] for row in missing}
    first = sluice.invoke(topics_app, ["apply", "--partitions", "2"])
    assert (0, f"{len(CATALOGUE)} applied") == (first.exit_code, first.stdout.splitlines()[-1])
    after = sluice.invoke(topics_app, ["plan", "--check", "--partitions", "2"])
    assert (0, "nothing differs") == (after.exit_code, after.stdout.strip())
    again = sluice.invoke(topics_app, ["apply", "--partitions", "2", "--json"])
    assert (0, []) == (again.exit_code, json.loads(again.stdout))


def test_too_many_partitions_are_shown_and_left(prefix: str) -> None:
    """Nothing is shrunk; the way out is named."""
    sluice = CliRunner()
    sluice.invoke(topics_app, ["apply", "--partitions", "2"])
    shown = json.loads(sluice.invoke(topics_app, ["apply", "--json", "--partitions", "1"]).stdout)
    assert {("too_many_partitions", False)} == {(row["kind"], row["applied"]) for row in shown}
    assert "--partitions 2" in shown[0]["note"]
