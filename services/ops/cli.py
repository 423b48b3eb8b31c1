"""The commands of `sluice` and where each lives; a command's code is imported when it is used.

A table and not imports, because Kafka's and AWS's clients take longer to import than a person waits
for `--help`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from services.ops.failure import CommandFailed


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command or a group of commands lives, and its line in the overview."""

    module: str
    attribute: str
    summary: str
    panel: str
    passes_on: bool = False
    """True where options that are not known belong to somebody else."""


_WORK: Final = "Requests and results"
_CARE: Final = "Operations"
_PROCESSES: Final = "Processes"

PLACES: Final[dict[str, Place]] = {
    "submit": Place(
        "services.ops.submit", "submit", "Publish one request, or a file of thousands.", _WORK
    ),
    "tail": Place(
        "services.ops.tail", "tail", "Show results and dead letters as they come.", _WORK
    ),
    "cancel": Place("services.ops.cancel", "cancel", "Fail requests that wait, unpaid.", _WORK),
    "topics": Place("services.ops.topics", "topics_app", "Compare and make the topics.", _CARE),
    "rate": Place(
        "services.ops.rate", "rate_command", "Show how replicas share the rate limits.", _CARE
    ),
    "dead-letters": Place(
        "services.ops.dead_letters.commands",
        "dead_letters_app",
        "Look at what failed, and why.",
        _CARE,
    ),
    "replay": Place(
        "services.ops.replay.commands",
        "replay_app",
        "Put dead letters back: plan, run, pause.",
        _CARE,
    ),
    "prompts": Place(
        "services.ops.prompts", "prompts_app", "Look at the prompt library's versions.", _CARE
    ),
    "secrets": Place(
        "services.ops.secrets", "secrets_app", "Show and rotate the API key's versions.", _CARE
    ),
    "doctor": Place(
        "services.ops.doctor", "doctor", "Check everything and say what to do about it.", _CARE
    ),
    "worker": Place("services.ops.processes", "worker", "Run the worker.", _PROCESSES),
    "relay": Place("services.ops.processes", "relay", "Run the relay.", _PROCESSES),
    "simulator": Place(
        "services.ops.processes",
        "simulator",
        "Run the stand-in for the Claude API.",
        _PROCESSES,
        passes_on=True,
    ),
    "demo": Place(
        "services.ops.demo", "demo", "Run the whole system once, on this machine.", _PROCESSES
    ),
}


class Commands(TyperGroup):
    """A group that imports the command it is asked for, and none to print the overview."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=place.summary) for name, place in PLACES.items()
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 -- the base names it
        """Import a command by its name."""
        return load(cmd_name) if cmd_name in PLACES else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- likewise
        """List the commands by what they are for."""
        for panel in dict.fromkeys(place.panel for place in PLACES.values()):
            with formatter.section(panel):
                formatter.write_dl(
                    [
                        (name, place.summary)
                        for name, place in PLACES.items()
                        if place.panel == panel
                    ]
                )


def load(name: str) -> Any:
    """Import a command, or a group of commands, by its name in the table."""
    place = PLACES[name]
    if find_spec(place.module) is None:
        raise CommandFailed(f"`sluice {name}` is not part of this installation")
    found: typer.Typer | Callable[..., Any] = getattr(import_module(place.module), place.attribute)
    if isinstance(found, typer.Typer):
        found.info.name = name
        found.rich_markup_mode = None
        group = typer.main.get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    context = {"ignore_unknown_options": True} if place.passes_on else {}
    single.command(name, context_settings=context)(found)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich takes longer to import than the rest of the overview
    pretty_exceptions_enable=False,
    help="Claude over Kafka: submit requests, watch results, and run what is between them.",
    epilog="Settings come from the environment and .env: docs/reference/configuration.md",
)


@app.callback()
def _root() -> None:
    """Hold the options of `sluice` itself; there are none."""
