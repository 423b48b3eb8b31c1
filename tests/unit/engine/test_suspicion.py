"""The poison guard, crash by crash: the culprit is found, the others are spared."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.metadata import MOST_SUSPECTS, Mode, Progress
from services.runtime.engine.suspicion import Suspicion


def _left(mode: Mode = Mode.NORMAL, *offsets: int, clean: bool = False, **rest: int) -> Progress:
    """What an owner leaves behind with these offsets incomplete."""
    snapshot = Snapshot(offsets[0], offsets[-1] + 1, offsets)
    return Progress(snapshot, mode=mode, clean=clean, **rest)  # type: ignore[arg-type]


def _suspicion(found: Progress | None) -> Suspicion:
    return Suspicion(found, sweep_over=100, condemn_after=3)


@pytest.mark.parametrize("found", [None, _left(Mode.NORMAL, 1, 2, clean=True)])
def test_a_fresh_partition_needs_one_commit_first(found: Progress | None) -> None:
    """Without it, an owner that dies at once would leave no trace."""
    suspicion = _suspicion(found)
    assert suspicion.mode is Mode.NORMAL
    assert suspicion.needs_intent
    suspicion.intend([1, 2])
    suspicion.begin(2)
    assert not suspicion.needs_intent
    assert not suspicion.levels


def test_a_crash_is_followed_by_a_sweep_that_ends() -> None:
    """All that the dead owner may have had in flight is swept, and nothing more."""
    suspicion = Suspicion(_left(Mode.NORMAL, 1, 2), sweep_over=3, condemn_after=3)
    modes = [suspicion.mode]
    for chosen in ([1, 2], [3]):
        assert suspicion.needs_intent
        assert list(suspicion.choose(chosen)) == chosen
        suspicion.intend(chosen)
        suspicion.begin(len(chosen))
        suspicion.lapse(())
        modes.append(suspicion.mode)
    assert modes == [Mode.SWEEP, Mode.SWEEP, Mode.NORMAL]
    assert not suspicion.needs_intent


def test_an_owner_that_lets_go_in_a_sweep_leaves_no_suspicion() -> None:
    """A hand-over is not a crash."""
    assert _suspicion(_left(Mode.SWEEP, 1, 2, clean=True)).mode is Mode.NORMAL


def test_a_crash_in_a_sweep_is_followed_by_a_trial_in_groups() -> None:
    """At most 64 are tried together; what was not in flight waits."""
    suspicion = _suspicion(_left(Mode.SWEEP, *range(100)))
    assert suspicion.mode is Mode.TRIAL
    chosen = list(suspicion.choose(range(150)))
    assert chosen == list(range(64))
    suspicion.intend(chosen)
    suspicion.begin(len(chosen))
    assert list(suspicion.choose(range(64, 150))) == []
    for offset in chosen:
        suspicion.clears(offset)
    assert list(suspicion.choose(range(64, 150))) == list(range(64, 100))


def test_the_most_suspect_are_tried_first_and_at_last_alone() -> None:
    """Groups shrink with every crash: 64, 8, one."""
    found = _left(Mode.TRIAL, *range(20), boundary=20)
    found = Progress(found.snapshot, mode=Mode.TRIAL, boundary=20, levels={7: 2, 8: 1, 9: 2})
    suspicion = _suspicion(found)
    assert list(suspicion.choose(range(20))) == [7]
    assert suspicion.is_lonely([7])
    suspicion.intend([7])
    suspicion.clears(7)
    assert list(suspicion.choose(range(8, 20))) == [9]
    suspicion.intend([9])
    suspicion.clears(9)
    assert list(suspicion.choose([8, *range(10, 20)])) == [8]
    assert not suspicion.is_lonely([8])


def test_levels_are_never_kept_of_more_than_fit() -> None:
    """While suspects of a higher level are parked, fewer new ones are tried."""
    found = _left(Mode.TRIAL, *range(200), boundary=200)
    found = Progress(
        found.snapshot, mode=Mode.TRIAL, boundary=200, levels=dict.fromkeys(range(60), 1)
    )
    suspicion = _suspicion(found)
    chosen = suspicion.choose(range(60, 200))
    assert len(chosen) == 4
    suspicion.intend(chosen)
    assert len(suspicion.levels) == MOST_SUSPECTS


def test_a_parked_record_leaves_the_trial_as_suspect_as_before() -> None:
    """A crash while it is parked is none of its doing, and the log must say so."""
    suspicion = _suspicion(_left(Mode.SWEEP, *range(20)))
    suspicion.intend([3, 4])
    assert suspicion.levels == {3: 1, 4: 1}
    suspicion.rests(3)
    assert suspicion.levels == {4: 1}
    assert suspicion.is_stale


def test_who_survives_a_hand_over_is_as_suspect_as_before() -> None:
    """The levels that an owner leaves in peace do not count its unfinished trial."""
    suspicion = _suspicion(_left(Mode.SWEEP, *range(20)))
    suspicion.intend([3])
    assert suspicion.levels_in_peace.get(3, 0) == 0


def test_suspects_that_are_gone_end_the_trial() -> None:
    """Compaction may take suspects; the lane must not wait for them."""
    suspicion = _suspicion(_left(Mode.SWEEP, 1, 2, 3))
    modes = []
    for incomplete in ([2], []):
        suspicion.lapse(incomplete)
        modes.append(suspicion.mode)
    assert modes == [Mode.TRIAL, Mode.NORMAL]


@settings(max_examples=60, deadline=None)
@given(records=st.integers(1, 300), in_flight=st.integers(1, 300), data=st.data())
def test_the_culprit_is_condemned_and_nobody_else(
    records: int, in_flight: int, data: st.DataObject
) -> None:
    """Whatever the number of calls in flight, five crashes are enough."""
    poison = data.draw(st.integers(0, records - 1))
    left: Progress | None = None
    done: set[int] = set()
    condemned: list[int] = []
    crashes = 0
    while len(done) < records:
        left = _live(left, records, in_flight, poison, done, condemned)
        crashes += left is not None
        assert crashes <= 5
        if left is None:
            break
    assert condemned == [poison]
    assert crashes >= 4


def _live(  # noqa: PLR0917 -- a loop's body with a name
    found: Progress | None,
    records: int,
    in_flight: int,
    poison: int,
    done: set[int],
    condemned: list[int],
) -> Progress | None:
    """One owner's life: returns what it leaves when the poison kills it."""
    suspicion = _suspicion(found)
    waiting = [offset for offset in range(records) if offset not in done]
    for offset in list(waiting):
        if suspicion.condemns(offset):
            condemned.append(offset)
            done.add(offset)
            waiting.remove(offset)
    suspicion.lapse(waiting)
    while waiting:
        chosen = list(suspicion.choose(waiting))[:in_flight]
        assert chosen, "somebody can always start"
        fetched = max([*chosen, suspicion.boundary - 1]) + 1
        suspicion.intend(chosen)
        incomplete = tuple(offset for offset in waiting if offset < fetched)
        left = Progress(
            Snapshot(incomplete[0], fetched, incomplete),
            mode=suspicion.mode,
            boundary=suspicion.boundary,
            levels=dict(suspicion.levels),
        )
        suspicion.begin(len(chosen))
        if poison in chosen:
            return left
        for offset in chosen:
            suspicion.clears(offset)
            waiting.remove(offset)
            done.add(offset)
        suspicion.lapse(waiting)
    return None
