"""What the headers of an answer say about the limits; parsing only, nothing is believed here.

Traps (recorded from the API): `retry-after` stands on some answers with status 200 and means
nothing there; token counts are rounded to thousands; a 429 may show full buckets; a reset may lie
in 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from services.worker.throttle.buckets import Amounts, Measure

_NAMES: Final = {
    Measure.REQUESTS: "anthropic-ratelimit-requests-",
    Measure.INPUT: "anthropic-ratelimit-input-tokens-",
    Measure.OUTPUT: "anthropic-ratelimit-output-tokens-",
}
_LIMIT: Final = tuple(name + "limit" for name in _NAMES.values())
_REMAINING: Final = tuple(name + "remaining" for name in _NAMES.values())
_RESET: Final = tuple(name + "reset" for name in _NAMES.values())
RETRY_AFTER: Final = "retry-after"


@dataclass(frozen=True, slots=True)
class Reading:
    """The rate-limit headers of one answer, requests, input and output tokens in this order."""

    date: float | None
    """When the API answered, in seconds; None where it does not say."""
    limits: Amounts
    """Per minute."""
    remaining: Amounts
    reset_in: Amounts
    """Seconds until a bucket is full again; 0 where the header is absent or not credible."""


def read(headers: Mapping[str, str]) -> Reading | None:
    """Return what the headers say, or None where they do not show all three limits."""
    limits = _numbers(headers, _LIMIT)
    remaining = _numbers(headers, _REMAINING)
    if limits is None or remaining is None or min(limits) <= 0:
        return None
    date = _date(headers.get("date"))
    resets = Amounts()
    if date is not None and min(remaining) <= 0:  # else nobody asks, and parsing costs
        resets = Amounts(*(_seconds_from(date, headers.get(name)) for name in _RESET))
    return Reading(date, limits, remaining, resets)


def _numbers(headers: Mapping[str, str], names: tuple[str, ...]) -> Amounts | None:
    try:
        return Amounts(*(float(headers[name]) for name in names))
    except (KeyError, ValueError):
        return None


@lru_cache(maxsize=8)
def _date(text: str | None) -> float | None:
    """Read an HTTP date; the answers of one second all carry the same."""
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def _seconds_from(date: float, reset: str | None) -> float:
    if reset is None:
        return 0.0
    try:
        at = datetime.fromisoformat(reset)
    except ValueError:
        return 0.0
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - date)
