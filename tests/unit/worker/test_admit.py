"""May this request be served at all."""

from datetime import timedelta
from typing import Any

import pytest

from services.worker.admit import Arrival, admit, check_age
from services.worker.errors import PermanentError
from services.worker.schemas import OutputSchema
from services.worker.settings import AdmitSettings
from sluice_contracts import CompletionRequested
from sluice_contracts import FailureCode as F
from tests.unit.worker.conftest import NOW

RULES = AdmitSettings(
    reply_to=frozenset({"team.answers.v1"}),
    tools=frozenset({"search"}),
    max_age=timedelta(hours=1),
    max_request_bytes=100,
    max_schema_bytes=200,
)


def _admit(*, age: float = 0, size: int = 10, **asked: Any) -> OutputSchema | None:
    request = CompletionRequested.model_validate({"request_id": "r", "prompt": "p", **asked})
    arrival = Arrival(now=NOW, published=NOW - timedelta(seconds=age), size=size)
    check_age(request, arrival, RULES)
    return admit(request, arrival, RULES)


def test_what_is_allowed_passes() -> None:
    """A topic on the list, a deadline ahead."""
    _admit(reply_to="team.answers.v1", deadline=NOW + timedelta(seconds=1), size=100)


def test_a_schema_of_its_own_is_compiled_once() -> None:
    """The same text gives the same object."""
    assert _admit() is None
    first = _admit(output_schema={"type": "object"})
    assert first is not None
    assert first is _admit(output_schema={"type": "object"})


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"deadline": NOW}, F.DEADLINE_PASSED),
        ({"age": 3601}, F.DEADLINE_PASSED),
        ({"size": 101}, F.REQUEST_TOO_LARGE),
        ({"reply_to": "claude.audit.v1"}, F.NOT_AUTHORISED),
        ({"tools": ["search", "shell"]}, F.NOT_AUTHORISED),
        ({"tools": ["search"]}, F.TOOL_FAILED),
        ({"output_schema": {"type": "strin"}}, F.INVALID_EVENT),
        ({"output_schema": {"description": "x" * 200}}, F.INVALID_EVENT),
    ],
)
def test_what_is_not_fails_before_anything_is_spent(asked: dict[str, Any], code: F) -> None:
    """Each with its own code."""
    with pytest.raises(PermanentError) as caught:
        _admit(**asked)
    assert code == caught.value.code


@pytest.mark.parametrize("asked", [{"reply_to": "hush"}, {"tools": ["hush"]}])
def test_the_callers_words_are_kept_apart(asked: dict[str, Any]) -> None:
    """A name may be content that lost its way; only people who may see the content see it."""
    with pytest.raises(PermanentError) as caught:
        _admit(**asked)
    assert (False, "'hush'") == ("hush" in caught.value.detail, caught.value.quoted)
