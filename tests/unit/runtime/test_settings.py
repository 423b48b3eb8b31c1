"""Settings from the environment, and what is said about wrong ones."""

from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.settings import (
    Block,
    Environment,
    KafkaSettings,
    Settings,
    SettingsError,
    read,
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory without .env."""
    monkeypatch.chdir(tmp_path)


class Waiting(Block):
    """A block with durations."""

    wait: timedelta = timedelta(seconds=1)
    at_most: timedelta | None = None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("5", 5), ("0.25", 0.25), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200),
     ("1d", 86400), ("PT1M30S", 90), ("00:01:30", 90)],
)  # fmt: skip
def test_durations_are_written_as_people_do(written: str, seconds: float) -> None:
    """Seconds, units, ISO 8601 and clock time are all read."""
    both = Waiting.model_validate({"wait": written, "at_most": written})

    assert timedelta(seconds=seconds) == both.wait
    assert timedelta(seconds=seconds) == both.at_most


def test_nested_fields_come_from_double_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    """`KAFKA__TOPIC_PREFIX` is the field `topic_prefix` of the block `kafka`."""
    monkeypatch.setenv("KAFKA__TOPIC_PREFIX", "it-1.")
    monkeypatch.setenv("ENVIRONMENT", "staging")
    settings = read(Settings)

    assert settings.kafka.topic_prefix == "it-1."
    assert settings.environment is Environment.STAGING
    assert settings.secret_name == "sluice/staging/anthropic-api-key"


def test_a_misspelt_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown field of a known block is an error that names the variable."""
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVER", "x:1")

    with pytest.raises(SettingsError, match="KAFKA__BOOTSTRAP_SERVER: Extra inputs"):
        read(Settings)


def test_a_wrong_value_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a wrong variable names it and does not show what it holds."""
    monkeypatch.setenv("KAFKA__SECURITY_PROTOCOL", "hunter2")
    monkeypatch.setenv("KAFKA__SASL_PASSWORD", "hunter3")

    with pytest.raises(SettingsError, match="KAFKA__SECURITY_PROTOCOL") as caught:
        read(Settings)
    assert "hunter" not in str(caught.value)


def test_authentication_needs_all_its_parts() -> None:
    """A SASL protocol without user and password names the variables that are missing."""
    with pytest.raises(ValueError, match="KAFKA__SASL_USERNAME, KAFKA__SASL_PASSWORD"):
        KafkaSettings.model_validate({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"})


def test_settings_do_not_print_secrets() -> None:
    """A password and a key mask themselves in a settings object's representation."""
    settings = Settings.model_validate(
        {"kafka": {"sasl_password": "hunter2"}, "secrets": {"api_key": "sk-ant-hunter3"}}
    )

    assert "hunter" not in repr(settings)
    assert "hunter" not in settings.model_dump_json()


def test_settings_are_frozen() -> None:
    """A setting cannot be changed after it was read."""
    settings = Settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.kafka.topic_prefix = "other."  # type: ignore[misc]
