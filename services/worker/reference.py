"""`docs/reference/errors.md`: `python -m services.worker.reference [--check]`.

The tables of `api_errors.py` and `causes.py` as a page, when a failed attempt comes back, and which
row each error that the installed SDK has a name for falls to: an upgrade that brings a new one
changes the page.
"""

import argparse
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

from services.worker.api_errors import TABLE, Fault, Row, row_of
from services.worker.causes import OWN, RETRY
from services.worker.claude import KNOWN_ERRORS, OTHER_ERRORS, wire_of
from services.worker.retries import ceiling
from services.worker.settings import RetrySettings
from sluice_contracts import RetryDelay
from sluice_contracts.generate import report, write

_REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference"
_INTRO: Final = """\
<!-- Written by `make generate`; do not edit. -->

# Errors

What becomes of a request when something goes wrong. The first row that fits decides. *Stop the
tier* closes its gate: no record is spent, and a canary call opens it again; a request that fails so
while canaries pass becomes a dead letter.

## Calls
"""
_SCHEDULE: Final = """\
## When a failed attempt comes back

Each backoff may be longer than the one before; by default (`RETRY__…`):

{table}

A wait in memory is drawn between nothing and its longest, so that calls which failed together do
not come back together; one on a topic is as long as the topic's delay. So a failure that passes is
retried for {patience} minutes at least before it becomes a dead letter. `retry-after` is a floor:
the relay puts nothing back before it, and being told to wait is no attempt. A request with a
deadline rests for less where that lets it come back in time. After `RETRY__MAX_AGE` since the first
failure the next one is final.
"""
_RELAY: Final = """\
The relay gives up a record that its request topic refuses for good (`request_too_large`), that was
in its hands at several crashes (`internal_error`), or on which no worker wrote where it came from
(`invalid_event`).
"""


def errors_page() -> str:
    """Return the page."""
    calls = _table(
        ("row", "when", "then", "failure code", "delay", "an attempt", "group waits", "paid"),
        ((row.name, *_cells(row)) for row in TABLE),
    )
    own = _table(
        ("stage", "when", "then", "failure code", "delay"),
        ((row.stage, row.when, row.then, f"`{row.code}`", row.delay) for row in OWN),
    )
    known = _table(
        ("status", "code", "SDK class", "row"),
        (
            (str(status), f"`{code}`" if code else "", f"`{name}`", _falls_to(status, code))
            for (status, code), name in sorted(KNOWN_ERRORS.items(), key=str)
        ),
    )
    others = _table(
        ("SDK class", "row"),
        sorted((f"`{cls.__name__}`", _row_of(cls)) for cls in OTHER_ERRORS),
    )
    return (
        f"{_INTRO}\n{calls}\n\n{_schedule()}\n## Our own stages\n\n{own}\n\n{_RELAY}\n"
        "## What the installed SDK can raise\n\n"
        f"Without headers or a message that says more.\n\n{known}\n\n"
        f"And without an answer of the API:\n\n{others}\n"
    )


def _schedule() -> str:
    settings = RetrySettings()
    waits = [ceiling(attempt, settings) for attempt in range(1, settings.max_attempts)]
    rests = [_rest(seconds, settings) for seconds in waits]
    patience = sum((rest.duration for rest in rests if rest is not None), timedelta())
    table = _table(
        ("after attempt", "the next comes"),
        (
            (str(attempt), f"within {seconds:g} s" if rest is None else f"after {rest}, on a topic")
            for attempt, (seconds, rest) in enumerate(zip(waits, rests, strict=True), start=1)
        ),
    )
    return _SCHEDULE.format(table=table, patience=int(patience.total_seconds() // 60))


def _rest(seconds: float, settings: RetrySettings) -> RetryDelay | None:
    wait = timedelta(seconds=seconds)
    return None if wait <= settings.park_limit else RetryDelay.nearest(wait)


def _cells(row: Row) -> tuple[str, ...]:
    is_retry = row.then is RETRY
    return (
        row.when,
        row.then,
        f"`{row.code}`",
        row.delay,
        ("yes" if row.counts else "no") if is_retry else "",
        row.hold or "",
        "possibly" if row.possibly_paid else "no",
    )


def _falls_to(status: int, code: str | None) -> str:
    return row_of(Fault(status=status, code=code)).name


def _row_of(cls: type[Exception]) -> str:
    return row_of(Fault(wire=wire_of(cls.__new__(cls)))).name


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m services.worker.reference")
    parser.add_argument("folder", nargs="?", type=Path, default=_REFERENCE)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    options = parser.parse_args(arguments)
    texts = {"errors.md": errors_page()}
    changed = write(options.folder, texts, generated="errors.*", check=options.check)
    return report([f"docs/reference/{path}" for path in changed], check=options.check)


if __name__ == "__main__":
    sys.exit(main())
