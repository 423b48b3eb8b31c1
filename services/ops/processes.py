"""`sluice worker | relay | simulator`: the same as `python -m services.<room>`.

Rooms never import each other, so these run the room's module in place of this one.
"""

import runpy
import sys
from importlib.util import find_spec
from typing import Annotated, NoReturn

import typer

from services.ops.failure import CommandFailed

Arguments = Annotated[list[str] | None, typer.Argument(help="Passed on to the program.")]


def worker() -> None:
    """Run the worker: requests to outcomes, until SIGTERM. Configured by the environment."""
    _become("services.worker", [])


def relay() -> None:
    """Run the relay: puts delayed retries back when they are due, until SIGTERM."""
    _become("services.relay", [])


def simulator(*, arguments: Arguments = None) -> None:
    """Run the stand-in for the Claude API; `sluice simulator -- --help` lists its options."""
    if find_spec("services.simulator") is None:
        raise CommandFailed(
            "the simulator is not part of an installed sluice; run it from a checkout"
        )
    _become("services.simulator", arguments or [])


def _become(module: str, arguments: list[str]) -> NoReturn:
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)
