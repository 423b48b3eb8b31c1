"""`sluice tail`: results, failures and dead letters as they come."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

import typer

from services.ops.failure import CommandFailed
from services.ops.following import Start, What, following, topics_of
from services.ops.observed import Observed, as_json, as_line
from services.ops.settings import OpsSettings
from services.ops.submission import duration_from, utc_now
from services.runtime.settings import KafkaSettings, read
from sluice_contracts import Tier, TopicNames

_COLOURS: Final = {
    "succeeded": typer.colors.GREEN,
    "failed": typer.colors.RED,
    "dead-letter": typer.colors.MAGENTA,
    "unreadable": typer.colors.YELLOW,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are shown."""

    request_ids: frozenset[str]
    tenant: str | None
    failures_only: bool

    def takes(self, seen: Observed) -> bool:
        """True where a record is to be shown."""
        return (
            (not self.request_ids or seen.request_id in self.request_ids)
            and (self.tenant is None or seen.tenant == self.tenant)
            and (not self.failures_only or seen.kind != "succeeded")
        )


def tail(
    *,
    tier: Annotated[
        list[Tier] | None, typer.Option(help="Only this tier; may be repeated.")
    ] = None,
    request_id: Annotated[
        list[str] | None, typer.Option(help="Only this request; may be repeated.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    what: Annotated[What, typer.Option(help="Which topics.")] = What.ALL,
    failures: Annotated[bool, typer.Option("--failures", help="Only what failed.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest record there is.")
    ] = False,
    since: Annotated[str | None, typer.Option(help="Start so long ago: 30s, 10m, 2h, 1d.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many lines.")] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Stop after so long; exit code 1 where --count is short.")
    ] = None,
    show_restricted: Annotated[
        bool, typer.Option("--show-restricted", help="Show restricted content too.")
    ] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show results, failures and dead letters as they come, until Ctrl-C.

    Reads committed records only, in no consumer group: looking changes nothing.
    """
    settings = read(OpsSettings)
    names = TopicNames(settings.kafka.topic_prefix)
    since_ms = None
    if since is not None:
        since_ms = int((utc_now() - duration_from(since)).timestamp() * 1000)

    def show(seen: Observed) -> None:
        if json_lines:
            facts = as_json(seen, show_restricted=show_restricted)
            typer.echo(json.dumps(facts, ensure_ascii=False))
        else:
            line = as_line(seen, show_restricted=show_restricted)
            typer.secho(line, fg=_COLOURS[seen.kind])

    watch = _watch(
        settings.kafka,
        topics_of(names, tier or list(Tier), what),
        Filter(frozenset(request_id or ()), tenant, failures),
        show,
        start=Start.BEGINNING if from_beginning else Start.END,
        since_ms=since_ms,
        count=count,
        within=None if timeout is None else duration_from(timeout),
    )
    try:
        asyncio.run(watch)
    except KeyboardInterrupt:
        return  # the usual way to end it


async def _watch(
    kafka: KafkaSettings,
    topics: list[str],
    wanted: Filter,
    show: Callable[[Observed], None],
    *,
    start: Start,
    since_ms: int | None,
    count: int | None,
    within: timedelta | None,
) -> None:
    shown = 0
    until = within.total_seconds() if within is not None else None
    try:
        async with (
            following(kafka, topics, start=start, since_ms=since_ms) as followed,
            asyncio.timeout(until),
        ):
            async for batch in followed.read():
                for seen in filter(wanted.takes, batch):
                    show(seen)
                    shown += 1
                    if shown == count:
                        return
    except TimeoutError:
        if count is not None:
            raise CommandFailed(f"{shown} of {count} records came within {until:g} s") from None
