"""The generated page about errors."""

from services.worker.api_errors import TABLE
from services.worker.reference import errors_page, main
from sluice_contracts import FailureCode


def test_the_page_is_current() -> None:
    """`make generate` would change nothing; an SDK with another error fails here."""
    assert 0 == main(["--check"])


def test_every_row_and_every_failure_code_is_on_the_page() -> None:
    """Nothing that can happen is left out."""
    page = errors_page()
    assert [] == [row.name for row in TABLE if f"| {row.name} |" not in page]
    assert [] == [code for code in FailureCode if f"`{code}`" not in page]
