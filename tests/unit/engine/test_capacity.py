"""What a topic holds is bounded by its share, and one record can be alone in the process."""

import asyncio

import pytest

from services.runtime.engine.capacity import Capacity
from services.runtime.engine.limits import Limits

pytestmark = pytest.mark.looptime


class Asker:
    """A lane that wants to start something."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self) -> None:
        """Hear that it is worth asking again."""
        self.told += 1


def test_no_room_is_left_when_calls_or_bytes_are_at_their_limit() -> None:
    """Either stops the intake, and what is given back is room again."""
    share = Capacity(Limits(in_flight=10, in_flight_bytes=1000)).of("in")
    share.take(4, 100)
    assert 6 == share.room
    share.take(0, 900)
    assert 0 == share.room
    share.give(0, 1)
    assert 6 == share.room
    share.take(9, 0)
    assert 0 == share.room


def test_a_topic_that_is_full_takes_nothing_from_the_others() -> None:
    """Neither records, nor bytes, nor calls."""
    capacity = Capacity(Limits(in_flight=1, in_flight_bytes=10))
    full, other = capacity.of("full"), capacity.of("other")
    full.take(1, 100)
    full.started()

    assert (0, False) == (full.room, full.may_start(Asker().tell))
    assert (1, True) == (other.room, other.may_start(Asker().tell))
    assert (1, 100, 1) == (capacity.held, capacity.bytes, capacity.running)


def test_who_is_refused_is_told_once_when_to_ask_again() -> None:
    """A lane at its topic's limit waits without polling."""
    share, lane = Capacity(Limits(in_flight=1)).of("in"), Asker()
    share.started()
    assert not share.may_start(lane.tell)
    share.ended()
    assert 1 == lane.told
    assert share.may_start(lane.tell)
    share.started()
    share.ended()
    assert 1 == lane.told


async def test_a_lane_is_alone_once_nothing_runs_and_until_it_says_so() -> None:
    """Others may neither start meanwhile nor be forgotten afterwards."""
    capacity = Capacity(Limits())
    share, suspect, other = capacity.of("in"), Asker(), Asker()
    share.started()
    assert not capacity.isolate(suspect.tell)
    assert not capacity.of("other").may_start(other.tell)
    assert not capacity.isolate(other.tell)
    share.ended()
    assert (1, 1) == (suspect.told, other.told)
    assert capacity.isolate(suspect.tell)
    assert not share.may_start(other.tell)
    assert share.may_start(suspect.tell)
    capacity.rejoin(suspect.tell)
    assert 2 == other.told
    assert share.may_start(other.tell)


async def test_waiting_to_be_alone_holds_nobody_up_for_ever() -> None:
    """Where calls go on for long, others start again after a while, and the wait begins anew."""
    capacity = Capacity(Limits())
    share, suspect, other = capacity.of("in"), Asker(), Asker()
    share.started()
    assert not capacity.isolate(suspect.tell)
    assert not share.may_start(other.tell)
    await asyncio.sleep(31)
    assert 1 == other.told
    assert share.may_start(other.tell)
    assert not capacity.isolate(suspect.tell)
    assert share.may_start(other.tell)
    suspect.told = 0
    await asyncio.sleep(31)
    assert 1 == suspect.told
    assert not capacity.isolate(suspect.tell)
    assert not share.may_start(other.tell)
