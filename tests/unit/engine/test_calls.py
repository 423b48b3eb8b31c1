"""Records in hand: one task each, in order per key where asked for, counted until published."""

import asyncio

import pytest

from services.runtime.engine.calls import Calls
from services.runtime.engine.capacity import Capacity
from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import Done, Output, Park, Partition, Record, Refused, Verdict

pytestmark = pytest.mark.looptime

PARTITION = Partition("in", 0)


def _record(offset: int, key: bytes | None = None) -> Record:
    return Record(PARTITION, offset, 0, key, b"12345")


def _done(record: Record) -> Done:
    return Done([Output("out", 0, record.key, b"123")])


class Script:
    """Work that takes a second, or does as told."""

    def __init__(self, *told: Verdict | Exception) -> None:
        self.told = list(told)
        self.began: list[tuple[int, int]] = []

    async def handle(self, record: Record, attempts: int) -> Verdict:
        """Take a second."""
        self.began.append((record.offset, attempts))
        await asyncio.sleep(1)
        verdict = self.told.pop(0) if self.told else _done(record)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def takes(self, topic: str) -> bool:  # noqa: ARG002
        """Take every topic."""
        return True

    def relinquish(self, partition: Partition) -> None:
        """End nothing."""

    def condemn(self, record: Record, crashes: int) -> Done:  # noqa: ARG002
        """Give up."""
        return Done()

    def refused(self, record: Record, output: Output, reason: str) -> Done:  # noqa: ARG002
        """Say less."""
        return Done([Output("out", 0, None, b"1")])


class Desk:
    """Calls and what they tell."""

    def __init__(self, work: Script, *, is_ordered: bool = False) -> None:
        self.share = Capacity(Limits()).of(PARTITION.topic)
        self.finished = 0
        self.rested: list[int] = []
        self.failed: list[BaseException] = []
        self.calls = Calls(
            work,
            self.share,
            is_ordered=is_ordered,
            finished=self._finish,
            rested=self.rested.append,
            resumed=lambda: None,
            failed=self.failed.append,
        )

    def _finish(self) -> None:
        self.finished += 1

    def start_waiting(self) -> None:
        """Start what may start."""
        while self.calls.waiting:
            self.calls.start(self.calls.waiting.popleft())

    def counts(self) -> tuple[int, int, int]:
        """Return records held, bytes held and calls running."""
        return self.share.held, self.share.bytes, self.share.running


async def test_what_is_published_is_given_back() -> None:
    """Records count until their outcome is visible, and outputs from when they exist."""
    desk = Desk(Script())
    desk.calls.add(_record(1))
    assert desk.counts() == (1, 5, 0)
    desk.start_waiting()
    assert desk.counts() == (1, 5, 1)
    await asyncio.sleep(2)
    assert desk.finished == 1
    assert desk.counts() == (0, 8, 0)
    batch = desk.calls.batch()
    desk.calls.published(batch)
    assert desk.counts() == (0, 0, 0)


async def test_records_of_one_key_run_one_after_the_other() -> None:
    """Others run beside them, and records without a key wait for nobody."""
    work = Script()
    desk = Desk(work, is_ordered=True)
    for offset, key in enumerate([b"a", b"a", b"b", None, None, b"a"]):
        desk.calls.add(_record(offset, key))
    for second in range(3):
        desk.start_waiting()
        await asyncio.sleep(1.01)
        assert desk.finished == [4, 5, 6][second]
    assert [offset for offset, _ in work.began] == [0, 2, 3, 4, 1, 5]


async def test_a_parked_record_comes_back_with_its_attempts() -> None:
    """It is not held against the load meanwhile, but its bytes are."""
    work = Script(Park(10), Park(10, counts=False))
    desk = Desk(work)
    desk.calls.add(_record(7))
    for _ in range(3):
        desk.start_waiting()
        await asyncio.sleep(1.01)
        if desk.calls.parked:
            assert desk.counts() == (0, 5, 0)
        await asyncio.sleep(10)
    assert work.began == [(7, 0), (7, 1), (7, 1)]
    assert desk.calls.attempts == {7: 1}


async def test_records_that_wait_for_their_key_leave_room_for_others() -> None:
    """Only what may run counts as load; a busy key must not stop the intake."""
    desk = Desk(Script(), is_ordered=True)
    for offset in range(5):
        desk.calls.add(_record(offset, b"busy"))
    assert (1, 45, 0) == desk.counts()


