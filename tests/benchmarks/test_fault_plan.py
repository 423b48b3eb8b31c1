"""The plan of `make bench-retries` against the error table."""

from services.simulator.faults import Fault
from services.worker.api_errors import TABLE, Wire
from sluice_contracts import FailureCode
from tests.benchmarks.fault_plan import KINDS, cases


def test_every_row_of_the_error_table_is_met() -> None:
    """A new row needs a kind in the plan, unless the fault is the SDK's own."""
    met = {row.name for row in TABLE if row.wire not in (Wire.NO_CREDENTIALS, Wire.NOT_UNDERSTOOD)}
    assert met == {kind.row for kind in KINDS if kind.row}


def test_a_kind_that_ends_in_a_dead_letter_ends_as_its_row_says() -> None:
    """The plan expects the failure code of the table, not one of its own."""
    codes = {row.name: row.code for row in TABLE}
    planned = {k.row: k.ending for k in KINDS if k.row in codes and k.ending != "succeeded"}

    assert planned == {row: codes[row] for row in planned if row is not None}


def test_every_fault_is_one_that_the_simulator_knows() -> None:
    """And every ending is a failure code."""
    for case in cases(KINDS, 2):
        if case.fault is not None:
            Fault.model_validate(case.fault)
        assert case.kind.ending in {"succeeded", *FailureCode}


def test_no_mark_is_part_of_another() -> None:
    """A fault must not meet the requests of another kind."""
    marks = {case.mark for case in cases(KINDS, 12)}

    assert not [(a, b) for a in marks for b in marks if a != b and a in b]
