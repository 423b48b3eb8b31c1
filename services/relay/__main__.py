"""Starts the relay: `python -m services.relay`."""

import uvloop

from services.relay.app import build
from services.relay.settings import RelaySettings
from services.runtime.collector import settle
from services.runtime.failure import in_one_line
from services.runtime.logging import configure
from services.runtime.settings import read


def main() -> None:
    """Read settings, build, run."""
    with in_one_line():
        settings = read(RelaySettings)
        configure(settings.log, settings.environment, room="relay")
        relay = build(settings)
        settle()
        uvloop.run(relay.run())


if __name__ == "__main__":
    main()
