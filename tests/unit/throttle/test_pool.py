"""Reservations of one group: waiting, cancelling, settling."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.throttle.buckets import Amounts
from services.worker.throttle.hold import HoldKind
from services.worker.throttle.picking import Ask
from services.worker.throttle.pool import DeadlinePassed, Pool, Reservation
from services.worker.throttle.settings import ThrottleSettings
from sluice_contracts import Priority, TokenUsage
from tests.benchmarks.throttle.clock import run

pytestmark = pytest.mark.looptime

ASK = Ask("g", 100, 50)


class _Witness:
    """Remembers what a pool tells."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.learned: list[TokenUsage] = []

    def granted(self, reservation: Reservation) -> None:
        self.waits.append(reservation.waited)

    def settled(self, ask: Ask, usage: TokenUsage) -> None:
        del ask
        self.learned.append(usage)


def _pool(requests: float = 1.0, tokens: float = 1e6, **settings: Any) -> Pool:
    loop = asyncio.get_running_loop()
    pool = Pool("g", ThrottleSettings(**settings), _Witness(), loop)
    pool.change(Amounts(requests, tokens, tokens))
    return pool


async def test_calls_are_spaced_by_the_rate() -> None:
    """Ten calls at two a second take five seconds, whatever they came as."""
    pool, loop = _pool(requests=2.0), asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(pool.reserve(ASK) for _ in range(10)))
    assert pytest.approx(4.8, abs=0.1) == loop.time() - began


async def test_what_a_call_gives_back_serves_all_who_wait_though_it_is_above_the_depth() -> None:
    """A refill that came first would cut it off, and calls that use less would waste allowance."""
    pool = _pool(requests=1_000.0, tokens=100.0)  # the depth is 30
    began = await pool.reserve(Ask("g", 1, 450))
    waiting = [asyncio.create_task(pool.reserve(Ask("g", 1, 100))) for _ in range(2)]
    await asyncio.sleep(2.0)
    began.settle(TokenUsage(input_tokens=1, output_tokens=10))
    await asyncio.sleep(0)
    assert [True, True] == [task.done() for task in waiting]


async def test_more_is_saved_up_of_a_limit_that_the_fleet_is_far_from() -> None:
    """So a large call does not hold up the next ones by a limit that nobody is short of."""
    pool = _pool(requests=1_000.0)
    for slack, granted in ((False, 1), (True, 5)):
        pool.change(Amounts(1_000.0, 100.0, 1e6), slack=(False, slack, False))
        pool.buckets.input_tokens.level = 0.0
        await asyncio.sleep(10.0)
        waiting = [asyncio.create_task(pool.reserve(Ask("g", 30, 1))) for _ in range(10)]
        await asyncio.sleep(0)
        assert granted == pool.in_flight
        for task in waiting:
            task.cancel()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(ended, Reservation):
                ended.settle(None)


