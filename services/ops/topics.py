"""`sluice topics plan|apply`: the difference between the catalogue and the cluster, made good."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from services.ops.cells import cell
from services.ops.cluster import Cluster
from services.ops.settings import OpsSettings
from services.ops.topic_plan import Difference, plan
from services.runtime.settings import KafkaSettings, read
from sluice_contracts.topics import catalogue

topics_app: Final = typer.Typer(
    no_args_is_help=True,
    help="Compare the catalogue's topics with the cluster's, and make them so.",
)

Partitions = Annotated[
    int,
    typer.Option(
        min=1,
        help="Partitions of the request, result, dead-letter and retry topics. Growing a topic "
        "that is in use breaks order by key once.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_PARTITIONS: Final = 8


@topics_app.command("plan")
def plan_command(
    *,
    partitions: Partitions = _PARTITIONS,
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option(help="Exit with 1 when there is something to apply.")
    ] = False,
) -> None:
    """Show what differs; changes nothing."""
    differences = asyncio.run(_plan(read(OpsSettings).kafka, partitions))
    _show(differences, as_json=as_json)
    if check and any(each.is_applicable for each in differences):
        raise typer.Exit(1)


@topics_app.command("apply")
def apply_command(*, partitions: Partitions = _PARTITIONS, as_json: Json = False) -> None:
    """Create what is missing, grow and configure; never shrinks or deletes; safe to repeat."""
    applied, left = asyncio.run(_apply(read(OpsSettings).kafka, partitions))
    _show(applied + left, as_json=as_json, applied=len(applied))


async def _plan(settings: KafkaSettings, partitions: int) -> list[Difference]:
    prefix = settings.topic_prefix
    async with Cluster.open(settings) as cluster:
        return plan(catalogue(prefix, partitions), await cluster.state(), prefix=prefix)


async def _apply(
    settings: KafkaSettings, partitions: int
) -> tuple[list[Difference], list[Difference]]:
    """Return what was applied and what only a person can change."""
    prefix = settings.topic_prefix
    rows = catalogue(prefix, partitions)
    async with Cluster.open(settings) as cluster:
        state = await cluster.state()
        differences = plan(rows, state, prefix=prefix)
        await cluster.apply(rows, state, differences)
    return (
        [each for each in differences if each.is_applicable],
        [each for each in differences if not each.is_applicable],
    )


def _show(differences: Iterable[Difference], *, as_json: bool, applied: int | None = None) -> None:
    rows = list(differences)
    if as_json:
        shown = [
            {**asdict(each), "applied": number < (applied or 0)} for number, each in enumerate(rows)
        ]
        typer.echo(json.dumps(shown, indent=1))
        return
    if rows:
        Console().print(_table(rows))
    typer.echo(_verdict(rows, applied))


def _table(rows: Iterable[Difference]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("topic", "", "is", "wanted", "note"):
        table.add_column(heading, overflow="fold")
    for each in rows:
        said = (each.topic, each.what, each.current or "-", each.wanted or "-", each.note)
        table.add_row(*map(cell, said))
    return table


def _verdict(rows: list[Difference], applied: int | None) -> str:
    to_apply = sum(each.is_applicable for each in rows)
    reported = len(rows) - to_apply
    rest = f"; {reported} left to a person" if reported else ""
    if applied is not None:
        return f"{applied} applied{rest}"
    return f"{to_apply} to apply with `sluice topics apply`{rest}" if rows else "nothing differs"
