"""`sluice demo`: the whole system on this machine, from nothing to checked results in a minute."""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import typer
from rich.console import Console

from services.ops.demo.course import run
from services.ops.demo.view import View
from services.ops.failure import CommandFailed
from services.ops.local import keeping
from services.ops.local.mock import WARNING
from services.ops.local.stack import Stack, StackPlan

_LIVE: Final = "CLAUDE"
_KEY: Final = "ANTHROPIC_API_KEY"
_LATENCY: Final = ("--latency.scale", "0.4")
"""Answers come faster than the API's, so that the demo ends within a minute."""


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running and say how to use it.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop what --keep left running.")] = False,
) -> None:
    """Run the whole system once and check that every request has exactly one outcome.

    With CLAUDE=live and ANTHROPIC_API_KEY a handful of requests go to the real API, and cost.
    """
    if stop:
        typer.echo("stopped" if keeping.stop() else "nothing is up")
        return
    if keep:
        typer.echo(how_to_use(keeping.keep()))
        return
    console = Console()
    # Elsewhere than on a terminal rich assumes 80 columns and would break the table's lines.
    view = View(console if console.is_terminal else Console(width=120))
    if not asyncio.run(_demo(view, _plan())):
        raise typer.Exit(1)


def _plan() -> StackPlan:
    servers = os.environ.get("KAFKA__BOOTSTRAP_SERVERS")
    # Taken out, because settings would read it as the block of that name.
    mode = os.environ.pop(_LIVE, "simulator")
    if mode not in ("live", "simulator"):
        raise CommandFailed(f"CLAUDE={mode} is neither 'live' nor 'simulator'")
    key = os.environ.get(_KEY) if mode == "live" else None
    if mode == "live" and not key:
        raise CommandFailed(f"CLAUDE=live calls the real API and needs its key; set {_KEY}")
    return StackPlan(
        bootstrap_servers=servers,
        # On somebody's cluster the demo keeps to topics of its own.
        topic_prefix=f"demo-{uuid4().hex[:8]}." if servers else "",
        poll_interval=1.0,
        simulator_arguments=_LATENCY,
        live_key=key,
        may_mock_kafka=True,
    )


async def _demo(view: View, plan: StackPlan) -> bool:
    async with Stack.running(plan, report=lambda what: view.say(f"starting {what}")) as stack:
        view.say(f"ready; logs in {stack.run.logs}")
        if stack.is_mock:
            view.warn(WARNING)
        first = None if plan.live_key else stack.keys.key_id
        with view.progress() as shown:
            result = await run(stack, view.say, shown.show)
        view.table(result, revoked=first)
        if stack.is_mock:
            view.warn(WARNING)
        return view.verdict(result) and result.is_complete


def how_to_use(state: Mapping[str, Any]) -> str:
    """Say how to submit to a stack that is up."""
    variables = " ".join(f"{name}={value}" for name, value in state["environment"].items() if value)
    if shutil.which("sluice") is None:
        variables = f'PATH="{Path(sys.executable).parent}:$PATH" {variables}'
    probes = ", ".join(f"{name} {url}/metrics" for name, url in state["probes"].items())
    return f"""\
Sluice is up. In this directory:

  export {variables}
  sluice submit --tier haiku --prompt ticket-triage --var text="My card was swallowed" --wait
  sluice tail

metrics  {probes}
logs     {state["logs"]}
stop     sluice demo --stop"""
