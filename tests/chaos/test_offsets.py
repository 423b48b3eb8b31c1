"""The checker's own reader of offset maps, held against what the engine writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.engine import metadata
from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.metadata import Progress
from services.runtime.engine.ports import Partition
from tests.chaos.offsets import complete

_PLACE = metadata.identity("workers", Partition("requests", 0))


def _written(offset: int, end: int, incomplete: tuple[int, ...]) -> str:
    snapshot = Snapshot(offset, end, incomplete)
    return metadata.encode(
        Progress(snapshot, attempts=dict.fromkeys(incomplete, 3)), _PLACE
    ).metadata


@given(
    first=st.integers(0, 10**9),
    gaps=st.lists(st.integers(0, 40) | st.integers(0, 4000), max_size=200),
    after=st.integers(0, 100),
)
def test_every_map_is_read_as_it_was_meant(first: int, gaps: list[int], after: int) -> None:
    """Whatever code the engine chose, the complete offsets are those between the incomplete."""
    incomplete = [first]
    for gap in gaps:
        incomplete.append(incomplete[-1] + 1 + gap)
    end = incomplete[-1] + 1 + after

    found = complete(first, _written(first, end, tuple(incomplete)))

    assert set(range(first, end)) - set(incomplete) == found


def test_nothing_in_hand_leaves_nothing_above_the_offset() -> None:
    """A commit of an idle partition has an empty map."""
    assert frozenset() == complete(7, _written(7, 7, ()))


def test_an_offset_without_metadata_has_no_map() -> None:
    """Other tools that reset a group write none."""
    assert frozenset() == complete(7, "")


def test_what_no_engine_wrote_is_refused() -> None:
    """The checker does not guess."""
    with pytest.raises(ValueError, match="metadata begins with"):
        complete(7, "somebody else's")
