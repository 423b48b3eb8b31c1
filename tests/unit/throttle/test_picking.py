"""Which of the waiting calls goes next."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.throttle.picking import Ask, Waiter, WaitQueue
from sluice_contracts import Priority

INTERACTIVE, STANDARD, BULK = Priority.INTERACTIVE, Priority.STANDARD, Priority.BULK


def _queue(share: float = 0.05, **weights: float) -> WaitQueue:
    return WaitQueue(weights=weights, least_share=share)


def _waiter(
    priority: Priority = STANDARD,
    tenant: str = "t",
    tokens: int = 100,
    deadline: float | None = None,
    *,
    is_leftover: bool = False,
) -> Waiter:
    ask = Ask(
        "g", tokens, 0, priority=priority, tenant=tenant, deadline=deadline, is_leftover=is_leftover
    )
    return Waiter(ask, 0.0, asyncio.Future(loop=_LOOP))


_LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _close_loop() -> Iterator[None]:
    yield
    _LOOP.close()


def test_priority_comes_before_everything_else() -> None:
    """Interactive, standard, bulk, and then what is repeated."""
    queue = _queue(share=0.0)
    waiters = [
        _waiter(STANDARD, is_leftover=True),
        _waiter(BULK),
        _waiter(STANDARD),
        _waiter(INTERACTIVE),
    ]
    for waiter in waiters:
        queue.push(waiter)
    assert list(reversed(waiters)) == [queue.pop() for _ in waiters]


def test_within_a_tenant_the_earliest_deadline_goes_first() -> None:
    """A call without a deadline goes last."""
    queue = _queue()
    late, never, soon = _waiter(deadline=9.0), _waiter(), _waiter(deadline=1.0)
    for waiter in (late, never, soon):
        queue.push(waiter)
    assert [soon, late, never] == [queue.pop() for _ in range(3)]


def test_tenants_get_tokens_by_weight() -> None:
    """A tenant of weight 3 gets three times the tokens, whatever the sizes of its calls."""
    queue = _queue(a=3.0)
    for _ in range(600):
        queue.push(_waiter(tenant="a", tokens=50))
        queue.push(_waiter(tenant="b", tokens=200))
    tokens: Counter[str] = Counter()
    for _ in range(400):
        ask = queue.pop().ask
        tokens[ask.tenant] += ask.tokens
    assert pytest.approx(3.0, rel=0.05) == tokens["a"] / tokens["b"]


def test_a_tenant_that_was_away_saves_nothing_up() -> None:
    """Who comes back takes turns at once, and does not catch up."""
    queue = _queue()
    for _ in range(50):
        queue.push(_waiter(tenant="busy"))
    for _ in range(40):
        queue.pop()
    for _ in range(10):
        queue.push(_waiter(tenant="back"))
    served = Counter(queue.pop().ask.tenant for _ in range(10))
    assert abs(served["back"] - served["busy"]) <= 2


def test_a_bulk_backlog_moves_and_interactive_waits_for_one_call_at_most() -> None:
    """Each lower rank gets its least share, never two calls in a row before a higher one."""
    queue = _queue(share=0.05)
    for _ in range(2_000):
        for priority in (INTERACTIVE, STANDARD, BULK):
            queue.push(_waiter(priority))
    picked = [queue.pop().ask.priority for _ in range(1_000)]
    shares = Counter(picked)
    assert pytest.approx(50, abs=12) == shares[STANDARD]
    assert pytest.approx(50, abs=12) == shares[BULK]
    assert all(INTERACTIVE in pair for pair in pairwise(picked))


def test_a_waiter_that_gave_up_leaves_no_trace() -> None:
    """Counts, sums and order are as if it had never come."""
    queue = _queue()
    gone, stays = _waiter(deadline=1.0), _waiter(deadline=2.0)
    queue.push(gone)
    queue.push(stays)
    queue.remove(gone)
    assert (1, 100) == (len(queue), queue.input_tokens)
    assert stays is queue.pop()
    assert queue.peek() is None


def test_tenants_that_left_are_forgotten() -> None:
    """A name seen once is not remembered for ever."""
    queue = _queue()
    for number in range(5_000):
        queue.push(_waiter(tenant=f"tenant-{number}", tokens=1))
        queue.pop()
    assert len(queue._ranks[1].tenants) < 200


steps = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "pop", "remove"]),
        st.sampled_from(list(Priority)),
        st.sampled_from("abc"),
        st.integers(1, 500),
        st.one_of(st.none(), st.floats(0, 100)),
    ),
    max_size=120,
)


@settings(deadline=None, max_examples=40)
@given(steps)
def test_every_waiter_leaves_exactly_once(
    steps: list[tuple[str, Priority, str, int, float | None]],
) -> None:
    """However they come and go, nobody is lost, served twice, or left when all was served."""
    queue, inside, seen = _queue(b=2.5), [], []
    for what, priority, tenant, tokens, deadline in steps:
        if what == "push":
            waiter = _waiter(priority, tenant, tokens, deadline)
            queue.push(waiter)
            inside.append(waiter)
        elif what == "pop" and inside:
            head = queue.pop()
            inside.remove(head)
            seen.append(head)
        elif what == "remove" and inside:
            queue.remove(inside.pop(tokens % len(inside)))
        assert len(inside) == len(queue)
        assert sum(waiter.ask.input_tokens for waiter in inside) == queue.input_tokens
    while queue.peek() is not None:
        inside.remove(queue.pop())
    assert [] == inside
    assert len(seen) == len(set(map(id, seen)))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=30), st.integers(1, 1_000))
def test_nobody_starves(sizes: list[int], own: int) -> None:
    """A bulk call is served though urgent calls never stop coming."""
    queue = _queue(share=0.05)
    bulk = _waiter(BULK, tokens=own)
    queue.push(bulk)
    passed_by = 0
    while True:
        size = sizes[passed_by % len(sizes)]
        queue.push(_waiter(INTERACTIVE, tokens=size))
        if queue.pop() is bulk:
            break
        passed_by += 1
        assert passed_by * min(sizes) <= own / 0.05 + 2_000


def test_a_call_without_a_deadline_is_not_starved_by_those_with_one() -> None:
    """It counts as due some minutes after it came; deadlines before that still go first."""
    queue = _queue()
    patient, hurried, distant = _waiter(), _waiter(deadline=30.0), _waiter(deadline=3_600.0)
    for waiter in (patient, distant, hurried):
        queue.push(waiter)
    assert [hurried, patient, distant] == [queue.pop() for _ in range(3)]
