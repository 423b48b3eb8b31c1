"""`sluice submit`: one request from flags, or a file of thousands."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from services.ops.failure import CommandFailed
from services.ops.following import Following, following
from services.ops.observed import Observed, as_json, as_line
from services.ops.printable import printable
from services.ops.prompt_check import PromptCheck
from services.ops.prompts import LIBRARY, released
from services.ops.rows import Mapped, rows_of
from services.ops.sending import Sender
from services.ops.settings import OpsSettings
from services.ops.submission import (
    BadRows,
    Submission,
    Submitter,
    check_all,
    duration_from,
    pairs,
    utc_now,
)
from services.runtime.connection import connection_options
from services.runtime.reading import partitions_of
from services.runtime.settings import KafkaSettings, read
from sluice_contracts import DataClassification, Effort, Priority, Tier, TopicNames

_TABLES: Final = frozenset({".csv", ".tsv"})
_STEP: Final = 200
"""Rows between two looks at the progress bar."""
_ANSWERED_BEFORE: Final = timedelta(hours=1)
"""How far back to look for outcomes of the same ids; the worker's own window is as long."""
Submissions = Callable[[], Iterator[Submission]]
"""Builds the submissions anew: a file is read once to check it and once to send it."""


def submit(
    *,
    file: Annotated[
        Path | None, typer.Argument(help="A .csv, .tsv or .jsonl file: one request a row.")
    ] = None,
    tier: Annotated[Tier | None, typer.Option(help="Which tier serves it.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt: name or name@version.")] = None,
    var: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable of the prompt.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="The user's message.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt, without --prompt.")] = None,
    request_id: Annotated[
        str | None, typer.Option("--id", help="Request id; default: a new one.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Ordering key; default: the id.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Who it is for: fairness and cost.")] = None,
    user: Annotated[str | None, typer.Option(help="On whose behalf, for audit.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="How urgent it is.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="10m from now, or a date: 2026-12-01T12:00:00Z.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Cap of the answer.")] = None,
    effort: Annotated[Effort | None, typer.Option(help="How hard the model thinks.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A file with the JSON Schema of the output.")
    ] = None,
    classification: Annotated[
        DataClassification | None, typer.Option(help="How far the content may travel.")
    ] = None,
    conversation: Annotated[str | None, typer.Option(help="Conversation id.")] = None,
    reply_to: Annotated[str | None, typer.Option(help="Another output topic.")] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Returned unchanged.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Publish chunks too.")] = False,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="VARIABLE=COLUMN",
            help="File: fill a variable of the prompt; default for tables: every column.",
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="File: fill a field of the request, or tier, key, message.",
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="File: column of the request id; default: derived.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="File: only the first rows.")] = None,
    check_prompts: Annotated[
        bool,
        typer.Option(help="Check prompt and variables by the prompt library that is here."),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, send nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcomes, show them.")] = False,
    timeout: Annotated[str, typer.Option(help="Longest wait for the outcomes.")] = "5m",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Publish one request, or a file of thousands.

    Everything is checked before anything is sent: while a row of a file is bad, nothing of it is,
    and every bad row is told by its number, the header not counted. With --wait a request that
    failed, or has no outcome in time, makes it exit with 1. The ids of a file's rows are derived
    from what they ask, so that submitting it again makes the same requests, which are answered
    once.
    """
    settings = read(OpsSettings)
    flags = {
        "prompt": prompt, "message": message, "system": system, "tenant": tenant, "user": user,
        "priority": priority, "deadline": deadline, "max_tokens": max_tokens, "effort": effort,
        "data_classification": classification, "conversation_id": conversation,
        "reply_to": reply_to, "stream": stream or None, "output_schema": _schema(schema),
        "variables": pairs(var or [], "--var") or None,
        "metadata": pairs(meta or [], "--meta") or None,
    }  # fmt: skip
    flags = {name: value for name, value in flags.items() if value is not None}
    now = utc_now()
    single = {"request_id": request_id or uuid4().hex}
    mapped = Mapped(pairs(map_ or [], "--map"), pairs(field or [], "--field"), id_column)

    prompts = PromptCheck(released(LIBRARY)) if check_prompts and LIBRARY.is_dir() else None

    def build() -> Iterator[Submission]:
        submitter = Submitter(flags, tier=tier, key=key, now=now, prompts=prompts)
        if file is None:
            yield submitter.build(single)
            return
        rows = rows_of(file) if limit is None else _first(rows_of(file), limit)
        yield from check_all(rows, submitter, mapped, is_table=file.suffix.lower() in _TABLES)

    if file is None and (map_ or field or id_column or limit):
        raise typer.BadParameter("--map, --field, --id-column and --limit are for a file")
    if file is not None and request_id is not None:
        raise typer.BadParameter("--id names one request; for a file use --id-column")
    whole = _check(build)
    if not whole.count:
        raise CommandFailed(f"{file} has no rows; nothing to submit")
    if not dry_run:
        within = duration_from(timeout).total_seconds()
        outcomes = asyncio.run(_submit(settings.kafka, build, whole, within if wait else None))
    _report(whole, None if dry_run or not wait else outcomes, dry_run=dry_run, as_data=json_)


@dataclass(frozen=True, slots=True)
class Whole:
    """What is about to be sent."""

    count: int
    first_id: str
    by_tier: dict[str, int]
    reply_to: frozenset[str]


def _check(build: Submissions) -> Whole:
    by_tier: Counter[str] = Counter()
    reply_to: set[str] = set()
    first_id = ""
    try:
        for one in build():
            first_id = first_id or one.request.request_id
            by_tier[str(one.tier)] += 1
            if one.request.reply_to is not None:
                reply_to.add(one.request.reply_to)
    except BadRows as exc:
        raise CommandFailed(f"nothing was sent, {exc}") from None
    return Whole(by_tier.total(), first_id, dict(by_tier), frozenset(reply_to))


async def _submit(
    kafka: KafkaSettings, build: Submissions, whole: Whole, wait: float | None
) -> dict[str, Observed]:
    names = TopicNames(kafka.topic_prefix)
    tiers = [Tier(tier) for tier in whole.by_tier]
    await partitions_of(connection_options(kafka, role="ops"), map(names.requests, tiers))
    async with AsyncExitStack() as stack:
        followed = None
        if wait is not None:
            # Opened before sending, so that no outcome is missed; and a file that was submitted a
            # while ago has its outcomes already, which do not come again.
            topics = {*map(names.results, tiers), *whole.reply_to}
            earlier = utc_now() - _ANSWERED_BEFORE
            since_ms = None if whole.count == 1 else int(earlier.timestamp() * 1000)
            followed = await stack.enter_async_context(following(kafka, topics, since_ms=since_ms))
        waiting: set[str] = set()
        async with Sender.open(kafka) as sender:
            with _progress("submitted", whole.count) as advance:
                for number, one in enumerate(build(), 1):
                    await sender.send(names.requests(one.tier), one.record)
                    waiting.add(one.request.request_id)
                    if number % _STEP == 0:
                        advance(sender.sent)
                await sender.settle(leave=0)
                advance(sender.sent)
        if followed is None or wait is None:
            return {}
        with _progress("outcomes", whole.count) as advance:
            return await _outcomes(followed, waiting, wait, advance)


async def _outcomes(
    followed: Following, waiting: set[str], within: float, advance: Callable[[int], None]
) -> dict[str, Observed]:
    found: dict[str, Observed] = {}
    try:
        async with asyncio.timeout(within):
            async for batch in followed.read():
                found |= {seen.request_id: seen for seen in batch if seen.request_id in waiting}
                advance(len(found))
                if len(found) == len(waiting):
                    break
    except TimeoutError:
        pass  # what is missing is said with what was found
    return found


def _report(
    whole: Whole, outcomes: dict[str, Observed] | None, *, dry_run: bool, as_data: bool
) -> None:
    facts: dict[str, Any] = {
        "submitted": 0 if dry_run else whole.count,
        "checked": whole.count,
        "by_tier": whole.by_tier,
    }
    if whole.count == 1:
        facts["request_id"] = whole.first_id
    if outcomes is not None:
        facts["outcomes"] = dict(Counter(_result(seen) for seen in outcomes.values()))
        facts["missing"] = whole.count - len(outcomes)
    if as_data:
        if whole.count == 1 and outcomes:
            facts["outcome"] = as_json(next(iter(outcomes.values())))
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        _say(whole, facts, outcomes or {}, dry_run=dry_run)
    problems = []
    if failed := sum(seen.kind != "succeeded" for seen in (outcomes or {}).values()):
        problems.append(
            f"{failed} of {whole.count} requests failed; `sluice dead-letters list --request-id …` "
            "shows why, docs/operations.md what to do"
        )
    if facts.get("missing"):
        problems.append(
            f"{facts['missing']} of {whole.count} outcomes did not come in time; they may still: "
            "`sluice tail --from-beginning --request-id …`. A request that was answered before is "
            "not answered again; `sluice doctor` tells whether a worker can"
        )
    if problems:
        raise CommandFailed("\n".join(problems))


def _say(
    whole: Whole, facts: dict[str, Any], outcomes: dict[str, Observed], *, dry_run: bool
) -> None:
    tiers = ", ".join(f"{count} to {tier}" for tier, count in whole.by_tier.items())
    if dry_run:
        typer.echo(f"{whole.count} valid, nothing sent ({tiers})")
    elif whole.count == 1:
        typer.echo(printable(f"submitted {whole.first_id} ({tiers})"))
    else:
        typer.echo(f"submitted {whole.count} requests ({tiers})")
    if len(outcomes) == 1:
        typer.echo(as_line(next(iter(outcomes.values()))))
    elif outcomes:
        results = sorted(facts["outcomes"].items(), key=lambda pair: -pair[1])
        typer.echo("\n".join(f"{count:>8}  {result}" for result, count in results))


def _result(seen: Observed) -> str:
    failure = getattr(seen.event, "failure", None)
    return seen.kind if failure is None else str(failure.code)


def _schema(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CommandFailed(f"cannot read the schema in {path}: {exc}") from exc


def _first(rows: Iterable[dict[str, Any]], limit: int) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        if number == limit:
            return
        yield row


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, for more than one; yields what sets how far it is."""
    if total == 1 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 -- takes longer to import than to submit one
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda done: progress.update(bar, completed=done)
