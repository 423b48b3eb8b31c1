"""Reads the rows of a file, and says which column becomes which part of a request."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.ops.failure import CommandFailed
from sluice_contracts.topics import REQUEST_BYTES

_BEYOND: Final = "\0beyond the header"
"""Where the reader of tables puts cells for which there is no column."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """How a row's columns become a request.

    Attributes:
        variables: Prompt variable to column; empty: every column of a CSV is a variable.
        fields: Request field (or `tier`, `key`, `message`) to column.
        id_column: The column with the request id; None derives it.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    id_column: str | None = None


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of a CSV, TSV or JSON-lines file, one at a time.

    Raises:
        CommandFailed: The file cannot be read, or a line is not what its kind says.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".tsv", ".jsonl", ".ndjson"}:
        raise CommandFailed(f"{path} is none of .csv, .tsv, .jsonl, .ndjson; convert or rename it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if kind in {".csv", ".tsv"}:
                csv.field_size_limit(REQUEST_BYTES)
                yield from csv.DictReader(
                    lines, restkey=_BEYOND, delimiter="\t" if kind == ".tsv" else ","
                )
                return
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _json_object(path, number, line)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise CommandFailed(f"cannot read {path}: {exc}") from exc


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as exc:
        raise CommandFailed(f"{path} line {number} is not JSON: {exc.msg}") from None
    if not isinstance(row, dict):
        raise CommandFailed(f"{path} line {number} is a {type(row).__name__}; write an object")
    return row


def body_of_row(row: Mapping[str, Any], mapped: Mapped, *, is_table: bool) -> dict[str, Any]:
    """Turn a row into the fields of a request, without the flags.

    A JSON row without any mapping is the request itself; a CSV row without one fills the prompt's
    variables by the names of its columns.

    Raises:
        CommandFailed: A mapped column is not in the row, or the row has more cells than columns.
    """
    if is_table and (beyond := row.get(_BEYOND)):
        columns = len(row) - 1
        raise CommandFailed(
            f"it has {columns + len(beyond)} cells and the header {columns}; quote cells that hold "
            "the separator"
        )
    body: dict[str, Any] = {}
    if is_table and not mapped.variables:
        taken = {mapped.id_column, *mapped.fields.values()}
        body["variables"] = {name: text for name, text in row.items() if name and name not in taken}
    elif not is_table and not mapped.variables and not mapped.fields:
        body.update(row)
    elif mapped.variables:
        body["variables"] = {name: _cell(row, col) for name, col in mapped.variables.items()}
    for name, column in mapped.fields.items():
        cell = _cell(row, column)
        if cell not in (None, ""):  # an empty cell says nothing, the default counts
            body[name] = cell
    if mapped.id_column is not None:
        body["request_id"] = str(_cell(row, mapped.id_column))
    return body


def _cell(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise CommandFailed(
            f"there is no column {column!r}; there are: {', '.join(str(name) for name in row)}"
        )
    return row[column]
