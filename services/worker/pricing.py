"""What calls cost: a row for each model and the day its price began, in USD a million tokens.

Prices are stored, not computed from each other: bands and cache multiples differ by model. Written
from the published pricing page as of 2026-11; a change of price is a new row, never an edit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from sluice_contracts import TokenUsage

_MILLION: Final = Decimal(1_000_000)
_US_ONLY: Final = Decimal("1.1")
_UNBILLED_REFUSALS: Final = frozenset({"cyber", "general_harms"})


@dataclass(frozen=True, slots=True)
class Price:
    """A row: what a million tokens of each kind cost from a day on."""

    model: str
    since: date
    input: Decimal
    output: Decimal
    write_5m: Decimal
    write_1h: Decimal
    read: Decimal
    above: int = 0
    """Holds for calls whose whole prompt, cache reads included, has more tokens than this."""
    speed: str = "standard"

    @property
    def name(self) -> str:
        """Name the row, as it stands on results."""
        band = f">{self.above}" if self.above else ""
        fast = f"/{self.speed}" if self.speed != "standard" else ""
        return f"{self.model}{fast}@{self.since.isoformat()}{band}"


def _row(model: str, since: str, prices: str, *, above: int = 0, speed: str = "standard") -> Price:
    into, out, write_5m, write_1h, read = (Decimal(value) for value in prices.split())
    begins = date.fromisoformat(since)
    return Price(model, begins, into, out, write_5m, write_1h, read, above, speed)


#                                                     input output write_5m write_1h read
PRICES: Final = (
    _row("claude-haiku-5-5", "2026-10-07", "0.10 0.50 0.125 0.20 0.01"),
    _row("claude-haiku-5-5", "2026-10-07", "0.50 2.50 0.625 1.00 0.05", above=100_000),
    _row("claude-sonnet-5-5", "2026-09-28", "2 10 2.50 4 0.20"),
    _row("claude-sonnet-5-5", "2026-10-07", "2 10 2.50 4 0.10"),
    _row("claude-opus-5-5", "2026-09-22", "4 20 5 8 0.20"),
    _row("claude-opus-5-5", "2026-10-15", "8 40 10 16 0.40", speed="fast"),
    _row("claude-fable-5-2", "2026-11-09", "8 40 10 16 0.20"),
    _row("claude-fable-5-1", "2026-09-01", "10 50 12.50 20 0.25"),
    _row("claude-opus-5", "2026-07-24", "5 25 6.25 10 0.50"),
    _row("claude-sonnet-5", "2026-06-30", "2 10 2.50 4 0.20"),
    _row("claude-opus-4-8", "2026-01-01", "5 25 6.25 10 0.50"),
    _row("claude-opus-4-7", "2026-01-01", "5 25 6.25 10 0.50"),
    _row("claude-opus-4-6", "2026-01-01", "5 25 6.25 10 0.50"),
    _row("claude-opus-4-5", "2026-01-01", "5 25 6.25 10 0.50"),
    _row("claude-sonnet-4-6", "2026-01-01", "3 15 3.75 6 0.30"),
    _row("claude-sonnet-4-5", "2026-01-01", "3 15 3.75 6 0.30"),
    _row("claude-haiku-4-5", "2026-01-01", "1 5 1.25 2 0.10"),
)


def price(model: str, usage: Mapping[str, Any], day: date) -> Price | None:
    """Return the row for a call on a day, or None where no row covers it."""
    whole = sum(
        usage.get(kind) or 0
        for kind in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    speed = usage.get("speed") or "standard"
    rows = [
        row
        for row in PRICES
        if row.model == model and row.since <= day and row.above < max(whole, 1)
        and row.speed == speed
    ]  # fmt: skip
    return max(rows, key=lambda row: (row.since, row.above), default=None)


def cost(
    model: str, usage: Mapping[str, Any], day: date, *, refused_as: str | None = None
) -> tuple[Decimal, str]:
    """Return what a call cost and the row that says so.

    Args:
        model: The model that answered.
        usage: The answer's `usage`, as the API gave it.
        day: The day of the call, UTC.
        refused_as: The category of a refusal before any output; some are not billed.
    """
    row = price(model, usage, day)
    if row is None:
        return Decimal(0), f"unknown:{model}"
    if refused_as in _UNBILLED_REFUSALS:
        return Decimal(0), f"{row.name}/refused"
    written = usage.get("cache_creation_input_tokens") or 0
    long_lived = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    amount = (
        row.input * (usage.get("input_tokens") or 0)
        + row.output * (usage.get("output_tokens") or 0)
        + row.read * (usage.get("cache_read_input_tokens") or 0)
        + row.write_1h * long_lived
        + row.write_5m * (written - long_lived)
    ) / _MILLION
    if usage.get("inference_geo") == "us":
        return amount * _US_ONLY, f"{row.name}/us"
    return amount, row.name


def tokens(usage: Mapping[str, Any]) -> TokenUsage:
    """Read the contract's token counts from an answer's `usage`."""
    return TokenUsage(
        input_tokens=usage.get("input_tokens") or 0,
        output_tokens=usage.get("output_tokens") or 0,
        cache_read_input_tokens=usage.get("cache_read_input_tokens") or 0,
        cache_creation_input_tokens=usage.get("cache_creation_input_tokens") or 0,
    )