async def test_what_is_cancelled_before_its_first_step_is_counted_out() -> None:
    """Its coroutine never runs, so nothing in it can give back what it holds."""
    desk = Desk(Script())
    desk.calls.add(_record(1))
    desk.start_waiting()
    await desk.calls.close()
    assert (0, 0, 0) == desk.counts()


async def test_a_record_that_lets_itself_be_interrupted_waits_again() -> None:
    """Unless everything is being given back: then it is the next owner's."""
    desk = Desk(Script())
    desk.calls.add(_record(1))
    for expected in ([1], [1, 1]):
        desk.start_waiting()
        await asyncio.sleep(0.5)
        desk.calls.cancel()
        await asyncio.sleep(0.01)
        assert expected == desk.rested
        assert (1, 5, 0) == desk.counts()
    desk.start_waiting()
    await asyncio.sleep(0.5)
    desk.calls.give_back()
    desk.calls.cancel()
    await asyncio.sleep(0.01)
    assert (0, 0, 0) == desk.counts()


async def test_nothing_is_parked_while_everything_is_given_back() -> None:
    """A halted or draining partition will not run it again."""
    desk = Desk(Script(Park(10)))
    desk.calls.add(_record(1))
    desk.start_waiting()
    desk.calls.give_back()
    await asyncio.sleep(2)
    assert ({}, (0, 0, 0)) == (desk.calls.parked, desk.counts())


async def test_a_key_is_held_while_its_record_is_parked() -> None:
    """The next record of the key must not overtake."""
    work = Script(Park(10))
    desk = Desk(work, is_ordered=True)
    desk.calls.add(_record(1, b"a"))
    desk.calls.add(_record(2, b"a"))
    for _ in range(4):
        desk.start_waiting()
        await asyncio.sleep(6)
    assert [offset for offset, _ in work.began] == [1, 1, 2]


async def test_an_exception_is_told_and_leaves_nothing_behind() -> None:
    """The record stays incomplete in the log; here it is gone."""
    desk = Desk(Script(ValueError("bug")))
    desk.calls.add(_record(1))
    desk.start_waiting()
    await asyncio.sleep(2)
    assert [ValueError] == [type(exc) for exc in desk.failed]
    assert desk.counts() == (0, 0, 0)
    assert not desk.calls.ready


async def test_closing_gives_everything_back() -> None:
    """Waiting, running, parked and ready."""
    desk = Desk(Script(Park(100)), is_ordered=True)
    for offset, key in enumerate([b"a", b"b", b"c", b"c"]):
        desk.calls.add(_record(offset, key))
    desk.calls.start(desk.calls.waiting.popleft())
    await asyncio.sleep(1.5)
    desk.calls.start(desk.calls.waiting.popleft())
    await asyncio.sleep(1.5)
    desk.calls.start(desk.calls.waiting.popleft())
    await asyncio.sleep(0.5)
    assert (len(desk.calls.parked), len(desk.calls.ready), len(desk.calls.running)) == (1, 1, 1)
    await desk.calls.close()
    assert desk.counts() == (0, 0, 0)
    assert (1, [0]) == (desk.finished, desk.rested)


async def test_only_what_is_refused_alone_is_to_blame() -> None:
    """The broker refuses a whole batch: its records are published one by one first."""
    desk = Desk(Script())
    for offset in range(3):
        desk.calls.add(_record(offset))
    desk.start_waiting()
    await asyncio.sleep(2)
    batch = desk.calls.batch()
    assert len(batch) == 3
    refused = Refused(batch[1].done.outputs[0], "too large")
    desk.calls.refuse(batch, refused)
    for _ in range(3):
        (ready,) = desk.calls.batch()
        if ready.record.offset == 1:
            desk.calls.refuse([ready], refused)
            assert ready.done.outputs[0].value == b"1"
        desk.calls.published([ready])
    assert desk.counts() == (0, 0, 0)


async def test_a_record_whose_every_verdict_is_refused_is_dropped() -> None:
    """It is reported after a few tries, and stays incomplete."""
    desk = Desk(Script())
    desk.calls.add(_record(0))
    desk.start_waiting()
    await asyncio.sleep(2)
    refused = Refused(desk.calls.ready[0].done.outputs[0], "too large")
    for _ in range(3):
        desk.calls.refuse(desk.calls.batch(), refused)
    with pytest.raises(Refused):
        desk.calls.refuse(desk.calls.batch(), refused)
    assert desk.counts() == (0, 0, 0)
