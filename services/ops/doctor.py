"""`sluice doctor`: checks everything a worker needs and says what to do about each."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Final

import typer

from services.ops.check import Check, Verdict
from services.ops.checks import examine
from services.ops.printable import printable
from services.ops.settings import OpsSettings
from services.runtime.settings import read

_COLOURS: Final = {
    Verdict.OK: typer.colors.GREEN,
    Verdict.WARNING: typer.colors.YELLOW,
    Verdict.FAILED: typer.colors.RED,
    Verdict.SKIPPED: typer.colors.BRIGHT_BLACK,
}


def doctor(*, json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check settings, Kafka, topics, workers, the secret, the API key and the clock.

    Changes nothing and costs nothing. Exits with 1 when something has to be done.
    """
    settings = read(OpsSettings)
    checks = asyncio.run(_run(settings, quiet=json_))
    if json_:
        typer.echo(json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=1))
    if any(check.verdict is Verdict.FAILED for check in checks):
        raise typer.Exit(1)


async def _run(settings: OpsSettings, *, quiet: bool) -> list[Check]:
    checks = []
    async for check in examine(settings):
        checks.append(check)
        if not quiet:
            _show(check)
    return checks


def _show(check: Check) -> None:
    verdict = typer.style(f"{check.verdict:<8}", fg=_COLOURS[check.verdict], bold=True)
    typer.echo(f"{verdict} {check.name:<13} {printable(check.found)}")
    if check.remedy:
        typer.echo(f"{'':<8} {'':<13} → {printable(check.remedy)}")
