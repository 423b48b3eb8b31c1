"""`sluice dead-letters list | show | stats`: look, change nothing."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Argument, Option

from services.ops.dead_letters import tables
from services.ops.dead_letters.connecting import connect
from services.ops.dead_letters.folding import F, fold
from services.ops.dead_letters.letter import Letter, Place
from services.ops.dead_letters.newest import Newest
from services.ops.dead_letters.options import AsJson, selecting
from services.ops.dead_letters.scan import DeadLetters, Watch
from services.ops.dead_letters.scan import Progress as Scanned
from services.ops.dead_letters.selection import Selection
from services.ops.dead_letters.tally import BY, Tally
from services.ops.failure import CommandFailed

Jobs = Annotated[
    int, Option(min=1, help="Read with so many processes at once, for topics with millions.")
]
dead_letters_app = typer.Typer(no_args_is_help=True, help="Look at what failed, and why.")


@dead_letters_app.command("list")
@selecting
def list_(
    chosen: Selection,
    *,
    limit: Annotated[int, Option(min=1, help="Show at most so many, the newest.")] = 50,
    jobs: Jobs = 1,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first; with --json all of them, oldest first, a line each."""
    letters = connect()
    if as_json:
        asyncio.run(_each(letters, chosen, _print_facts))
        return
    newest = asyncio.run(_fold(letters, chosen, Newest(limit), jobs))
    out = tables.console()
    out.print(tables.list_of(newest, tables.utc_now(), width=out.width))


@dead_letters_app.command()
@selecting
def stats(
    chosen: Selection,
    *,
    by: Annotated[
        str, Option(help=f"Count by these, commas between: {', '.join(BY)}.")
    ] = "code,tier",
    rows: Annotated[int, Option(min=1, help="Show at most so many rows.")] = 30,
    jobs: Jobs = 1,
    as_json: AsJson = False,
) -> None:
    """Count dead letters by cause and tier, or by what you name."""
    names = tuple(name.strip() for name in by.split(","))
    if unknown := [name for name in names if name not in BY]:
        raise CommandFailed(f"--by {', '.join(unknown)} is unknown; use {', '.join(BY)}")
    tally = asyncio.run(_fold(connect(), chosen, Tally(names), jobs))
    if as_json:
        typer.echo(json.dumps(tally.facts()))
    else:
        tables.console().print(tables.stats_of(tally, tables.utc_now(), rows=rows))


@dead_letters_app.command()
def show(
    what: Annotated[str, Argument(help="A place (`haiku/3/1542`, from `list`) or a request id.")],
    *,
    show_restricted: Annotated[
        bool, Option("--show-restricted", help="Show restricted content too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of a dead letter: failure, headers, attempts, body."""
    found = asyncio.run(_find(connect(), what))
    if not found:
        raise CommandFailed(
            f"no dead letter {what!r}: neither a place that holds one nor a request id; "
            "`sluice dead-letters list` shows what is there"
        )
    for letter in found:
        if as_json:
            typer.echo(json.dumps(_whole(letter, with_content=show_restricted)))
        else:
            tables.console().print(tables.letter_of(letter, with_content=show_restricted))


async def _each(letters: DeadLetters, chosen: Selection, take: Callable[[Letter], None]) -> None:
    with progress_bar("reading dead letters") as watch:
        async for letter in letters.select(chosen, watch=watch):
            take(letter)


async def _fold(letters: DeadLetters, chosen: Selection, into: F, jobs: int) -> F:
    with progress_bar("reading dead letters") as watch:
        return await fold(letters, chosen, into, watch=watch, jobs=jobs)


async def _find(letters: DeadLetters, what: str) -> list[Letter]:
    place = Place.parse(what)
    if place is not None and (letter := await letters.find(place)):
        return [letter]
    with progress_bar("looking for the request") as watch:
        return [
            letter async for letter in letters.select(Selection(request_ids=(what,)), watch=watch)
        ]


@contextmanager
def progress_bar(title: str) -> Iterator[Watch]:
    """Show how far a scan is, on standard error and only on a terminal."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[selected]} meant"), TimeRemainingColumn(),
        console=tables.console(to_terminal=False), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(title, total=None, selected=0)

        def watch(at: Scanned) -> None:
            bar.update(task, total=at.total, completed=at.read, selected=at.selected)

        yield watch


def _print_facts(letter: Letter) -> None:
    typer.echo(json.dumps(letter.facts()))


def _whole(letter: Letter, *, with_content: bool) -> dict[str, object]:
    return {
        **letter.facts(),
        "attempt_history": letter.history,
        "headers": [
            [name, None if value is None else value.decode(errors="backslashreplace")]
            for name, value in letter.headers
        ],
        "body": None if letter.is_restricted and not with_content else tables.content(letter),
    }
