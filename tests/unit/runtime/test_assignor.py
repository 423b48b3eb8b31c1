"""Partitions are shared out so that planned changes repeat no call."""

import hypothesis.strategies as st
from hypothesis import given

from services.runtime.assignor import Member, Share, share_out
from services.runtime.engine.ports import Partition

_IN = frozenset({"in", "other"})


def _partitions(topic: str, *numbers: int) -> dict[Partition, bool]:
    return {Partition(topic, number): True for number in numbers}


def _owners(shares: dict[str, Share]) -> dict[Partition, str]:
    return {each: name for name, share in shares.items() for each in share.partitions}


def test_a_first_member_gets_everything() -> None:
    """Nobody holds anything yet."""
    shares = share_out({"in": range(3)}, {"a": Member(_IN)})
    assert shares["a"].partitions == tuple(_partitions("in", 0, 1, 2))
    assert shares["a"].release == ()


def test_a_newcomer_waits_for_what_is_busy() -> None:
    """The holder keeps it all and is told what to finish."""
    members = {"a": Member(_IN, 1, _partitions("in", 0, 1, 2, 3)), "b": Member(_IN)}
    shares = share_out({"in": range(4)}, members)
    assert len(shares["a"].partitions) == 4
    assert len(shares["a"].release) == 2
    assert shares["b"].partitions == ()


def test_a_newcomer_gets_at_once_what_is_idle() -> None:
    """What was never started needs no finishing."""
    idle = dict.fromkeys(_partitions("in", 0, 1, 2, 3), False)
    members = {"a": Member(_IN, 1, idle), "b": Member(_IN)}
    shares = share_out({"in": range(4)}, members)
    assert len(shares["a"].partitions) == len(shares["b"].partitions) == 2
    assert shares["a"].release == ()


def test_who_leaves_keeps_what_it_finishes_and_gets_nothing_more() -> None:
    """Its calls go on; everything else goes to the others."""
    members = {
        "a": Member(_IN, 1, _partitions("in", 0), is_leaving=True),
        "b": Member(_IN, 1, _partitions("in", 2)),
    }
    shares = share_out({"in": range(4)}, members)
    assert shares["a"].partitions == (Partition("in", 0),)
    assert shares["a"].release == ()
    assert len(shares["b"].partitions) == 3


def test_of_two_claims_the_later_one_counts() -> None:
    """Who has missed a round was away, and its partitions have been given to others."""
    members = {
        "a": Member(_IN, 3, _partitions("in", 0)),
        "b": Member(_IN, 7, _partitions("in", 0)),
    }
    assert {Partition("in", 0): "b"} == _owners(share_out({"in": range(1)}, members))


def test_nobody_gets_a_topic_that_it_does_not_read() -> None:
    """Members of one group may read different topics."""
    members = {"a": Member(frozenset({"in"})), "b": Member(_IN)}
    owners = _owners(share_out({"in": range(2), "other": range(2)}, members))
    assert {owners[Partition("other", number)] for number in range(2)} == {"b"}


@given(
    first=st.integers(1, 5),
    then=st.integers(1, 5),
    sizes=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    data=st.data(),
)
def test_a_group_that_changes_is_even_again_after_one_more_round(
    first: int, then: int, sizes: tuple[int, int], data: st.DataObject
) -> None:
    """No busy partition moves, every one has an owner, and shares differ by one at most."""
    partitions = {"in": range(sizes[0]), "other": range(sizes[1])}
    total = sum(sizes)
    before = share_out(partitions, {f"w{n}": Member(_IN) for n in range(first)})
    busy = data.draw(st.sets(st.sampled_from(sorted(_owners(before))))) if total else set()
    members = {
        f"w{n}": Member(
            _IN,
            1,
            {each: each in busy for each in before[f"w{n}"].partitions} if n < first else {},
        )
        for n in range(then)
    }
    during = share_out(partitions, members)
    for name, member in members.items():
        assert {each for each, is_busy in member.holds.items() if is_busy} <= set(
            during[name].partitions
        )
    assert len(_owners(during)) == total
    finished = {
        name: Member(_IN, 2, {each: True for each in share.partitions if each not in share.release})
        for name, share in during.items()
    }
    after = share_out(partitions, finished)
    counts = sorted(len(share.partitions) for share in after.values())
    assert sum(counts) == total
    assert counts[-1] - counts[0] <= 1
    assert not any(share.release for share in after.values())
