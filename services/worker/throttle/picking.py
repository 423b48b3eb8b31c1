"""Which of the waiting calls goes next: priority, then tenant, then deadline.

Lower ranks are not starved: each is owed a small part of the tokens that pass it by, and once the
debt covers its next call that call goes first. So an interactive call waits for at most one other
call, and a bulk backlog still moves. Within a rank, tenants get tokens in proportion to their
weights (start-time fair queueing); within a tenant, the earliest deadline goes first, and a call
without one counts as due some minutes after it came. Retries and replays form the last rank: they
use what is left.

Every operation is O(log n). A waiter that gives up is only marked; the mark is dropped when it
comes to the top, or when more than half of a heap is marks.
"""

import heapq
from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from sluice_contracts import Priority

if TYPE_CHECKING:
    from services.worker.throttle.pool import Reservation

UNHURRIED: Final = 600.0
"""Seconds after which a call without a deadline counts as due: sorted last for ever, a stream of
calls with deadlines would starve it."""
LEFTOVER: Final = 3
"""The rank of retries and replays."""
RANKS: Final = (Priority.INTERACTIVE, Priority.STANDARD, Priority.BULK)
_RANK_OF: Final = {priority: rank for rank, priority in enumerate(RANKS)}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call is expected to use, and how it ranks."""

    group: str
    """The rate-limit group, or a model id that the API maps to one."""
    input_tokens: int
    """Expected uncached input, cache writes included."""
    output_tokens: int
    """Expected output; a call is never charged its `max_tokens`."""
    priority: Priority = Priority.STANDARD
    tenant: str = "default"
    deadline: float | None = None
    """On the event loop's clock."""
    prompt_key: str = ""
    """Prompt version that the estimate came from; with `characters` it lets `settle` learn."""
    characters: int = 0
    is_leftover: bool = False
    """A retry or replay: uses what the others leave."""

    @property
    def rank(self) -> int:
        """0 is served first."""
        return LEFTOVER if self.is_leftover else _RANK_OF[self.priority]

    @property
    def tokens(self) -> int:
        """What fairness between tenants counts."""
        return self.input_tokens + self.output_tokens


@dataclass(eq=False, slots=True)
class Waiter:
    """A call that waits for its reservation."""

    ask: Ask
    since: float
    future: "Future[Reservation]"
    is_gone: bool = False


@dataclass(eq=False, slots=True)
class _Tenant:
    name: str
    weight: float
    served: float
    """Tokens over weight: the tenant with the least goes next."""
    live: int = 0
    place: int = -1
    """Number of its one valid entry in the rank's order; -1 while it has no waiter."""
    waiting: list[tuple[float, int, Waiter]] = field(default_factory=list)

    def head(self) -> Waiter:
        """Return the live waiter with the earliest deadline; there is one."""
        while self.waiting[0][2].is_gone:
            heapq.heappop(self.waiting)
        return self.waiting[0][2]


