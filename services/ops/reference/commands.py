"""`cli.md`: every command of `sluice` with its arguments and options, from the commands' code."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final

from services.ops.cli import PLACES, load

_INTRO: Final = """\
<!-- Written by `make generate`; do not edit. -->

# Command line

Every command has `--help`. Exit codes: 0 success, 1 a failure that is explained, 2 wrong usage.
Facts go to standard output, progress and errors to standard error. Settings come from the
environment: [configuration.md](configuration.md).
"""


def commands() -> str:
    """Return the page about the command line."""
    parts = [_INTRO]
    for name, place in PLACES.items():
        if find_spec(place.module) is not None:
            parts += _described(load(name), f"sluice {name}")
    return "\n".join(parts)


def _described(command: Any, path: str) -> Iterator[str]:
    below = getattr(command, "commands", {})
    usage = " ".join([path, *_usage(command)])
    yield f"## `{path}`\n\n{_paragraphs(command.help)}\n"
    if not below:
        yield f"```\n{usage}\n```\n"
        yield from _parameters(command)
    for name, child in below.items():
        yield from _described(child, f"{path} {name}")


def _usage(command: Any) -> list[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    shown = [
        f"{name}{'…' if each.nargs != 1 or each.multiple else ''}"
        if each.required
        else f"[{name}{'…' if each.nargs != 1 else ''}]"
        for each in arguments
        for name in [str(each.name).upper()]
    ]
    return ["[OPTIONS]", *shown]


def _parameters(command: Any) -> Iterator[str]:
    rows = [
        f"| {_name(each)} | {_default(each)} | {_escaped(each.help or '')} |"
        for each in command.params
        if each.name != "help" and not each.hidden
    ]
    if rows:
        yield "| | default | |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{str(parameter.name).upper()}`"
    takes = "" if parameter.is_flag else f" {parameter.metavar or parameter.display_type(None)}"
    names = ", ".join(f"`{name}{takes}`" for name in (*parameter.opts, *parameter.secondary_opts))
    names = names.replace("|", "\\|")
    return f"{names} (required)" if parameter.required else names


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or value is False or callable(value) or value in {"", ()}:
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))
