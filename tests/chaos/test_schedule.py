"""Which fault comes next."""

from itertools import islice
from random import Random

from tests.chaos.kinds import KINDS
from tests.chaos.schedule import Schedule


def test_each_kind_comes_once_before_any_comes_again() -> None:
    """A round deals every kind."""
    schedule = Schedule(KINDS, Random(1))

    dealt = list(islice(schedule.deal(), len(KINDS)))

    assert sorted(KINDS) == sorted(dealt)


def test_the_seed_decides_the_order() -> None:
    """The same seed deals the same order, another one another."""
    first, again, other = (
        list(islice(Schedule(KINDS, Random(seed)).deal(), 50)) for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_what_did_not_happen_comes_again_first() -> None:
    """A kind whose moment never came is dealt again before those that occurred."""
    schedule = Schedule(["a", "b", "c"], Random(1))
    dealt = schedule.deal()
    for kind in islice(dealt, 3):
        if kind != "b":
            schedule.occurred(kind)

    assert not schedule.is_complete
    assert next(dealt) == "b"


def test_what_is_done_comes_when_all_others_have() -> None:
    """A later phase begins with what the one before left out."""
    schedule = Schedule(["a", "b", "c"], Random(1), done=["a", "c"])

    assert ["b"] == list(islice(schedule.deal(), 1))
    schedule.occurred("b")
    assert schedule.is_complete
