"""A request becomes the body of a call."""

from typing import Any

import pytest
from pydantic_core import to_json

from services.worker.library import PromptLibrary
from services.worker.models import ModelFacts
from services.worker.render import Rendered, render
from services.worker.schemas import OutputSchema
from services.worker.settings import ModelSettings
from sluice_contracts import CompletionRequested

LIBRARY = PromptLibrary()
MODEL = ModelSettings(model="claude-haiku-5-5", max_tokens=777)
HI = [{"role": "user", "content": "Hi"}]


def _render(facts: ModelFacts | None = None, **asked: Any) -> Rendered:
    request = CompletionRequested.model_validate({"request_id": "r", **asked})
    brought = request.output_schema
    schema = OutputSchema.compile(to_json(brought)) if brought is not None else None
    return render(request, schema, LIBRARY, MODEL, facts or ModelFacts("claude-haiku-5-5"))


def test_a_library_prompt_comes_first_and_carries_the_cache_mark() -> None:
    """What is unique to the request comes after what is not."""
    made = _render(prompt="ticket-triage", variables={"text": "Where is my card?"}, messages=HI)
    (system,) = made.body["system"]
    assert {"type": "ephemeral"} == system["cache_control"]
    assert system["text"].startswith("# Role\n\nYou are the first reader")
    first, second = made.body["messages"]
    assert ("<text>\nWhere is my card?\n</text>", "Hi") == (
        first["content"].split("\n\n")[0],
        second["content"],
    )
    assert ("ticket-triage", 1, 64) == (
        made.prompt.name,
        made.prompt.version,
        len(made.prompt.sha256),
    )
    assert "cache_control" not in made.body
    assert {"effort", "format"} == set(made.body["output_config"])
    assert ("claude-haiku-5-5/ticket-triage@1", 2048) == (made.calibration, made.body["max_tokens"])


def test_bare_messages_are_passed_on() -> None:
    """With the tier's cap, and nothing that nobody asked for."""
    made = _render(messages=HI)
    assert {"model": "claude-haiku-5-5", "max_tokens": 777, "messages": HI} == made.body
    assert ("messages", None) == (made.prompt.name, made.prompt.version)


def test_a_literal_system_prompt_is_not_marked() -> None:
    """Nobody says that it will come again, and a write costs more than a read saves."""
    made = _render(messages=HI, system="Be brief.")
    assert ("Be brief.", "system") == (made.body["system"], made.prompt.name)


def test_blocks_of_messages_are_passed_on_as_they_are() -> None:
    """Their types are the API's business."""
    block = {"type": "block_of_tomorrow", "with": {"anything": [1]}}
    made = _render(messages=[{"role": "user", "content": [block]}])
    assert [{"role": "user", "content": [block]}] == made.body["messages"]


def test_a_schema_that_the_grammar_cannot_hold_is_told_in_words() -> None:
    """The answer is checked all the same."""
    made = _render(messages=HI, output_schema={"type": "object"})
    assert "output_config" not in made.body
    assert made.body["messages"][-1]["content"].endswith('JSON Schema:\n{"type":"object"}')
    assert made.schema is not None


def test_a_model_without_structured_outputs_is_told_in_words() -> None:
    """As the Models API says, not as its name suggests."""
    facts = ModelFacts("m", structured_outputs=False)
    made = _render(facts, messages=HI, output_schema={"type": "null"})
    assert "output_config" not in made.body


FACTS = ModelFacts(
    "m",
    max_tokens=500,
    thinking=frozenset({"adaptive", "between_tools"}),
    efforts=frozenset({"low", "high", "xhigh"}),
)


@pytest.mark.parametrize(
    ("asked", "thinking", "effort"),
    [
        ({"type": "adaptive", "display": "summarized"},
         {"type": "adaptive", "display": "summarized"}, "xhigh"),
        ({"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}, "xhigh"),
        ({"type": "disabled"}, {"type": "between_tools"}, "high"),
        ({"type": "of_tomorrow"}, None, "xhigh"),
        (None, None, "xhigh"),
    ],
)  # fmt: skip
def test_thinking_is_sent_in_a_form_that_the_model_takes(
    asked: dict[str, Any] | None, thinking: dict[str, Any] | None, effort: str
) -> None:
    """Anything else would be answered 400."""
    made = _render(FACTS, messages=HI, thinking=asked, effort="xhigh", max_tokens=9_999)
    assert (thinking, effort, 500) == (
        made.body.get("thinking"),
        made.body["output_config"]["effort"],
        made.body["max_tokens"],
    )


def test_an_effort_that_the_model_does_not_know_is_left_out() -> None:
    """The default serves."""
    assert "output_config" not in _render(FACTS, messages=HI, effort="max").body


def test_the_next_round_keeps_the_first() -> None:
    """A repair adds turns; the call before stays what it was."""
    made = _render(messages=HI)
    again = made.with_turns([{"role": "user", "content": "Again."}], 1_000)
    assert (1, 2) == (len(made.body["messages"]), len(again.body["messages"]))
    assert (777, 1_000) == (made.body["max_tokens"], again.body["max_tokens"])
