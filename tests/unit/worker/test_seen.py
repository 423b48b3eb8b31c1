"""The duplicate guard: one call and one outcome for a request id and generation."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.runtime.engine.ports import Partition, Record
from services.worker.errors import NotNow
from services.worker.seen import Claim, Identity, Past, PastUnknown, Seen
from sluice_contracts.carried import digest

P = Partition("claude.requests.haiku.v1", 3)
A = Identity("a", 0)


class _Topic:
    """Outcomes as they would be read from a result partition."""

    def __init__(self, *past: Past) -> None:
        self.past = past
        self.reads = 0

    async def load(self, _: Partition) -> AsyncIterator[Past]:
        """Read as `PastOutcomes.load` does."""
        self.reads += 1
        await asyncio.sleep(1)
        for one in self.past:
            yield one


def _seen(*past: Past, entries: int = 100) -> Seen:
    return Seen(_Topic(*past).load, window=3600, entries=entries)


def _record(offset: int, body: bytes = b"{}") -> Record:
    return Record(P, offset, 0, None, body)


async def _claim(
    guard: Seen, offset: int, body: bytes = b"{}", *, name: Identity = A, is_hop: bool = False
) -> Claim:
    return await guard.claim(_record(offset, body), name, digest(body), is_hop=is_hop)


def _finish(guard: Seen, offset: int, *, name: Identity = A) -> None:
    guard.finish(_record(offset), name, digest(b"{}"))


def _rest(guard: Seen, offset: int) -> None:
    guard.rest(_record(offset), A, digest(b"{}"))


@pytest.mark.looptime
async def test_two_copies_in_flight_make_one_call() -> None:
    """The copy is a duplicate although the first record has no outcome yet."""
    guard = _seen()
    claims = await asyncio.gather(*(_claim(guard, n) for n in (1, 2)))
    assert [Claim.FIRST, Claim.DUPLICATE] == claims


@pytest.mark.looptime
async def test_a_parked_record_that_comes_again_is_the_first() -> None:
    """The same offset is the same record."""
    guard = _seen()
    assert Claim.FIRST == await _claim(guard, 1)
    assert Claim.FIRST == await _claim(guard, 1)


@pytest.mark.looptime
async def test_a_finished_record_that_comes_again_is_the_first() -> None:
    """Its outcome was lost with its partition, or the log would not hand it over."""
    guard = _seen()
    await _claim(guard, 1)
    _finish(guard, 1)
    assert Claim.FIRST == await _claim(guard, 1)
    assert Claim.DUPLICATE == await _claim(guard, 2)


@pytest.mark.looptime
async def test_another_body_under_the_id_is_a_conflict() -> None:
    """The caller said two things under one name."""
    guard = _seen()
    await _claim(guard, 1)
    assert Claim.CONFLICT == await _claim(guard, 2, b"[]")


@pytest.mark.looptime
async def test_a_replay_is_no_duplicate() -> None:
    """A new generation is judged for itself."""
    guard = _seen(Past(A, digest(b"{}"), 5))
    assert Claim.DUPLICATE == await _claim(guard, 1)
    assert Claim.FIRST == await _claim(guard, 2, b"[]", name=Identity("a", 1))


@pytest.mark.looptime
async def test_a_retry_hop_is_a_new_attempt() -> None:
    """The hop goes on where the first record stopped; a copy beside it stays a duplicate."""
    guard = _seen()
    await _claim(guard, 1)
    _rest(guard, 1)
    assert Claim.DUPLICATE == await _claim(guard, 2)
    assert Claim.FIRST == await _claim(guard, 5, is_hop=True)
    assert Claim.DUPLICATE == await _claim(guard, 6)


@pytest.mark.looptime
async def test_a_hop_that_comes_back_while_a_copy_is_at_work_is_a_duplicate() -> None:
    """After a restart nobody knew of the resting one, so the copy was called in its place."""
    guard = _seen()
    assert Claim.FIRST == await _claim(guard, 4)
    assert Claim.DUPLICATE == await _claim(guard, 5, is_hop=True)
    assert Claim.FIRST == await _claim(guard, 4)


@pytest.mark.looptime
async def test_two_that_say_they_are_hops_make_one_call() -> None:
    """Headers can be forged; one record of a request is at work at a time all the same."""
    guard = _seen()
    claims = [await _claim(guard, offset, is_hop=True) for offset in (1, 2)]
    assert [Claim.FIRST, Claim.DUPLICATE] == claims


@pytest.mark.looptime
async def test_of_two_that_rest_the_first_back_is_called() -> None:
    """The other finds it at work, or its outcome."""
    guard = _seen()
    await _claim(guard, 4)  # a copy, while the first record rests unknown
    _rest(guard, 4)
    assert Claim.FIRST == await _claim(guard, 5, is_hop=True)
    assert Claim.DUPLICATE == await _claim(guard, 6, is_hop=True)
    _finish(guard, 5)
    assert Claim.DUPLICATE == await _claim(guard, 7, is_hop=True)


@pytest.mark.looptime
async def test_a_hop_whose_request_has_its_outcome_is_a_duplicate() -> None:
    """A copy that overtook the hop has answered the request."""
    guard = _seen(Past(A, digest(b"{}"), 5))
    assert Claim.DUPLICATE == await _claim(guard, 5, is_hop=True)


@pytest.mark.looptime
async def test_outcomes_on_the_topic_are_known_after_a_start() -> None:
    """One read serves all records that wait for it."""
    topic = _Topic(Past(A, digest(b"{}"), 10))
    guard = Seen(topic.load, window=3600, entries=100)
    claims = await asyncio.gather(*(_claim(guard, n) for n in (1, 2)))
    assert [Claim.DUPLICATE, Claim.DUPLICATE] == claims
    assert 1 == topic.reads


@pytest.mark.looptime
async def test_a_lost_partition_is_read_anew() -> None:
    """What another worker wrote meanwhile is found when the partition comes back."""
    topic = _Topic()
    guard = Seen(topic.load, window=3600, entries=100)
    await _claim(guard, 1)
    guard.forget(P)
    topic.past = (Past(A, digest(b"{}"), 1),)
    assert Claim.DUPLICATE == await _claim(guard, 9)


@pytest.mark.looptime
async def test_a_partition_lost_while_it_loads_is_read_anew() -> None:
    """A read that began before the loss is not believed."""
    topic = _Topic()
    guard = Seen(topic.load, window=3600, entries=100)
    claim = asyncio.create_task(_claim(guard, 1))
    await asyncio.sleep(0.5)
    guard.forget(P)
    topic.past = (Past(A, digest(b"{}"), 1),)
    assert Claim.DUPLICATE == await claim
    assert 2 == topic.reads


@pytest.mark.looptime
async def test_the_window_begins_with_the_outcome() -> None:
    """However long the request took before; after the window the id is new again."""
    guard = _seen()
    await _claim(guard, 1)
    await asyncio.sleep(3000)
    _finish(guard, 1)
    await asyncio.sleep(3599)
    assert Claim.DUPLICATE == await _claim(guard, 2)
    await asyncio.sleep(2)
    assert Claim.FIRST == await _claim(guard, 3)


@pytest.mark.looptime
async def test_what_is_at_work_is_never_forgotten() -> None:
    """Neither a long time nor many others let a copy pass beside it."""
    guard = _seen(entries=2)
    await _claim(guard, 1)
    await asyncio.sleep(10_000)
    for offset, name in enumerate("bcdef", start=10):
        await _claim(guard, offset, name=Identity(name, 0))
        _finish(guard, offset, name=Identity(name, 0))
    assert Claim.DUPLICATE == await _claim(guard, 99)


@pytest.mark.looptime
async def test_the_window_is_bounded_in_number() -> None:
    """The oldest ids are forgotten first."""
    guard = _seen(entries=2)
    for offset, name in enumerate("abc"):
        await _claim(guard, offset, name=Identity(name, 0))
        _finish(guard, offset, name=Identity(name, 0))
    again = [await _claim(guard, 9, name=Identity(n, 0)) for n in "cb"]
    assert [Claim.DUPLICATE, Claim.DUPLICATE] == again
    assert Claim.FIRST == await _claim(guard, 9)


@pytest.mark.looptime
async def test_an_outcome_without_a_claim_is_known_all_the_same() -> None:
    """A record that is given up before it was judged, as poison, has its outcome."""
    guard = _seen()
    _finish(guard, 1)
    assert Claim.DUPLICATE == await _claim(guard, 2)
    _finish(guard, 3, name=Identity("other", 0))
    assert Claim.DUPLICATE == await _claim(guard, 4, name=Identity("other", 0))


@pytest.mark.looptime
async def test_while_the_past_cannot_be_read_nothing_is_called() -> None:
    """Guessing that nothing was would pay for copies; the partition says why its records wait."""
    fails = True

    async def load(_: Partition) -> AsyncIterator[Past]:
        if fails:
            raise PastUnknown("no leader")
        yield Past(A, digest(b"{}"), 1)

    guard = Seen(load, window=3600, entries=10)
    for _ in range(2):
        with pytest.raises(NotNow) as caught:
            await _claim(guard, 1)
        assert 5 <= caught.value.delay <= 10
        assert {P: "no leader"} == guard.unknown
    fails = False
    assert Claim.DUPLICATE == await _claim(guard, 1)
    assert {} == guard.unknown
