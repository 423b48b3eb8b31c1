"""`python -m services.ops.reference [--check]`: writes the pages; --check only compares."""

import argparse
import sys
from pathlib import Path
from typing import Final

from services.ops.reference.asyncapi import asyncapi
from services.ops.reference.commands import commands
from services.ops.reference.configuration import configuration
from services.ops.reference.measures import measures
from services.ops.reference.pages import failure_codes, headers, topics
from sluice_contracts.generate import report, write

_REFERENCE: Final = Path(__file__).parents[3] / "docs" / "reference"


def files() -> dict[str, str]:
    """Return the text of every page by its name in `docs/reference`."""
    return {
        "asyncapi.yaml": asyncapi(),
        "cli.md": commands(),
        "configuration.md": configuration(),
        "failure-codes.md": failure_codes(),
        "headers.md": headers(),
        "metrics.md": measures(),
        "topics.md": topics(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m services.ops.reference")
    parser.add_argument("folder", nargs="?", type=Path, default=_REFERENCE)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    options = parser.parse_args(arguments)
    # Other pages of the folder have other authors: nothing there is taken for an orphan.
    changed = write(options.folder, files(), generated="asyncapi.*", check=options.check)
    return report([f"docs/reference/{path}" for path in changed], check=options.check)


if __name__ == "__main__":
    sys.exit(main())
