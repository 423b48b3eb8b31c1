"""Starts the simulator: `python -m services.simulator --port 0 --seed 1`."""

import asyncio
import gc
import json
import signal
import sys

import uvloop
from pydantic_settings import CliApp

from services.simulator.app import build
from services.simulator.settings import SimulatorSettings


async def serve(settings: SimulatorSettings) -> None:
    """Serve until a signal; say the port on standard output when ready."""
    simulator = build(settings)
    listener = await simulator.listen(settings.host, settings.port)
    stopped = asyncio.Event()
    # The log of calls only grows and nothing here is cyclic: looking for garbage in it is wasted.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    sys.stdout.write(json.dumps({"port": listener.port}) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await listener.close()
    simulator.state.ledger.close()


def main() -> None:
    """Read the settings and run."""
    settings = CliApp.run(SimulatorSettings)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
