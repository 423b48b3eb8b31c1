"""`sluice rate`: how the replicas share the organisation's rate limits, live."""

import asyncio
import json
import time
from typing import Annotated, Final

import typer
from aiokafka import AIOKafkaConsumer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from services.ops.cells import cell
from services.ops.failure import CommandFailed
from services.ops.settings import OpsSettings
from services.ops.shares import MEASURES, GroupShares, Share, Shares
from services.runtime.connection import connection_options
from services.runtime.reading import open_reader, partitions_of
from services.runtime.settings import KafkaSettings, read
from sluice_contracts import TopicNames

_POLL_MS: Final = 250


def rate_command(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print what stands and end.")] = False,
    with_gone: Annotated[
        bool, typer.Option("--with-gone", help="Show replicas that fell silent, too.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object a group, as `--once`.")
    ] = False,
) -> None:
    """Show every replica's share of each rate-limit group, what it uses, and who waits for what.

    Reads what the workers tell each other, in no consumer group: looking changes nothing.
    """
    settings = read(OpsSettings)
    asyncio.run(
        _once(settings.kafka, with_gone=with_gone, as_json=json_lines)
        if once or json_lines
        else _live(settings.kafka, with_gone=with_gone)
    )


async def _once(kafka: KafkaSettings, *, with_gone: bool, as_json: bool) -> None:
    async with open_reader(connection_options(kafka, role="rate")) as reader:
        shares = await _all(reader, kafka)
    groups = shares.groups(time.time(), with_gone=with_gone)
    if as_json:
        for group in groups:
            typer.echo(json.dumps(group.as_json()))
    elif groups:
        Console().print(_page(groups))
    if not groups:
        raise CommandFailed("no worker posts on claude.rate.v1; start one with `sluice worker`")


async def _live(kafka: KafkaSettings, *, with_gone: bool) -> None:
    async with open_reader(connection_options(kafka, role="rate")) as reader:
        shares = await _all(reader, kafka)
        with Live(console=Console(), auto_refresh=False) as screen:
            while True:
                groups = shares.groups(time.time(), with_gone=with_gone)
                screen.update(_page(groups) if groups else "waiting for a worker …", refresh=True)
                await _take(reader, shares)


async def _all(reader: AIOKafkaConsumer, kafka: KafkaSettings) -> Shares:
    """Read the topic up to where it ends now."""
    partitions = await partitions_of(
        connection_options(kafka, role="rate"), [TopicNames(kafka.topic_prefix).rate]
    )
    reader.assign(partitions)
    ends = await reader.end_offsets(partitions)
    await reader.seek_to_beginning(*partitions)
    shares = Shares()
    for partition, end in ends.items():
        while await reader.position(partition) < end:
            await _take(reader, shares)
    return shares


async def _take(reader: AIOKafkaConsumer, shares: Shares) -> None:
    for records in (await reader.getmany(timeout_ms=_POLL_MS)).values():
        for record in records:
            replica = (record.key or b"").decode(errors="replace")
            shares.take(replica, record.timestamp / 1000, record.value)


def _page(groups: list[GroupShares]) -> Group:
    return Group(*(_table(group) for group in groups))


def _table(group: GroupShares) -> Table:
    table = Table(title=cell(group.group), caption=_caption(group), title_justify="left")
    table.add_column("replica")
    for measure in MEASURES:
        table.add_column(f"{measure}\nshare · used /min", justify="right")
    table.add_column("fill", justify="right")
    table.add_column("in flight", justify="right")
    table.add_column("waiting", justify="right")
    table.add_column("waits for")
    for share in group.shares:
        table.add_row(*map(cell, _row(share)), style=None if share.is_live else "dim")
    return table


def _row(share: Share) -> list[str]:
    pairs = zip(share.holds, share.used, strict=True)
    waits_for = share.binding or ""
    if share.held_for:
        waits_for = f"held {share.held:.0f} s: {share.held_for}"
    return [
        share.replica if share.is_live else f"{share.replica} (silent {share.age:.0f} s)",
        *(f"{held:,.0f} · {used:,.0f}" for held, used in pairs),
        " ".join(f"{max(0.0, fill):.0%}" for fill in share.fill),
        str(share.in_flight),
        f"{share.waiting} ({share.longest_wait:.0f} s)" if share.waiting else "0",
        waits_for,
    ]


def _caption(group: GroupShares) -> str:
    if group.limits is None:
        return "limits not seen yet"
    said = [
        f"{measure} {used:,.0f} of {limit:,.0f} ({used / limit:.1%})"
        for measure, used, limit in zip(MEASURES, group.used, group.limits, strict=True)
    ]
    left = min(group.factor)
    others = f"; {1 - left:.0%} is used by others" if left < 1 else ""
    start = f"; slow start at {group.bound:.0%}" if group.bound < 1 else ""
    return " · ".join(said) + others + start
