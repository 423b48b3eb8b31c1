"""How a failing command speaks."""

import pytest
from aiokafka.errors import KafkaConnectionError

from services.ops.failure import CommandFailed
from services.runtime.failure import explain
from services.runtime.vault import SecretsUnavailable


@pytest.mark.parametrize(
    "error", [CommandFailed("do this"), SecretsUnavailable("do this"), OSError("do this")]
)
def test_errors_that_were_written_for_people_are_said_as_they_are(error: Exception) -> None:
    """Our own errors and the operating system's are one line."""
    assert explain(error) == "do this"


def test_kafkas_errors_get_a_remedy() -> None:
    """An error of Kafka's client says what to check."""
    said = explain(KafkaConnectionError("Unable to bootstrap"))

    assert said is not None
    assert "Unable to bootstrap" in said
    assert "KAFKA__BOOTSTRAP_SERVERS" in said


def test_a_group_is_explained_by_its_parts() -> None:
    """A group of explained errors is one line, each said once; one fault makes it a fault."""
    same = [CommandFailed("do this"), CommandFailed("do this"), OSError("or that")]

    assert explain(ExceptionGroup("g", same)) == "do this; or that"
    assert explain(ExceptionGroup("g", [*same, KeyError("x")])) is None


def test_faults_are_not_explained_away() -> None:
    """A fault of ours keeps its traceback."""
    assert explain(KeyError("x")) is None
