"""What is generated is committed, says what the code says, and nothing is left over."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sluice_contracts.generate import files, main, write
from sluice_contracts.schemas import MODELS, event_schemas

CONTRACTS = Path(__file__).parents[2] / "contracts"


def test_committed_files_are_current() -> None:
    """`make generate` would change nothing."""
    assert [] == write(CONTRACTS, files(), generated="schemas/*.json", check=True)


def test_drift_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stale, a missing and an orphaned file are named with --check, and mended without."""
    assert 0 == main([str(tmp_path)])
    stale, missing = sorted(tmp_path.glob("schemas/*.json"))[:2]
    stale.write_text("{}")
    missing.unlink()
    orphan = tmp_path / "schemas" / "claude.completion.forgotten.v1.json"
    orphan.write_text("{}")
    capsys.readouterr()
    assert 1 == main([str(tmp_path), "--check"])
    named = {line.split(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert {f"schemas/{path.name}" for path in (stale, missing, orphan)} == named
    assert 0 == main([str(tmp_path)])
    assert 0 == main([str(tmp_path), "--check"])
    assert not orphan.exists()


def test_schemas_are_schemas() -> None:
    """Every schema is a valid JSON Schema of its dialect, and has its event's name."""
    for name, schema in event_schemas().items():
        Draft202012Validator.check_schema(schema)
        assert f"urn:sluice:{name}" == schema["$id"]
        assert MODELS[name].__name__ == schema["title"]


def test_every_field_is_described() -> None:
    """No field reaches other teams without a sentence about it."""
    bare = [
        f"{name}: {schema['title']}.{field}"
        for name, root in event_schemas().items()
        for schema in (root, *root.get("$defs", {}).values())
        for field, described in schema.get("properties", {}).items()
        if "description" not in described
    ]
    assert [] == bare
