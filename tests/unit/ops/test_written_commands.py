"""Every `sluice …` that a document tells people to type is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.ops.cli import load

ROOT = Path(__file__).parents[3]
DOCUMENTS = ("README.md", "docs/operations.md", "docs/throttle.md", "docker-compose.yml")
_LINE = re.compile(r"^(?:\$|#)?\s*(sluice .+)$")
_QUOTED = re.compile(r"`(sluice [^`…]+[^`]*)`")


def _written() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        for line in (ROOT / document).read_text().splitlines():
            whole = _LINE.match(line.strip())
            for found in [whole[1]] if whole else _QUOTED.findall(line):
                for command in found.split(" && "):
                    yield document, re.sub(r"\s…(?=\s|$)", "", command)


@pytest.mark.parametrize(("document", "command"), sorted(set(_written())))
def test_it_is_understood(document: str, command: str) -> None:
    """Names, options and choices are the program's; nothing is run."""
    _, name, *words = shlex.split(command, comments=True)
    part = load(name)
    while words and words[0] in getattr(part, "commands", {}):
        part = part.commands[words.pop(0)]
    options = {option for each in part.params for option in (*each.opts, *each.secondary_opts)}
    written = {word.split("=")[0] for word in words if word.startswith("--")}
    assert set() == written - options, f"{document}: {command}"
