"""Writes `schemas/` and `catalogue.json`: `python -m sluice_contracts.generate [--check] [folder]`.

With `--check` nothing is written, and a difference is exit code 1. With `--release` it also writes
`baseline/v1.json`: what is released, and what no later version of v1 may break.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sluice_contracts.schemas import event_schemas
from sluice_contracts.topics import CATALOGUE

_CONTRACTS: Final = Path(__file__).parents[1]


def files() -> dict[str, str]:
    """Return the text of every generated file by its path in the folder."""
    texts = {f"schemas/{name}.json": _json(schema) for name, schema in event_schemas().items()}
    texts["catalogue.json"] = _json([topic.model_dump(mode="json") for topic in CATALOGUE])
    return texts


def baseline() -> str:
    """Return what a release promises: each event's schema, and what each topic carries."""
    carried = {topic.name: topic.events for topic in CATALOGUE}
    return _json({"schemas": event_schemas(), "topics": carried})


def write(folder: Path, texts: Mapping[str, str], *, generated: str, check: bool) -> list[str]:
    """Bring the files of a folder in line and return the paths that were not.

    Args:
        folder: Where the paths begin.
        texts: Every file that should be there.
        generated: A pattern of paths that hold nothing but generated files; others go.
        check: Only compare.
    """
    stale = [path for path, text in texts.items() if _read(folder / path) != text]
    orphans = {str(path.relative_to(folder)) for path in folder.glob(generated)} - set(texts)
    if not check:
        for path in stale:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(texts[path], encoding="utf-8")
        for path in orphans:
            (folder / path).unlink()
    return sorted({*stale, *orphans})


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m sluice_contracts.generate")
    parser.add_argument("folder", nargs="?", type=Path, default=_CONTRACTS)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    parser.add_argument("--release", action="store_true", help="also write the baseline")
    options = parser.parse_args(arguments)
    texts = files() | ({"baseline/v1.json": baseline()} if options.release else {})
    changed = write(options.folder, texts, generated="schemas/*.json", check=options.check)
    return report(changed, check=options.check)


def report(changed: list[str], *, check: bool) -> int:
    """Print what was not in line and return the exit code."""
    for path in changed:
        sys.stdout.write(f"{path}: {'stale; run make generate' if check else 'written'}\n")
    return 1 if check and changed else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
