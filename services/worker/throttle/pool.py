"""One rate-limit group as this replica sees it: buckets, waiters, calls in flight.

No task per waiter: a waiter is a future in a heap, and the pool keeps one timer, set to the moment
the next waiter's turn comes or the first deadline passes.
"""

import asyncio
import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol, Self

from services.worker.throttle.buckets import NEVER, Amounts, Buckets, Measure
from services.worker.throttle.concurrency import Concurrency
from services.worker.throttle.demand import Demand
from services.worker.throttle.hold import Hold, HoldKind
from services.worker.throttle.picking import Ask, Waiter, WaitQueue
from services.worker.throttle.settings import ThrottleSettings
from sluice_contracts import TokenUsage

SLACK_DEPTH: Final = 5.0
"""How many times more may be saved up of a limit that the fleet is far from."""


class DeadlinePassed(Exception):  # noqa: N818 -- a verdict on a request
    """The request's own deadline came before its turn."""


class Moved(Exception):  # noqa: N818 -- a signpost
    """The group goes by another name now: ask again there, as one who waits since `since`."""

    def __init__(self, since: float) -> None:
        super().__init__()
        self.since = since


@dataclass(eq=False, slots=True)
class Reservation:
    """Leave to make one call. `settle` it when the call is over, however it ended.

    As a context manager it settles itself as unknown when the block ends without a word.
    """

    ask: Ask
    pool: "Pool"
    granted_at: float
    waited: float
    """Seconds between the asking and the grant."""
    _is_settled: bool = False

    def settle(self, usage: TokenUsage | None) -> None:
        """Charge what the call used in place of the estimate; the first word counts.

        Args:
            usage: As the answer reports it. `TokenUsage()` where the API refused the call: the
                tokens are given back. None where nobody knows (a timeout, a lost connection): the
                estimate stays charged, because the call may have run.
        """
        if not self._is_settled:
            self._is_settled = True
            self.pool.settle(self, usage)

    def cancel(self) -> None:
        """Give everything back: the call was never sent."""
        if not self._is_settled:
            self._is_settled = True
            self.pool.give_back(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle(None)


class Witness(Protocol):
    """Told of what happens in a pool: the throttle learns and measures from it."""

    def granted(self, reservation: Reservation) -> None:
        """A call may be made."""
        ...

    def settled(self, ask: Ask, usage: TokenUsage) -> None:
        """A call ended, and this is what it used."""
        ...


class Pool:
    """Grants reservations of one group at the rates that were shared out to this replica."""

    def __init__(
        self,
        group: str,
        settings: ThrottleSettings,
        witness: Witness,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        now = loop.time()
        self.group = group
        self.buckets = Buckets(now)
        self.queue = WaitQueue(weights=settings.weights, least_share=settings.least_share)
        self.concurrency = Concurrency(settings.max_in_flight)
        self.demand = Demand(now)
        self.in_flight = 0
        self.binding: Measure | None = None
        self._hold = Hold(now)
        self._loop = loop
        self._witness = witness
        self._burst = settings.burst.total_seconds()
        self._deadlines: list[tuple[float, int, Waiter]] = []
        self._numbers = count()
        self._waits: Counter[Measure] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = NEVER

    @property
    def rates(self) -> Amounts:
        """What this replica may use, per second."""
        return Amounts(*(bucket.rate for bucket in self.buckets))

    @property
    def held_for(self) -> HoldKind | None:
        """Why the group makes no calls, if it makes none."""
        return self._hold.kind

    @property
    def held_until(self) -> float:
        """When the hold ends or ended, on the loop's clock."""
        return self._hold.until

    def change(
        self,
        rates: Amounts,
        equal: Amounts | None = None,
        slack: tuple[bool, bool, bool] = (False, False, False),
    ) -> None:
        """Take other rates per second from now on.

        Args:
            rates: This replica's part.
            equal: The part it would have if all had the same. A small part may save up as much as
                an equal one: else calls larger than what a moment brings would waste it.
            slack: Which limits the fleet is far from. More of those may be saved up: else a large
                call would hold up the next ones by a limit that nobody is short of.
        """
        depths = Amounts(*map(max, rates, equal or rates)).times(self._burst)
        most = Amounts(
            *(
                depth * (SLACK_DEPTH if is_slack else 1.0)
                for depth, is_slack in zip(depths, slack, strict=True)
            )
        )
        self.buckets.change(rates, depths, self._loop.time(), most)
        self.pump()

    def hold(self, until: float, kind: HoldKind, *, is_told: bool = False) -> bool:
        """Grant nothing before `until`; False where the group is held as long already.

        Args:
            until: On the loop's clock.
            kind: Why.
            is_told: Whether another replica says so; it may not know yet that the hold is over.
        """
        if not self._hold.begin(until, kind, self._loop.time(), is_told=is_told):
            return False
        self._wake_at(until)
        return True

    def forgive(self) -> None:
        """Owe no output, and make up for what a hold kept back: the API's own bucket is full.

        Of output only: it is charged while it is produced, so the books here and there differ by
        the calls in flight, and answers show its level as of their end.
        """
        now = self._loop.time()
        self.buckets.output_tokens.forgive(now, self._hold.missed(now))

    def resume(self) -> None:
        """End a hold early: the key was changed or the limit's date has passed."""
        self._hold.pardon(self._loop.time())
        self.pump()

    async def reserve(self, ask: Ask, since: float | None = None) -> Reservation:
        """Wait for this call's turn.

        Args:
            ask: For what.
            since: When it was asked for first, on the loop's clock, where that is not now.

        Raises:
            DeadlinePassed: The deadline came first.
            Moved: The group was given up for another while this waited.
        """
        now = self._loop.time()
        since = now if since is None else since
        if ask.deadline is not None and ask.deadline <= now:
            raise _passed(ask)
        self.demand.asked(ask, now)
        if self._hold.kind is None and not self.queue and self._delay(ask, now) <= 0.0:
            return self._grant(ask, since, now)
        waiter = Waiter(ask, since, self._loop.create_future())
        self.queue.push(waiter)
        if ask.deadline is not None:
            self._note_deadline(ask.deadline, waiter)
        self.pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def settle(self, reservation: Reservation, usage: TokenUsage | None) -> None:
        """Charge a finished call; `Reservation` calls this."""
        now = self._loop.time()
        self.in_flight -= 1
        if usage is not None:
            ask = reservation.ask
            charged = usage.input_tokens + usage.cache_creation_input_tokens
            more_in, more_out = charged - ask.input_tokens, usage.output_tokens - ask.output_tokens
            self.buckets.give_back(0.0, -more_in, -more_out, now)
            self.demand.corrected(more_in, more_out)
            if reservation.waited > 0:
                self.queue.correct(ask, more_in + more_out)
            if usage.output_tokens:
                # The call that ended counts: alone under a cap of one, it is what wins it back.
                self.concurrency.succeeded(self.in_flight + 1)
                self._witness.settled(ask, usage)
        self._pump(now)

    def give_back(self, reservation: Reservation) -> None:
        """Undo a grant; `Reservation` calls this."""
        ask, now = reservation.ask, self._loop.time()
        self.in_flight -= 1
        self.buckets.give_back(1.0, ask.input_tokens, ask.output_tokens, now)
        self.demand.undone(ask)
        self._pump(now)

    def pump(self) -> None:
        """Grant what can be granted now, and set the timer for what can be next."""
        self._pump(self._loop.time())

    def _pump(self, now: float) -> None:
        if self._hold.ends(now):
            self.buckets.drain(now)  # what was saved up meanwhile would come all at once
        self._expire(now)
        while (waiter := self.queue.peek()) is not None:
            if waiter.future.done():  # cancelled, and its task has not run yet to say so
                self.queue.remove(waiter)
                continue
            delay = self._delay(waiter.ask, now)
            if delay > 0.0:
                self.binding = self.buckets.binding(
                    waiter.ask.input_tokens, waiter.ask.output_tokens, now
                )
                self._waits[self.binding] += 1
                self._wake_at(now + delay)
                return
            self.queue.pop()
            waiter.is_gone = True
            waiter.future.set_result(self._grant(waiter.ask, waiter.since, now))
        self.binding = None

    def waited_for(self) -> Measure | None:
        """Name the limit that was waited for most often since this was last asked."""
        waits = self._waits
        self._waits = Counter()
        return waits.most_common(1)[0][0] if waits and self.queue else None

    def give_way(self, to: "Pool") -> None:
        """Send all who wait to another pool, and what they wait for; calls in flight end here."""
        while (waiter := self.queue.peek()) is not None:
            self._dismiss(waiter, Moved(waiter.since))
        if self._hold.kind is not None:
            to.hold(self._hold.until, self._hold.kind)
        self.close()

    def close(self) -> None:
        """Drop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _delay(self, ask: Ask, now: float) -> float:
        if now < self._hold.until:
            return self._hold.until - now
        if self.in_flight >= self.concurrency.limit:
            return NEVER  # the next call that ends pumps
        return self.buckets.delay(ask.input_tokens, ask.output_tokens, now)

    def _grant(self, ask: Ask, since: float, now: float) -> Reservation:
        self.in_flight += 1
        self.buckets.take(1.0, ask.input_tokens, ask.output_tokens)
        self.demand.granted(ask, now)
        reservation = Reservation(ask, self, now, now - since)
        self._witness.granted(reservation)
        return reservation

    def _dismiss(self, waiter: Waiter, why: Exception) -> None:
        """Let a waiter go without a grant."""
        self.queue.remove(waiter)
        if not waiter.future.done():
            waiter.future.set_exception(why)

    def _withdraw(self, waiter: Waiter) -> None:
        """Leave no trace of a cancelled waiter, even one that was granted in the same turn."""
        if not waiter.is_gone:
            self.queue.remove(waiter)
            self.pump()
        elif not waiter.future.cancelled() and waiter.future.exception() is None:
            waiter.future.result().cancel()

    def _note_deadline(self, deadline: float, waiter: Waiter) -> None:
        heapq.heappush(self._deadlines, (deadline, next(self._numbers), waiter))
        if len(self._deadlines) > 2 * len(self.queue) + 64:  # most have had their turn long ago
            self._deadlines = [entry for entry in self._deadlines if not entry[2].is_gone]
            heapq.heapify(self._deadlines)

    def _expire(self, now: float) -> None:
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].is_gone):
            waiter = heapq.heappop(self._deadlines)[2]
            if not waiter.is_gone:
                self._dismiss(waiter, _passed(waiter.ask))
        if self._deadlines:
            self._wake_at(self._deadlines[0][0])

    def _wake_at(self, when: float) -> None:
        if when == NEVER:
            return
        if self._timer is not None:
            if self._wakes_at <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        # Kept here, because uvloop answers a time that has come with a handle that knows no time.
        self._wakes_at = when
        self._timer = self._loop.call_at(when, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.pump()


def _passed(ask: Ask) -> DeadlinePassed:
    return DeadlinePassed(f"the deadline came before a reservation in group {ask.group!r}")
