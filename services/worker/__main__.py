"""Starts the worker: `python -m services.worker`."""

import os

import uvloop

from services.runtime.collector import settle
from services.runtime.failure import in_one_line
from services.runtime.logging import configure
from services.runtime.settings import read
from services.worker.app import build
from services.worker.connection import refuse_environment
from services.worker.settings import WorkerSettings


def main() -> None:
    """Read settings, build, run."""
    with in_one_line():
        refuse_environment(os.environ)
        settings = read(WorkerSettings)
        configure(settings.log, settings.environment, room="worker")
        uvloop.run(_run(settings))


async def _run(settings: WorkerSettings) -> None:
    async with build(settings) as app:
        settle()
        await app.run()


if __name__ == "__main__":
    main()
