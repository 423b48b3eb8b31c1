"""`configuration.md`: every environment variable, from the docstrings of the settings."""

from collections.abc import Iterable
from typing import Final

from services.ops.variables import ROOMS, Variable, settings_of, variables
from services.runtime.settings import Settings

_INTRO: Final = """\
<!-- Written by `make generate`; do not edit. -->

# Configuration

Everything is an environment variable, or a line of `.env` in the working directory. The same
variable means the same thing in every process. Blocks and fields are separated by two underscores.
An unknown field of a known block stops the process at start. Durations are written `500ms`, `30s`,
`5m`, `1h`, `7d`, as bare seconds, or in ISO 8601.
"""
_HEAD: Final = "| variable | default | kind | meaning |\n| --- | --- | --- | --- |\n"
_TITLES: Final = {
    "worker": "Worker",
    "relay": "Relay",
    "ops": "Command line",
    "simulator": "Simulator",
}


def configuration() -> str:
    """Return the page about the environment variables."""
    shared = list(variables(Settings))
    parts = [_INTRO, _section("Every process", shared)]
    names = {variable.name for variable in shared}
    for room in ROOMS:
        own = [each for each in variables(settings_of(room)) if each.name not in names]
        names |= {each.name for each in own}
        if own:
            parts.append(_section(_TITLES[room], own))
    return "\n".join(parts)


def _section(title: str, rows: Iterable[Variable]) -> str:
    lines = [
        f"## {title}",
        "",
        "| variable | default | kind | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{row.name}` | {row.default} | {row.kind} | {row.meaning.replace('|', chr(92) + '|')} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