class _Rank:
    """The waiters of one rank, by tenant."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.live = 0
        self.owed = 0.0
        self.tenants: dict[str, _Tenant] = {}
        self._weights = weights
        self._busy = 0
        self._clock = 0.0  # `served` of the tenant served last
        self._order: list[tuple[float, int, _Tenant]] = []
        self._numbers = count()

    def push(self, waiter: Waiter) -> None:
        ask = waiter.ask
        tenant = self.tenants.get(ask.tenant)
        if tenant is None:
            weight = self._weights.get(ask.tenant, 1.0)
            tenant = self.tenants[ask.tenant] = _Tenant(ask.tenant, weight, self._clock)
        if tenant.live == 0:
            # What it did not use while away is not saved up: it begins where the others are.
            tenant.served = max(tenant.served, self._clock)
            tenant.waiting.clear()
            self._busy += 1
            self._place(tenant)
        deadline = waiter.since + UNHURRIED if ask.deadline is None else ask.deadline
        heapq.heappush(tenant.waiting, (deadline, next(self._numbers), waiter))
        tenant.live += 1
        self.live += 1

    def head(self) -> Waiter:
        """Return who is next in this rank; there is one."""
        while self._order[0][1] != self._order[0][2].place:
            heapq.heappop(self._order)
        return self._order[0][2].head()

    def pop(self) -> None:
        """Take the waiter that `head` has just returned."""
        tenant = heapq.heappop(self._order)[2]
        ask = heapq.heappop(tenant.waiting)[2].ask
        self._clock = max(self._clock, tenant.served)
        tenant.served += ask.tokens / tenant.weight
        self._leave(tenant)
        if tenant.live:
            self._place(tenant)

    def remove(self, waiter: Waiter) -> None:
        tenant = self.tenants[waiter.ask.tenant]
        waiter.is_gone = True
        self._leave(tenant)
        if tenant.live and len(tenant.waiting) > 2 * tenant.live + 8:
            tenant.waiting = [entry for entry in tenant.waiting if not entry[2].is_gone]
            heapq.heapify(tenant.waiting)

    def _leave(self, tenant: _Tenant) -> None:
        self.live -= 1
        tenant.live -= 1
        if tenant.live:
            return
        tenant.place = -1
        tenant.waiting.clear()
        self._busy -= 1
        if self.live == 0:
            self.owed = 0.0
            self._clock = max(self._clock, tenant.served)  # all begin alike after a pause
        if len(self.tenants) > 2 * self._busy + 64:  # names must not add up for ever
            self.tenants = {
                name: other
                for name, other in self.tenants.items()
                if other.live or other.served > self._clock
            }
        if len(self._order) > 2 * self._busy + 64:
            self._order = [entry for entry in self._order if entry[1] == entry[2].place]
            heapq.heapify(self._order)

    def _place(self, tenant: _Tenant) -> None:
        tenant.place = next(self._numbers)
        heapq.heappush(self._order, (tenant.served, tenant.place, tenant))


class WaitQueue:
    """The waiting calls of one group."""

    def __init__(self, *, weights: Mapping[str, float], least_share: float) -> None:
        self._least_share = least_share
        self._ranks = tuple(_Rank(weights) for _ in range(LEFTOVER + 1))
        self.input_tokens = 0
        self.output_tokens = 0
        self._live = 0
        self._top_waited = False

    def __len__(self) -> int:
        return self._live

    def waiting(self, rank: int) -> int:
        """Count the waiters of a rank."""
        return self._ranks[rank].live

    def push(self, waiter: Waiter) -> None:
        """Add a waiter."""
        self._ranks[waiter.ask.rank].push(waiter)
        self._count(waiter.ask, 1)

    def peek(self) -> Waiter | None:
        """Return who goes next, without taking it."""
        found = self._next()
        return None if found is None else found[1]

    def pop(self) -> Waiter:
        """Take who goes next, charge its tenant, and note what lower ranks are owed for it."""
        found = self._next()
        assert found is not None
        chosen, waiter = found
        tokens = waiter.ask.tokens
        self._top_waited = any(rank.live for rank in self._ranks[:chosen])
        self._ranks[chosen].owed = max(0.0, self._ranks[chosen].owed - tokens)
        self._ranks[chosen].pop()
        for rank in self._ranks[chosen + 1 :]:
            if rank.live:
                rank.owed += self._least_share * tokens
        self._count(waiter.ask, -1)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Forget a waiter that gave up; nothing of it stays."""
        self._ranks[waiter.ask.rank].remove(waiter)
        self._count(waiter.ask, -1)

    def correct(self, ask: Ask, tokens: int) -> None:
        """Charge the tenant of a finished call what it used beyond its estimate."""
        tenant = self._ranks[ask.rank].tenants.get(ask.tenant)
        if tenant is not None:
            tenant.served += tokens / tenant.weight

    def _next(self) -> tuple[int, Waiter] | None:
        chosen = None
        for number, rank in enumerate(self._ranks):
            if not rank.live:
                continue
            head = rank.head()
            if chosen is None:
                chosen = number, head
                if self._top_waited:
                    break  # never two lower calls in a row before a higher one
            elif rank.owed >= head.ask.tokens:
                return number, head
        return chosen

    def _count(self, ask: Ask, sign: int) -> None:
        self._live += sign
        self.input_tokens += sign * ask.input_tokens
        self.output_tokens += sign * ask.output_tokens
