"""When the jars of Kafka count as fetched, and what is said when they cannot be."""

import json
from pathlib import Path

import pytest

from services.ops.local import distribution
from services.ops.local.distribution import (
    POM,
    KafkaUnavailableError,
    find_java,
    is_complete,
    kafka_jars,
    kafka_version,
)


def _fetched(directory: Path) -> Path:
    directory.mkdir()
    (directory / "broker.jar").write_bytes(b"jar")
    manifest = {"pom": distribution._sha256(POM), "jars": {"broker.jar": [3, "…"]}}
    (directory / "complete.json").write_text(json.dumps(manifest))
    return directory


def test_what_was_fetched_in_full_is_complete(tmp_path: Path) -> None:
    """Every jar of the manifest is there with its size, for this pom."""
    assert is_complete(_fetched(tmp_path / "4"))


def test_an_interrupted_copy_is_not_complete(tmp_path: Path) -> None:
    """The manifest is written last, so jars without it are a copy that was cut short."""
    directory = _fetched(tmp_path / "4")
    (directory / "complete.json").unlink()
    assert not is_complete(directory)


def test_a_jar_that_was_cut_off_is_not_complete(tmp_path: Path) -> None:
    """A wrong size is found."""
    directory = _fetched(tmp_path / "4")
    (directory / "broker.jar").write_bytes(b"")
    assert not is_complete(directory)


def test_a_changed_pom_makes_the_cache_stale(tmp_path: Path) -> None:
    """Another version of a dependency is fetched anew."""
    pom = tmp_path / "pom.xml"
    pom.write_text(POM.read_text().replace("1.7.36", "1.7.35"))
    assert not is_complete(_fetched(tmp_path / "4"), pom)


def test_without_a_checkout_the_message_names_the_way_out(tmp_path: Path) -> None:
    """An installed package has no pom."""
    with pytest.raises(KafkaUnavailableError, match="KAFKA__BOOTSTRAP_SERVERS"):
        kafka_version(tmp_path / "pom.xml")


async def test_a_missing_java_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Debian's and macOS's commands are in the message."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(KafkaUnavailableError, match=r"apt-get install openjdk-17(.|\n)*brew"):
        await find_java()


async def test_a_missing_maven_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Maven is needed once only, when nothing is cached."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaUnavailableError, match=r"Maven.*\n.*apt-get install maven"):
        await kafka_jars(tmp_path)
