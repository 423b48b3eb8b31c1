"""The commands that documents tell people to type, against the command line that there is."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from services.ops.cli import PLACES, load

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
OTHERS = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docker-compose.yml")]
LINES = [
    part
    for line in re.findall(
        r"^(?: {4}|\$ |# +)(sluice .*)", "\n".join([PAGE, *OTHERS]), re.MULTILINE
    )
    for part in line.split(" && ")
]
INLINE = [
    code
    for code in (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", PAGE))
    if " " in code and code.removeprefix("sluice ").split()[0] in PLACES
]


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """Find a command, and what is left for it to read."""
    command, left = load(words[0]), words[1:]
    while hasattr(command, "commands"):
        command, left = command.commands[left[0]], left[1:]
    return command, left


def _names(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def _words(line: str) -> list[str]:
    return shlex.split(line.removeprefix("sluice "), comments=True)


@pytest.mark.parametrize("line", LINES)
def test_a_line_can_be_typed(line: str) -> None:
    """Command, options and values are read as they stand."""
    command, left = _command(_words(line))
    assert command.make_context(command.name, left)


@pytest.mark.parametrize("code", INLINE)
def test_a_command_in_a_sentence_exists(code: str) -> None:
    """It may leave out what the sentence is not about, and names nothing that is not there."""
    command, left = _command(_words(code))
    known = {name for parameter in command.params for name in _names(parameter)}
    assert [] == [word for word in left if word.startswith("--") and word not in known]


def test_the_page_is_read() -> None:
    """Neither kind of command was missed by a change of the page's layout."""
    assert len(LINES) > 15
    assert len(INLINE) > 15


def test_every_option_that_is_named_exists() -> None:
    """Alone in a sentence it belongs to some command of replay, dead letters, or submitting."""
    named = {code.split()[0] for code in re.findall(r"`(--[a-z-]+[^`]*)`", PAGE)}
    commands = [load("submit"), *load("replay").commands.values()]
    commands += load("dead-letters").commands.values()
    known = {name for each in commands for parameter in each.params for name in _names(parameter)}
    assert {"--help"} == named - known
