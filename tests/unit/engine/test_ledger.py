"""The ledger against a set that knows everything."""

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.runtime.engine.ledger import Ledger, Snapshot


class LedgerMachine(RuleBasedStateMachine):
    """Registers, completes, commits and takes over in any order, over a log with gaps."""

    @initialize(offsets=st.sets(st.integers(0, 60), max_size=40), start=st.integers(0, 10))
    def begin(self, offsets: set[int], start: int) -> None:
        """Start with a fresh log."""
        self.log = sorted(offset for offset in offsets if offset >= start)
        self.start = start
        self.fetched = start
        self.in_hand: set[int] = set()
        self.complete: set[int] = set()
        self.committed = Snapshot(start, start, ())
        self.ledger = Ledger(self.committed)

    @precondition(lambda self: any(offset >= self.fetched for offset in self.log))
    @rule()
    def fetch(self) -> None:
        """The next record of the log is registered, and runs unless it is complete."""
        offset = next(offset for offset in self.log if offset >= self.fetched)
        runs = self.ledger.register(offset)
        assert (offset not in self.complete) == runs
        self.fetched = offset + 1
        if runs:
            self.in_hand.add(offset)

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def complete_one(self, data: st.DataObject) -> None:
        """A record in hand completes, once."""
        offset = data.draw(st.sampled_from(sorted(self.in_hand)))
        assert self.ledger.complete(offset)
        assert not self.ledger.complete(offset)
        self.in_hand.remove(offset)
        self.complete.add(offset)

    @rule(offset=st.integers(-5, 70))
    def complete_stray(self, offset: int) -> None:
        """A late completion of what is not in hand changes nothing."""
        if offset not in self.in_hand:
            before = self.ledger.snapshot()
            assert not self.ledger.complete(offset)
            assert before == self.ledger.snapshot()

    @rule()
    def register_again(self) -> None:
        """A record delivered twice runs once."""
        for offset in self.log:
            if offset < self.fetched:
                assert not self.ledger.register(offset)

    @rule()
    def commit(self) -> None:
        """Progress becomes durable."""
        self.committed = self.ledger.snapshot()

    @rule(lost=st.sets(st.integers(0, 60), max_size=3))
    def take_over(self, lost: set[int]) -> None:
        """A new owner starts from what was committed; compaction may have taken some records."""
        committed = self.committed
        self.log = [
            offset for offset in self.log if offset not in lost or offset < committed.offset
        ]
        self.complete = {
            offset
            for offset in self.log
            if offset < committed.end and offset not in committed.incomplete
        }
        self.in_hand = set()
        self.fetched = committed.offset
        self.ledger = Ledger(committed)

    @invariant()
    def says_what_is_true(self) -> None:
        """A snapshot calls complete what is, and nothing that is not."""
        if not hasattr(self, "ledger"):
            return
        snapshot = self.ledger.snapshot()
        assert snapshot.offset == self.ledger.first
        assert list(snapshot.incomplete) == sorted(set(snapshot.incomplete))
        assert len(snapshot.incomplete) == len(self.ledger)
        assert all(snapshot.offset <= offset < snapshot.end for offset in snapshot.incomplete)
        called = {
            offset
            for offset in self.log
            if offset < snapshot.end and offset not in snapshot.incomplete
        }
        assert called == self.complete


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.sets(st.integers(0, 30), min_size=1), st.data())
def test_a_snapshot_with_finishing_ones_is_the_snapshot_after_they_completed(
    offsets: set[int], data: st.DataObject
) -> None:
    """What a commit will have made true is written in it."""
    ledger = Ledger(Snapshot(0, 0, ()))
    for offset in sorted(offsets):
        ledger.register(offset)
    finishing = data.draw(st.sets(st.sampled_from(sorted(offsets))))
    expected = ledger.snapshot(finishing)
    for offset in finishing:
        ledger.complete(offset)
    assert expected == ledger.snapshot()


def test_suspects_that_the_log_has_lost_are_complete() -> None:
    """A record that compaction took is not waited for."""
    ledger = Ledger(Snapshot(5, 9, (5, 7, 8)))
    assert ledger.register(8)
    assert ledger.snapshot() == Snapshot(8, 9, (8,))


def test_an_awaited_offset_cannot_be_completed() -> None:
    """A completion from an old assignment does not skip a record that was not read again."""
    ledger = Ledger(Snapshot(5, 9, (5, 7)))
    assert not ledger.complete(7)
    assert 7 in ledger
