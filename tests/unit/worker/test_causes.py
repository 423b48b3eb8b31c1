"""The table of our own errors is the only place that makes them."""

import ast
from pathlib import Path

import pytest

import services.worker
from services.worker.causes import DEAD, OWN, RETRY, STOP, Cause
from services.worker.errors import FatalError, PermanentError, SluiceError, TransientError
from sluice_contracts import FailureCode

WORKER = Path(services.worker.__file__ or "").parent
MADE_BY_THE_TABLE = {"PermanentError", "TransientError", "FatalError", "SluiceError"}


def test_nothing_else_makes_an_error() -> None:
    """An error that is in no table would be in no documentation."""
    makers = {
        path.name
        for path in WORKER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in MADE_BY_THE_TABLE
    }
    assert {"causes.py"} == makers


def test_every_cause_is_raised_somewhere() -> None:
    """A row that nothing refers to describes nothing."""
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path in WORKER.rglob("*.py")
        if path.name != "causes.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    rows = vars(services.worker.causes)
    assert [] == [
        name for name, row in rows.items() if isinstance(row, Cause) and name not in names
    ]
    assert len(OWN) == len({(row.stage, row.when) for row in OWN})


@pytest.mark.parametrize(
    ("then", "kind"), [(DEAD, PermanentError), (RETRY, TransientError), (STOP, FatalError)]
)
def test_the_disposition_is_the_kind_of_error(then: object, kind: type[SluiceError]) -> None:
    """What becomes of the record is decided by its type alone."""
    cause = Cause(stage="call", when="it fails", then=then, code=FailureCode.REFUSED)  # type: ignore[arg-type]  # a parameter
    error = cause.error("it failed", quoted="words", rule="row")
    assert (kind, FailureCode.REFUSED, "it failed", "words", "row") == (
        type(error),
        error.code,
        error.detail,
        error.quoted,
        error.rule,
    )
