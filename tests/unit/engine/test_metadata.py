"""A commit's metadata says what was put in, fits the broker, and is refused where in doubt."""

import random
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.runtime.engine import metadata
from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.limits import MOST_INCOMPLETE, MOST_METADATA, WIDEST_WINDOW
from services.runtime.engine.metadata import (
    MOST_SUSPECTS,
    BadMetadata,
    Mode,
    Progress,
    decode,
    encode,
    identity,
)
from services.runtime.engine.ports import Committed, Partition

PLACE = identity("group", Partition("topic", 3))


@st.composite
def _progress(draw: st.DrawFn) -> Progress:
    offset = draw(st.integers(0, 2**62))
    rest = draw(st.sets(st.integers(1, 5000), max_size=50))
    incomplete = tuple(offset + each for each in sorted({0, *rest}))
    if draw(st.booleans()):
        snapshot = Snapshot(offset, offset, ())
    else:
        snapshot = Snapshot(offset, incomplete[-1] + 1 + draw(st.integers(0, 9)), incomplete)
    numbers = st.lists(st.integers(0, 7), max_size=len(snapshot.incomplete))
    return Progress(
        snapshot=snapshot,
        owner=draw(st.binary(min_size=8, max_size=8)),
        sequence=draw(st.integers(0, 2**32 - 1)),
        clean=draw(st.booleans()),
        mode=draw(st.sampled_from(list(Mode))),
        boundary=offset + draw(st.integers(0, 6000)),
        attempts=_nonzero(snapshot, draw(numbers)),
        levels=_nonzero(snapshot, draw(numbers)),
    )


def _nonzero(snapshot: Snapshot, numbers: list[int]) -> dict[int, int]:
    return {offset: n for offset, n in zip(snapshot.incomplete, numbers, strict=False) if n}


@given(_progress())
def test_progress_is_what_was_committed(progress: Progress) -> None:
    """Decoding gives back all of it."""
    assert progress == decode(encode(progress, PLACE), PLACE)


def _fullest() -> Progress:
    chance = random.Random(3)
    n, window = MOST_INCOMPLETE, WIDEST_WINDOW
    offset = 2**62
    relative = sorted({0, window - 1, *chance.sample(range(1, window - 1), n - 2)})
    incomplete = tuple(offset + each for each in relative)
    return Progress(
        snapshot=Snapshot(offset, offset + window, incomplete),
        owner=b"\xff" * 8,
        sequence=2**32 - 1,
        mode=Mode.TRIAL,
        boundary=offset + window,
        attempts=dict.fromkeys(incomplete, 7),
        levels=dict.fromkeys(incomplete[-MOST_SUSPECTS:], 7),
    )


def test_the_fullest_progress_fits_the_brokers_default() -> None:
    """No commit can be refused for its size."""
    committed = encode(_fullest(), PLACE)
    assert len(committed.metadata) <= MOST_METADATA
    assert committed.metadata.isascii()
    assert _fullest() == decode(committed, PLACE)


def test_an_offset_without_metadata_is_an_operators_reset() -> None:
    """Nothing is suspected and nothing above it is complete."""
    found = decode(Committed(42, ""), PLACE)
    assert found.snapshot == Snapshot(42, 42, ())
    assert found.clean


_GOOD = encode(
    Progress(Snapshot(10, 20, (10, 13)), owner=b"o" * 8, sequence=1, attempts={13: 2}), PLACE
)


@pytest.mark.parametrize(
    "committed",
    [
        _GOOD._replace(offset=11),
        _GOOD._replace(metadata=_GOOD.metadata[:-4]),
        _GOOD._replace(metadata=_GOOD.metadata + "AAAA"),
        _GOOD._replace(metadata="K1"),
        _GOOD._replace(metadata="K1!!!!"),
        _GOOD._replace(metadata="K2" + _GOOD.metadata[2:]),
        _GOOD._replace(metadata="offset metadata of another tool"),
        encode(Progress(Snapshot(10, 20, (10, 13))), identity("other", Partition("topic", 3))),
        encode(Progress(Snapshot(10, 20, (10, 13))), identity("group", Partition("topic", 4))),
    ],
)
def test_metadata_in_doubt_is_refused(committed: Committed) -> None:
    """Nothing is guessed from another offset, group or partition, nor from half a text."""
    with pytest.raises(BadMetadata):
        decode(committed, PLACE)


@given(st.integers(0, len(_GOOD.metadata) - 3), st.characters(codec="ascii"))
def test_a_changed_character_is_noticed(at: int, character: str) -> None:
    """The checksum covers everything."""
    text = _GOOD.metadata[: 2 + at] + character + _GOOD.metadata[3 + at :]
    try:
        found = decode(_GOOD._replace(metadata=text), PLACE)
    except BadMetadata:
        return
    assert found == decode(_GOOD, PLACE)


def test_attempts_of_what_is_complete_are_not_written() -> None:
    """Only incomplete offsets carry attempts and levels."""
    progress = Progress(Snapshot(10, 20, (10,)), attempts={10: 1, 11: 3}, levels={12: 2})
    found = decode(encode(progress, PLACE), PLACE)
    assert found == replace(progress, attempts={10: 1}, levels={}, boundary=10)


def test_more_attempts_than_fit_are_the_most() -> None:
    """Attempts saturate at 7."""
    progress = Progress(Snapshot(10, 11, (10,)), attempts={10: 12})
    assert {10: metadata.MOST_ATTEMPTS} == decode(encode(progress, PLACE), PLACE).attempts
