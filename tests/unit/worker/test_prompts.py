"""The prompt library: released versions, defaults, and how a request fills one."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.errors import PermanentError
from services.worker.library import SHIPPED, PromptLibrary
from services.worker.prompt import Prompt, PromptError
from sluice_contracts import FailureCode as F
from sluice_contracts import Tier

LIBRARY = PromptLibrary()
TRIAGE = LIBRARY.find("ticket-triage@1")
RELEASED = {
    "contract-review/v1.md": "77bab18eff00a2a92b299163d9dd23676a86eeb4a1b94ba5dea46503d5308264",
    "contract-risk/v1.md": "403ae04e2608a3487186600937fa76d2611e20ce01b70b43aa00116c070fb247",
    "ticket-triage/v1.md": "1e909d6ac95217a6c2b5804a60d3bc1dd4cf259b3c0a9e5fdba7f4e917343eaf",
}
"""SHA-256 of each released file. A version never changes: write the next one and add it here."""
SMALL = """---
description: A test.
tier: haiku
max_tokens: 10
variables:
  text: {required: true, description: What to read.}
  hint: {required: false, description: What to know.}
---
# Role
r
# Instructions
i
# Output format
o
# Guardrails
g
# User
{{text}}

A hint:
{{hint}}

Do it.
"""


def test_released_versions_never_change() -> None:
    """Results name a version, and a version names one text for ever."""
    found = {
        f"{file.parent.name}/{file.name}": sha256(file.read_bytes()).hexdigest()
        for file in sorted(SHIPPED.glob("*/*.md"))
    }
    assert RELEASED == found


@pytest.mark.parametrize("prompt", LIBRARY.prompts, ids=lambda prompt: prompt.reference)
def test_a_shipped_prompt_is_whole(prompt: Prompt) -> None:
    """It has a schema that the API can enforce, and is long enough to be cached."""
    assert prompt.schema is not None
    assert prompt.schema.subset is not None
    assert len(prompt.system) / 6.1 > 400  # the most characters per token ever recorded
    assert prompt.sha256 == sha256(prompt.system.encode()).hexdigest()


def test_each_tier_has_a_prompt() -> None:
    """The three that ship show what each tier is for."""
    assert {Tier.HAIKU, Tier.SONNET, Tier.OPUS} == {p.meta.tier for p in LIBRARY.prompts}


@pytest.mark.parametrize(
    ("reference", "detail"),
    [
        ("summarise", "the library has contract-review, contract-risk, ticket-triage, and not"),
        ("ticket-triage@7", "prompt 'ticket-triage' is released as 1, and not as the version"),
        ("ticket-triage@", None),
        ("ticket-triage@one", "prompt 'ticket-triage' is released as 1"),
        ("../etc", "and not the prompt asked for"),
    ],
)
def test_an_unknown_prompt_says_what_there_is(reference: str, detail: str | None) -> None:
    """What was asked for is a word of the caller's, and kept apart."""
    if detail is None:
        assert TRIAGE is LIBRARY.find(reference)
        return
    with pytest.raises(PermanentError, match=re.escape(detail)) as caught:
        LIBRARY.find(reference)
    assert F.UNKNOWN_PROMPT == caught.value.code
    assert repr(reference.removeprefix("ticket-triage@")) == caught.value.quoted


def test_a_missing_variable_is_named() -> None:
    """With what it is for."""
    with pytest.raises(PermanentError, match="needs variable 'text': The customer") as caught:
        TRIAGE.fill({"text": None})
    assert F.VARIABLES_MISSING == caught.value.code


def test_an_unknown_variable_is_refused() -> None:
    """A misspelt name would otherwise be left out in silence."""
    with pytest.raises(PermanentError, match="takes text, labels, product"):
        TRIAGE.fill({"text": "x", "label": "y"})


def test_optional_paragraphs_come_and_go_with_their_values() -> None:
    """What is not given leaves no trace."""
    prompt = Prompt("small", 1, SMALL)
    assert "<text>\nx\n</text>\n\nDo it." == prompt.fill({"text": "x"})
    both = prompt.fill({"text": "x", "hint": ["a", 1]})
    assert '<text>\nx\n</text>\n\nA hint:\n<hint>\n["a",1]\n</hint>\n\nDo it.' == both


@given(st.text(alphabet="<>/{}text hi\n&", max_size=60))
def test_a_value_cannot_act_as_anything_but_a_value(value: str) -> None:
    """It opens no placeholder and closes no tag."""
    filled = Prompt("small", 1, SMALL).fill({"text": value, "hint": "{{text}}"})
    inside = filled.split("<text>\n", 1)[1].rsplit("\n</text>", 1)[0]
    assert not re.search(r"</?text\b", inside)
    assert "<hint>\n{{text}}\n</hint>" in filled
    assert value == inside.replace("&lt;", "<") or "&lt;" in value


def test_labels_become_the_choices_of_the_schema() -> None:
    """An invented label cannot pass."""
    schema = TRIAGE.schema_for({"text": "x", "labels": ["a", "b"]})
    assert schema is not None
    assert ["a", "b"] == schema.original["properties"]["intent"]["enum"]
    assert schema is TRIAGE.schema_for({"text": "y", "labels": ["a", "b"]})
    assert TRIAGE.schema is TRIAGE.schema_for({"text": "x"})


@pytest.mark.parametrize("labels", ["a", [], [1], ["a", "a"], {"a": 1}])
def test_choices_are_a_list_of_different_strings(labels: Any) -> None:
    """Anything else is the caller's mistake."""
    with pytest.raises(PermanentError, match="must be a list of different strings"):
        TRIAGE.schema_for({"text": "x", "labels": labels})


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("tier: haiku", "tier: gpt", "tier"),
        ("# Guardrails\ng\n", "", "has sections"),
        ("{{hint}}", "", "declares ['hint', 'text'] and uses ['text']"),
        ("---\ndesc", "desc", "front matter"),
        ("max_tokens: 10", "max_tokens: 10\nsurprise: 1", "surprise"),
    ],
)
def test_a_wrong_prompt_file_stops_the_start(old: str, new: str, why: str) -> None:
    """Not a request that comes hours later."""
    with pytest.raises(PromptError, match=re.escape(why)):
        Prompt("small", 1, SMALL.replace(old, new))


def _library(root: Path) -> PromptLibrary:
    (root / "small").mkdir()
    for version in (1, 2):
        (root / "small" / f"v{version}.md").write_text(SMALL)
    (root / "prompts.toml").write_text("[defaults]\nsmall = 1\n")
    return PromptLibrary(root)


def test_the_defaults_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    """A new version is opened, or closed again, without a restart."""
    library = _library(tmp_path)
    assert 1 == library.find("small").version
    (tmp_path / "prompts.toml").write_text("[defaults]\nsmall = 2\n# changed\n")
    assert 2 == library.find("small").version


@pytest.mark.parametrize("text", ["small = ", "[defaults]\nsmall = 9\n", "[other]\n"])
def test_broken_defaults_change_nothing(tmp_path: Path, text: str) -> None:
    """What served on serves on."""
    library = _library(tmp_path)
    (tmp_path / "prompts.toml").write_text(text)
    assert 1 == library.find("small").version