async def test_a_deadline_ends_the_wait() -> None:
    """It fails when the deadline comes, not when its turn would have come."""
    pool, loop = _pool(requests=0.01), asyncio.get_running_loop()
    pool.buckets.requests.level = -1.0
    with pytest.raises(DeadlinePassed):
        await pool.reserve(Ask("g", 1, 1, deadline=loop.time() + 3.0))
    assert 3.0 == loop.time()
    with pytest.raises(DeadlinePassed):
        await pool.reserve(Ask("g", 1, 1, deadline=loop.time()))
    assert 0 == len(pool.queue)


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    """Nothing is charged, and the next in line is not held up."""
    pool = _pool(requests=1.0)
    pool.buckets.requests.level = -1.0
    waiting = [asyncio.create_task(pool.reserve(ASK)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting[:49]:
        task.cancel()
    reservation = await waiting[49]
    await asyncio.gather(*waiting[:49], return_exceptions=True)
    assert (0, 1) == (len(pool.queue), pool.in_flight)
    assert 1.0 == pool.demand.total[0]
    assert pytest.approx(1.3, abs=0.1) == reservation.waited


async def test_a_grant_that_meets_a_cancellation_is_given_back() -> None:
    """Granted and cancelled in the same turn of the loop."""
    pool = _pool(requests=1.0)
    pool.buckets.requests.level = -1.0
    task = asyncio.create_task(pool.reserve(ASK))
    await asyncio.sleep(0)
    pool.buckets.requests.level = 1.0
    pool.pump()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (0, 0.0) == (pool.in_flight, pool.demand.total[0])
    assert pytest.approx(1.0, abs=0.01) == pool.buckets.requests.level


async def test_settling_charges_what_was_used_in_place_of_the_estimate() -> None:
    """More or less; cache reads are free and cache writes are not."""
    pool = _pool(tokens=0.001)
    with await pool.reserve(ASK) as reservation:
        usage = TokenUsage(
            input_tokens=70,
            output_tokens=80,
            cache_read_input_tokens=9_000,
            cache_creation_input_tokens=20,
        )
        reservation.settle(usage)
    assert [1.0, 90.0, 80.0] == pool.demand.total
    assert pytest.approx(-90.0, abs=0.1) == pool.buckets.input_tokens.level
    assert pytest.approx(-80.0, abs=0.1) == pool.buckets.output_tokens.level


async def test_a_reservation_is_settled_once_however_often_it_is_said() -> None:
    """The first word counts; the context manager adds nothing to it."""
    pool = _pool()
    with await pool.reserve(ASK) as reservation:
        reservation.settle(TokenUsage(input_tokens=10, output_tokens=5))
        reservation.settle(TokenUsage(input_tokens=10_000, output_tokens=5_000))
        reservation.cancel()
    assert [1.0, 10.0, 5.0] == pool.demand.total
    assert 0 == pool.in_flight


async def test_a_call_that_nobody_knows_of_stays_charged() -> None:
    """An exception in the block settles it as unknown."""
    pool = _pool()
    with pytest.raises(TimeoutError), await pool.reserve(ASK):
        raise TimeoutError
    assert [1.0, 100.0, 50.0] == pool.demand.total
    assert 0 == pool.in_flight


async def test_a_refused_call_gives_its_tokens_back_but_not_its_request() -> None:
    """`TokenUsage()` says that the API used nothing."""
    pool = _pool()
    with await pool.reserve(ASK) as reservation:
        reservation.settle(TokenUsage())
    assert [1.0, 0.0, 0.0] == pool.demand.total


async def test_a_hold_stops_everyone_and_saves_nothing_up() -> None:
    """After it calls come paced, not all that the time would have allowed."""
    pool, loop = _pool(requests=10.0), asyncio.get_running_loop()
    assert pool.hold(loop.time() + 30.0, HoldKind.RATE)
    assert not pool.hold(loop.time() + 20.0, HoldKind.RATE)
    await asyncio.gather(*(pool.reserve(ASK) for _ in range(11)))
    assert pytest.approx(31.1, abs=0.05) == loop.time()


async def test_output_is_not_owed_to_a_bucket_that_is_full() -> None:
    """The calls after one that was longer than expected need not wait for its debt."""
    pool = _pool(requests=1_000.0, tokens=100.0)
    (await pool.reserve(Ask("g", 1, 10))).settle(TokenUsage(input_tokens=1, output_tokens=5_000))
    waiting = asyncio.create_task(pool.reserve(Ask("g", 1, 1)))
    await asyncio.sleep(1.0)
    assert not waiting.done()
    pool.forgive()
    pool.pump()
    await asyncio.sleep(1.0)
    assert waiting.done()


async def test_what_a_refusal_kept_back_is_made_up_for_where_the_bucket_is_full() -> None:
    """Twice as many calls as the rate allows, until those are in flight that the hold kept back."""
    pool, loop = _pool(requests=20.0, tokens=1_000.0), asyncio.get_running_loop()
    ask = Ask("g", 1, 100)  # ten a second
    granted = 0

    async def work() -> None:
        nonlocal granted
        while True:
            (await pool.reserve(ask)).settle(None)
            granted += 1

    working = asyncio.create_task(work())
    await asyncio.sleep(5.0)
    pool.hold(loop.time() + 2.0, HoldKind.RATE)
    await asyncio.sleep(3.0)
    before = granted
    pool.forgive()
    pool.pump()
    await asyncio.sleep(4.0)
    made_up = granted - before - 40
    assert 12 <= made_up <= 21  # of the twenty that two seconds would have allowed
    before = granted
    pool.forgive()
    await asyncio.sleep(4.0)
    assert 40 <= granted - before <= 42
    working.cancel()


async def test_a_hold_can_end_early() -> None:
    """A canary call went through."""
    pool, loop = _pool(requests=10.0), asyncio.get_running_loop()
    pool.hold(loop.time() + 86_400.0, HoldKind.SPEND)
    loop.call_later(5.0, pool.resume)
    await pool.reserve(ASK)
    assert 5.0 <= loop.time() < 6.0


async def test_the_cap_on_calls_in_flight_waits_for_an_end() -> None:
    """A call that ends makes room for the next."""
    pool = _pool(requests=1_000.0, max_in_flight=2)
    held = [await pool.reserve(ASK) for _ in range(2)]
    third = asyncio.create_task(pool.reserve(ASK))
    await asyncio.sleep(100)
    assert not third.done()
    held[0].settle(None)
    await third


async def test_an_interactive_call_goes_before_a_bulk_backlog() -> None:
    """It waits for the next turn, not for the backlog."""
    pool, loop = _pool(requests=1.0), asyncio.get_running_loop()
    bulk = [
        asyncio.create_task(pool.reserve(Ask("g", 1, 1, priority=Priority.BULK)))
        for _ in range(1_000)
    ]
    await asyncio.sleep(10.5)
    began = loop.time()
    await pool.reserve(Ask("g", 1, 1, priority=Priority.INTERACTIVE))
    assert loop.time() - began <= 1.0
    for task in bulk:
        task.cancel()
    await asyncio.gather(*bulk, return_exceptions=True)


calls = st.lists(
    st.tuples(
        st.floats(0, 3),  # arrival after the one before
        st.integers(1, 2_000),  # estimated input
        st.floats(0.2, 3.0),  # what it really uses of the estimate
        st.floats(0.1, 10),  # how long it takes
        st.sampled_from(["ok", "ok", "refused", "lost", "cancelled", "deadline"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=40)
@given(calls)
def test_the_books_balance_whatever_happens(
    calls: list[tuple[float, int, float, float, str]],
) -> None:
    """Every grant is settled once; what was lent less what came back stays within the allowance."""

    async def live() -> None:
        loop = asyncio.get_running_loop()
        pool = _pool(requests=2.0, tokens=500.0)
        flow: list[tuple[float, float]] = []
        _record(pool, loop.time, flow)

        async def call(ask: Ask, part: float, seconds: float, end: str) -> None:
            with await pool.reserve(ask) as reservation:
                await asyncio.sleep(seconds)
                if end == "ok":
                    used = round(ask.input_tokens * part)
                    reservation.settle(TokenUsage(input_tokens=used, output_tokens=1))
                elif end == "refused":
                    reservation.settle(TokenUsage())

        tasks = []
        for gap, tokens, part, seconds, end in calls:
            await asyncio.sleep(gap)
            deadline = loop.time() + seconds if end == "deadline" else None
            ask = Ask("g", tokens, 1, deadline=deadline)
            tasks.append(loop.create_task(call(ask, part, seconds, end)))
            if end == "cancelled":
                loop.call_later(seconds / 2, tasks[-1].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (0, 0) == (len(pool.queue), pool.in_flight)
        assert pytest.approx(pool.demand.total[1]) == sum(amount for _, amount in flow)
        largest = max(tokens for _, tokens, *_ in calls)
        for first, (start, _) in enumerate(flow):
            lent = 0.0
            for at, amount in flow[first:]:
                lent += amount
                extra = sum(max(0.0, tokens * (part - 1)) for _, tokens, part, *_ in calls)
                assert lent <= 500.0 * (at - start) + 150.0 + largest + extra + 1e-3

    run(live())


def _record(pool: Pool, clock: Callable[[], float], flow: list[tuple[float, float]]) -> None:
    take, give_back = pool.buckets.take, pool.buckets.give_back

    def taking(requests: float, input_tokens: float, output_tokens: float) -> None:
        if requests > 0:
            flow.append((clock(), input_tokens))
        take(requests, input_tokens, output_tokens)

    def giving(requests: float, input_tokens: float, output_tokens: float, now: float) -> None:
        flow.append((clock(), -input_tokens))
        give_back(requests, input_tokens, output_tokens, now)

    pool.buckets = _Recorded(pool.buckets, taking, giving)  # type: ignore[assignment]


class _Recorded:
    """Buckets whose every charge is written down."""

    def __init__(self, buckets: Any, take: Any, give_back: Any) -> None:
        self._buckets = buckets
        self.take = take
        self.give_back = give_back

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buckets, name)


async def test_a_resumed_group_ignores_those_who_have_not_heard() -> None:
    """Another replica may still say that the old hold goes on; a new one counts."""
    pool, loop = _pool(requests=10.0), asyncio.get_running_loop()
    pool.hold(loop.time() + 1_000.0, HoldKind.SPEND)
    pool.resume()
    assert not pool.hold(loop.time() + 1_002.0, HoldKind.SPEND, is_told=True)
    assert pool.hold(loop.time() + 2_000.0, HoldKind.SPEND, is_told=True)


async def test_a_hold_does_not_grow_while_it_is_told_on() -> None:
    """What is left of it is measured a little late each time; a later hold is another one."""
    pool, loop = _pool(requests=10.0), asyncio.get_running_loop()
    pool.hold(loop.time() + 60.0, HoldKind.RATE)
    assert not pool.hold(loop.time() + 60.2, HoldKind.RATE, is_told=True)
    assert pool.hold(loop.time() + 90.0, HoldKind.RATE, is_told=True)


async def test_deadlines_of_calls_that_had_their_turn_are_not_kept() -> None:
    """An hour's deadline must not hold a request that was served at once for an hour."""
    pool, loop = _pool(requests=1_000.0), asyncio.get_running_loop()
    for _ in range(20):
        asks = [Ask("g", 1, 1, deadline=loop.time() + 3_600.0) for _ in range(100)]
        for reservation in await asyncio.gather(*map(pool.reserve, asks)):
            reservation.settle(None)
    assert len(pool._deadlines) < 300
