"""Every set of offsets survives its encoding, and the largest one fits."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from services.runtime.engine import offset_map
from services.runtime.engine.limits import MOST_INCOMPLETE, WIDEST_WINDOW
from services.runtime.engine.offset_map import Corrupt

_LARGEST = 2165 + 1


@st.composite
def _offsets(draw: st.DrawFn) -> list[int]:
    """Draw offsets from 0 on, dense or sparse."""
    window = draw(st.sampled_from([10, 300, 70_000, WIDEST_WINDOW]))
    rest = draw(st.sets(st.integers(1, window - 1), max_size=200))
    return sorted({0, *rest})


@given(_offsets())
def test_offsets_are_what_was_encoded(offsets: list[int]) -> None:
    """Decoding gives back the very offsets."""
    assert tuple(offsets) == offset_map.decode(offset_map.encode(offsets), len(offsets))


def test_no_offsets_are_no_offsets() -> None:
    """An empty map is one byte."""
    assert () == offset_map.decode(offset_map.encode([]), 0)


@pytest.mark.parametrize("shape", ["even", "random", "ends", "clusters", "dense"])
def test_the_largest_map_fits(shape: str) -> None:
    """As many offsets as a lane may hold, in the widest window, take the bytes planned for them."""
    chance = random.Random(7)
    n, window = MOST_INCOMPLETE, WIDEST_WINDOW
    offsets = {
        "even": [window * i // n for i in range(n)],
        "random": sorted({0, window - 1, *chance.sample(range(1, window - 1), n - 2)}),
        "ends": [*range(n // 2), *range(window - n // 2, window)],
        "clusters": [c * (window // 12) + 2 * i for c in range(12) for i in range(n // 12)],
        "dense": list(range(n)),
    }[shape]
    encoded = offset_map.encode(offsets)
    assert tuple(offsets) == offset_map.decode(encoded, len(offsets))
    assert len(encoded) <= _LARGEST


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 2000))
def test_garbage_is_refused_or_read_within_bounds(data: bytes, count: int) -> None:
    """No bytes make the decoder raise anything but `Corrupt`."""
    try:
        found = offset_map.decode(data, count)
    except Corrupt:
        return
    assert len(found) == count
    assert list(found) == sorted(set(found))


@given(_offsets(), st.data())
def test_a_map_that_was_cut_is_refused_or_shorter(offsets: list[int], data: st.DataObject) -> None:
    """What is missing is not made up."""
    encoded = offset_map.encode(offsets)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    try:
        found = offset_map.decode(cut, len(offsets))
    except Corrupt:
        return
    assert len(found) == len(offsets)
