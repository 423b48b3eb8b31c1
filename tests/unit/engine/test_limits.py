"""Limits that the offset map could not hold are refused."""

import pytest

from services.runtime.engine.limits import Limits


@pytest.mark.parametrize(
    "given",
    [{"incomplete": 0}, {"incomplete": 1537}, {"window": 1_000_001}, {"condemn_after": 8}],
)
def test_what_the_offset_map_cannot_hold_is_refused(given: dict[str, int]) -> None:
    """At start, not in the middle of a crash."""
    with pytest.raises(ValueError, match=r"is (0|1537|1000001|8);"):
        Limits(**given)  # type: ignore[arg-type]
