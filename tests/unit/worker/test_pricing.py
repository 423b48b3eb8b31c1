"""What calls cost."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.worker.pricing import PRICES, cost

DAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("model", "usage", "day", "amount", "row"),
    [
        ("claude-haiku-5-5", {"input_tokens": 100_000, "output_tokens": 1_000}, DAY,
         "0.0105", "claude-haiku-5-5@2026-10-07"),
        ("claude-haiku-5-5", {"input_tokens": 100_001, "output_tokens": 1_000}, DAY,
         "0.0525005", "claude-haiku-5-5@2026-10-07>100000"),
        ("claude-haiku-5-5", {"input_tokens": 1, "cache_read_input_tokens": 100_000}, DAY,
         "0.0050005", "claude-haiku-5-5@2026-10-07>100000"),
        ("claude-sonnet-5-5", {"cache_read_input_tokens": 1_000_000}, date(2026, 10, 6),
         "0.20", "claude-sonnet-5-5@2026-09-28"),
        ("claude-sonnet-5-5", {"cache_read_input_tokens": 1_000_000}, date(2026, 10, 7),
         "0.10", "claude-sonnet-5-5@2026-10-07"),
        ("claude-opus-5-5", {"cache_creation_input_tokens": 1_000_000,
         "cache_creation": {"ephemeral_1h_input_tokens": 400_000}}, DAY,
         "6.2", "claude-opus-5-5@2026-09-22"),
        ("claude-opus-5-5", {"output_tokens": 1_000_000, "inference_geo": "us"}, DAY,
         "22", "claude-opus-5-5@2026-09-22/us"),
        ("claude-opus-5-5", {"output_tokens": 1_000_000, "speed": "fast"}, DAY,
         "40", "claude-opus-5-5/fast@2026-10-15"),
        ("claude-next-9", {"output_tokens": 1}, DAY, "0", "unknown:claude-next-9"),
        ("claude-haiku-5-5", {"output_tokens": 1}, date(2026, 10, 6), "0",
         "unknown:claude-haiku-5-5"),
    ],
)  # fmt: skip
def test_a_call_is_priced_by_its_row(
    model: str, usage: dict[str, Any], day: date, amount: str, row: str
) -> None:
    """The row is that of the day, the band that of the whole prompt."""
    assert (Decimal(amount), row) == cost(model, usage, day)


@pytest.mark.parametrize(("category", "billed"), [("cyber", False), ("bio", True), (None, True)])
def test_some_refusals_before_any_output_are_free(category: str | None, *, billed: bool) -> None:
    """Only the categories that the pricing page names."""
    amount, _ = cost("claude-opus-5-5", {"input_tokens": 1_000}, DAY, refused_as=category)
    assert billed == (amount > 0)


def test_rows_have_names_of_their_own() -> None:
    """A result's `price_table` leads to exactly one row."""
    assert len(PRICES) == len({row.name for row in PRICES})
