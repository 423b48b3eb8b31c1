"""Starts `sluice`: exit code 0 on success, 1 on a failure that is explained, 2 on wrong usage."""

import logging
import sys
from typing import Final

from services.ops.printable import printable
from services.runtime.failure import explain

_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line."""
    # Libraries would write to the terminal between the command's own lines; a room that is started
    # from here sets up its own logging.
    logging.getLogger().addHandler(logging.NullHandler())
    from services.ops.cli import app  # noqa: PLC0415 -- `explain` stays when an import fails

    try:
        app(prog_name="sluice")
    except Exception as exc:
        said = explain(exc)
        if said is None:
            raise
        print(f"error: {printable(said, lines=True)}", file=sys.stderr)  # noqa: T201 -- a command's answer
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
