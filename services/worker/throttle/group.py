"""One rate-limit group in one replica: what is known of it, how it is divided, and who waits."""

import asyncio
from typing import Any, Final

from services.worker.throttle.allowance import Allowance, per_minute
from services.worker.throttle.buckets import MEASURES, ZERO, Amounts, Measure
from services.worker.throttle.headers import Reading
from services.worker.throttle.hold import HoldKind
from services.worker.throttle.pool import Pool, Witness
from services.worker.throttle.record import GroupPosted
from services.worker.throttle.settings import ThrottleSettings
from services.worker.throttle.sharing import Division

BACKLOG: Final = 2.0
"""Seconds in which a replica would like to be rid of what waits. Demand is taken as it comes, with
nothing on top: a replica that has to queue for a moment uses its part, one with room wastes it."""
ROOM: Final = 2.0
"""A replica that one bucket holds back wants this many times what it can use of the others."""
OFF: Final = 0.05
"""Part of the budget by which a claim must be off to be corrected before the next round."""
UNKNOWN_FLEET: Final = 8
"""How many replicas to assume before the topic was ever read."""


class Group:
    """Puts together the allowance, its division and the pool of one group."""

    def __init__(
        self,
        name: str,
        replica: str,
        settings: ThrottleSettings,
        witness: Witness,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        ceiling = settings.ceilings.get(name)
        capped = None if ceiling is None else per_minute(ceiling)
        self.name = name
        self.allowance = Allowance(per_minute(settings.start), capped)
        self.pool = Pool(name, settings, witness, loop)
        self.division = Division(
            per_minute(settings.start),
            capped,
            safety=settings.safety,
            slow_start=settings.slow_start,
            growth=settings.ramp_growth,
            lease=settings.lease.total_seconds(),
        )
        self.too_sharp = 0
        self._replica = replica
        self._lost_share = settings.lost_share
        self._safety = settings.safety
        self._wanted = ZERO
        self._claim = ZERO
        self._refused = 0
        self._was = ZERO
        self._refused_at = float("-inf")
        self._fleet = UNKNOWN_FLEET

    def post(self, now: float) -> GroupPosted:
        """Claim a part, and say where this replica stands."""
        waits_for = self.pool.waited_for()
        wants = self._wants(now, waits_for)
        self._wanted = wants
        self._claim = self.division.target(self._replica, wants)
        pool, known = self.pool, self.allowance.known(now)
        head, courses = pool.queue.peek(), self.division.courses
        return GroupPosted.model_construct(
            wants=wants,
            used=pool.demand.used(now),
            claim=self._claim,
            holds=self.division.holds(self._replica),
            total=Amounts(*pool.demand.total),
            limits=None if known is None else known[0],
            limits_age=0.0 if known is None else known[1],
            readings=self.allowance.readings(),
            factor=Amounts(*(course.steady for course in courses)),
            courses=courses,
            saved=self.division.saved,
            quiet=self.division.quiet,
            refused=self._refused,
            bound=self.division.bound,
            waits_for=None if waits_for is None else MEASURES.index(waits_for),
            too_sharp=self.too_sharp,
            held=max(0.0, pool.held_until - now) if pool.held_for else 0.0,
            held_for=pool.held_for,
            fill=Amounts(*(bucket.fill for bucket in pool.buckets)),
            waiting=len(pool.queue),
            longest_wait=0.0 if head is None else now - head.since,
            in_flight=pool.in_flight,
            concurrency=int(pool.concurrency.limit),
            binding=pool.binding,
        )

    def is_off(self) -> bool:
        """Whether this replica's claim is far from what it should have and can get, or let go."""
        division = self.division
        should = division.target(self._replica, self._wanted)
        return any(
            (part - claim > OFF * budget and free > OFF * budget) or claim - part > OFF * budget
            for part, claim, budget, free in zip(
                should, self._claim, division.budget, division.free, strict=True
            )
        )

    def share(self) -> None:
        """Use what the log gives, or the last claim where that is less."""
        held = self.division.holds(self._replica)
        known = self.allowance.limits
        rates = Amounts(
            *(
                # A limit that this replica saw fall counts at once, before the log says so.
                min(part, claim) * min(1.0, limit / divided)
                for part, claim, limit, divided in zip(
                    held, self._claim, known, self.division.limits, strict=True
                )
            )
        )
        self._was, self._fleet = rates, max(1, len(self.division.members))
        equal = self.division.budget.times(1.0 / self._fleet)
        if self.division.is_output_full:
            self.pool.forgive()
        self.pool.change(rates, equal, self.division.slack)

    def share_safely(self, since: float, lease: float) -> None:
        """Use a safe share, because the topic cannot be read or written since a while.

        A part of what it was for a lease, then of an equal one (`lost_share`); never more.
        """
        limits = self.allowance.limits
        equal = limits.times(self._safety * self._lost_share / 60.0 / self._fleet)
        if self._was == ZERO:
            self.pool.change(equal)
            return
        rates = self._was.times(self._lost_share)
        if since > lease:
            rates = Amounts(*(min(pair) for pair in zip(rates, equal, strict=True)))
        self.pool.change(rates)

    def see(self, reading: Reading, status: int, now: float, sent_at: float) -> None:
        """Take the headers of an answer to a call sent at `sent_at`."""
        debt = self.allowance.see(reading, status, sent_at)
        if debt is not None:
            self.pool.buckets.lower(debt, now)

    def share_again(self) -> None:
        """Use other limits at once, where they are lower."""
        if self._was != ZERO:
            self.share()

    def snapshot(self) -> dict[str, Any]:
        """Return where this group stands in this replica, and how the fleet divides it."""
        pool, division = self.pool, self.division
        return {
            "limits": tuple(self.allowance.limits),
            "share": tuple(pool.rates.times(60.0)),
            "factor": tuple(division.factor),
            "bound": division.bound,
            "replicas": len(division.members),
            "fill": tuple(bucket.fill for bucket in pool.buckets),
            "waiting": len(pool.queue),
            "in_flight": pool.in_flight,
            "concurrency": int(pool.concurrency.limit),
            "binding": pool.binding,
            "held_for": pool.held_for,
        }

    def fold(self, replica: str, posted: GroupPosted, at: float, here: float) -> None:
        """Take in what a replica says, at its time in the log; `here` is that time on our clock."""
        standing = posted.standing
        self.division.fold(replica, standing, at)
        if replica == self._replica:
            self.division.is_new = False
        elif standing.limits is not None:
            self.allowance.adopt(standing.limits, here - standing.limits_age)

    def refused(self, until: float, kind: HoldKind, now: float, sent_at: float | None) -> bool:
        """Take a refusal that holds the group; False where it says nothing new."""
        if kind is HoldKind.RATE and (sent_at is None or sent_at >= self._refused_at):
            self._refused_at = now
            self._refused += 1
        if kind is HoldKind.RAMP and (sent_at is None or sent_at >= self._refused_at):
            self._refused_at = now
            self.too_sharp += 1
        return self.pool.hold(until, kind)

    def _wants(self, now: float, binding: Measure | None) -> Amounts:
        """Return what would serve what comes in and work off what waits."""
        pool = self.pool
        asked = pool.demand.wanted(now)
        queue = pool.queue
        waiting = Amounts(len(queue), queue.input_tokens, queue.output_tokens)
        wants = asked.plus(waiting.times(1.0 / BACKLOG))
        if binding is None:
            return wants
        index = MEASURES.index(binding)
        # What it should have counts, where that is more than it has: a newcomer has nothing yet,
        # and would ask for one limit after the other.
        bound = max(pool.rates[index], self.division.target(self._replica, wants)[index])
        wanted = wants[index]
        usable = min(1.0, ROOM * bound / wanted) if wanted > 0 else 1.0
        return Amounts(
            *(want if place == index else want * usable for place, want in enumerate(wants))
        )
