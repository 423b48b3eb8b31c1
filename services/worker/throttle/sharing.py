"""How replicas divide one allowance: a pure fold over the log of what each of them says.

Every replica reads the same records in the same order and so comes to the same division, without a
leader and without being told how many there are:

- Each *wants* some of the budget; what it should have is the max-min fair part of it, and what
  nobody wants is divided equally.
- Each *claims* a part. The log decides: at its place in the log a claim is worth what the others'
  claims leave of the budget. So less takes effect at once and more only after the others have let
  go, one round later; the parts never add up to more than the budget.
- A replica that is not heard of for a lease loses its part. By then it has stopped using it: its
  own lease runs from before its record was written.
- Parts that are held and not quite used, because demand comes unevenly, would be lost. So while
  more is wanted than there is, an account is kept of what the fleet was allowed and did not use,
  from counters that only rise, so that a lost record costs nothing. The parts may add up to more
  than the budget by what is in the account, a little at a time; it never holds more than a small
  burst, and what was used too much is taken off.
- The budget itself is folded from the log: the newest limits anyone saw, what the API's levels
  show (`levels.py`), and a slow start that follows what the fleet really uses.
"""

from dataclasses import dataclass
from typing import Final

from services.worker.throttle.buckets import ZERO, Amounts
from services.worker.throttle.levels import WARY, Course, Level
from services.worker.throttle.slow_start import SlowStart
from services.worker.throttle.standing import Standing

LEAST_WANT: Final = 0.001
"""Part of the budget that a replica wants though it has nothing to do, to begin at once."""
SETTLES: Final = 5.0
"""Seconds within which refusals are the same refusal."""
TICK: Final = 1.0
"""Seconds between two steps of the level controllers."""
ROUNDED: Final = (1.0, 1_000.0, 1_000.0)
"""What the headers round `remaining` to."""
REPAID: Final = 3.0
"""Seconds in which what was left unused is lent out again: a share takes about two to be used."""
MOST_SAVED: Final = 1.0
"""Seconds of the budget that may wait to be lent out: the API's burst has to bear them."""
MOST_OWED: Final = 0.1
"""Seconds of the budget that are taken off at most, where more was used than there was."""
SLACK: Final = 0.8
"""Part of the budget below which a limit is not what holds the fleet back."""
REFUSED_LATELY: Final = 15.0
"""Seconds after a refusal in which nothing is lent out."""
OTHERS_USE: Final = 0.985
"""Below this factor the API's own level says what is left over, and nothing is lent out."""
GOES_ON: Final = 8.0
"""Seconds after a lease ran out in which nothing is lent out: who lost it may go on, unseen."""
CUT_OFF: Final = 30.0
"""Seconds after a lease ran out in which a refusal is likely the work of who lost it: a replica
that is cut off goes on within its safe share."""
CUT_OFF_WARY: Final = 10.0
"""How long the factor is not raised after such a refusal, in seconds."""


@dataclass(slots=True)
class _Member:
    standing: Standing
    seen_at: float
    holds: Amounts


def max_min(budget: float, wants: dict[str, float]) -> dict[str, float]:
    """Divide a budget max-min fairly; what nobody wants is divided equally."""
    shares: dict[str, float] = {}
    left = budget
    waiting = sorted(wants, key=lambda name: (wants[name], name))
    for place, name in enumerate(waiting):
        fair = left / (len(waiting) - place)
        shares[name] = min(wants[name], fair)
        left -= shares[name]
    extra = left / len(shares) if shares else 0.0
    return {name: share + extra for name, share in shares.items()}


class Division:
    """The division of one group's allowance, as of the last record folded."""

    def __init__(
        self,
        limits: Amounts,
        ceiling: Amounts | None,
        *,
        safety: float,
        slow_start: float,
        growth: float,
        lease: float,
    ) -> None:
        self._slow_start = SlowStart(slow_start, growth)
        self._limits = limits
        self._limits_at = float("-inf")
        self._ceiling = ceiling
        self._safety = safety
        self._lease = lease
        self._members: dict[str, _Member] = {}
        self._folded_at: float | None = None
        self._levels = (Level(), Level(), Level())
        self._ticked_at: float | None = None
        self._refused_at = float("-inf")
        self._cut_off_at = float("-inf")
        self._quiet_until = float("-inf")
        self._budget: Amounts | None = None
        self._saved = [0.0, 0.0, 0.0]
        self.is_new = True
        """Whether the log is still read up to where this replica's own first record stands. Until
        then what the others say of their common state is adopted, the last word over the ones
        before; afterwards it is folded here as it is everywhere else."""

    @property
    def members(self) -> tuple[str, ...]:
        """The replicas that hold a lease."""
        return tuple(self._members)

    @property
    def bound(self) -> float:
        """The part of the limits that the slow start allows."""
        return self._slow_start.bound

    @property
    def limits(self) -> Amounts:
        """Per minute, ceiling applied."""
        if self._ceiling is None:
            return self._limits
        return Amounts(*(min(pair) for pair in zip(self._limits, self._ceiling, strict=True)))

    @property
    def factor(self) -> Amounts:
        """The part of each limit that is left to us, by what the API's levels show.

        More than 1 makes up for what was not used; under a ceiling of our own there is no more.
        """
        return Amounts(
            *(
                min(1.0, level.factor) if is_capped else level.factor
                for level, is_capped in zip(self._levels, self._capped, strict=True)
            )
        )

    @property
    def saved(self) -> Amounts:
        """What was left unused and may be lent out."""
        return Amounts(*self._saved)

    @property
    def quiet(self) -> float:
        """Seconds for which nothing is lent out yet, as of the last record folded."""
        return 0.0 if self._folded_at is None else max(0.0, self._quiet_until - self._folded_at)

    @property
    def is_output_full(self) -> bool:
        """Whether the API's bucket of output overflows, and would not if we used the limit.

        During the slow start and under a ceiling of our own it is full by intention.
        """
        return self.bound >= 1.0 and not self._capped[2] and self._levels[2].overflows

    @property
    def courses(self) -> tuple[Course, Course, Course]:
        """Where the controllers of the API's levels stand."""
        requests, inputs, outputs = (level.course for level in self._levels)
        return requests, inputs, outputs

    @property
    def budget(self) -> Amounts:
        """What the whole fleet may use per second."""
        if self._budget is None:
            scale = self._safety * self.bound / 60.0
            self._budget = Amounts(
                *(
                    limit * factor * scale
                    for limit, factor in zip(self.limits, self.factor, strict=True)
                )
            )
        return self._budget

    @property
    def shared(self) -> Amounts:
        """What the parts may add up to, per second."""
        return Amounts(
            *(
                # What is owed is taken off at any level.
                part + min(saved, saved * level.room) / REPAID
                for part, saved, level in zip(self.budget, self._saved, self._levels, strict=True)
            )
        )

    def fold(self, replica: str, standing: Standing, at: float) -> None:
        """Take a record in, at its time in the log."""
        self.expire(at)
        self._advance(at)
        if standing.limits is not None and at - standing.limits_age >= self._limits_at:
            if standing.limits != self._limits:
                for level in self._levels:
                    level.forget()
                self._saved = [0.0, 0.0, 0.0]
            self._limits, self._limits_at = standing.limits, at - standing.limits_age
        known = self._members.get(replica)
        self._read(standing, known, at)
        if known is None:
            self._adopt(standing, at)
        else:
            # What was held is counted against what is known to be used, in one and the same time.
            self._save(
                known.holds.times(at - known.seen_at),
                standing.total.plus(known.standing.total.times(-1.0)),
                at,
            )
        if known is not None and standing.too_sharp > known.standing.too_sharp:
            self._slow_start.complain(at)
        held = standing.holds if known is None else known.holds
        member = self._members[replica] = _Member(standing, at, held)
        self._budget = None
        others = self._sum(replica)
        member.holds = Amounts(
            *(
                min(claim, max(budget - other, had, 0.0))
                for claim, budget, other, had in zip(
                    standing.claim, self.shared, others, held, strict=True
                )
            )
        )

    @property
    def free(self) -> Amounts:
        """What nobody holds, per second."""
        return self.shared.plus(self._sum().times(-1.0))

    @property
    def slack(self) -> tuple[bool, bool, bool]:
        """Which limits the fleet is far from: those can not be what holds it back."""
        used = self._used()
        requests, inputs, outputs = (
            amount < SLACK * part for amount, part in zip(used, self.budget, strict=True)
        )
        return requests, inputs, outputs

    def remove(self, replica: str) -> None:
        """Forget a replica that left."""
        if self._members.pop(replica, None) is not None:
            self._budget = None

    def expire(self, at: float) -> None:
        """Forget the replicas whose lease has run out."""
        for name, member in tuple(self._members.items()):
            ran_out = member.seen_at + self._lease
            if at > ran_out:
                self.remove(name)
                self._cut_off_at = max(self._cut_off_at, ran_out)
                self._quiet_until = max(self._quiet_until, ran_out + GOES_ON)

    def holds(self, replica: str) -> Amounts:
        """Return what a replica may use per second; scaled down where the budget has shrunk."""
        member = self._members.get(replica)
        if member is None:
            return ZERO
        return Amounts(
            *(
                held * min(1.0, budget / total) if total > 0 else 0.0
                for held, budget, total in zip(member.holds, self.shared, self._sum(), strict=True)
            )
        )

    def target(self, replica: str, wants: Amounts) -> Amounts:
        """Return the max-min fair part of a replica that wants this much now."""
        parts: list[float] = []
        named = [(name, member.standing.wants) for name, member in self._members.items()]
        for index, budget in enumerate(self.shared):
            least = LEAST_WANT * budget
            wanted = {name: max(least, other[index]) for name, other in named}
            wanted[replica] = max(least, wants[index])
            parts.append(max_min(budget, wanted)[replica])
        return Amounts(*parts)

    @property
    def _capped(self) -> tuple[bool, bool, bool]:
        """Which limits the ceiling of the settings sets, and not the API."""
        requests, inputs, outputs = (
            ours < theirs for ours, theirs in zip(self.limits, self._limits, strict=True)
        )
        return requests, inputs, outputs

    def _sum(self, without: str | None = None) -> Amounts:
        total = ZERO
        for name, member in self._members.items():
            if name != without:
                total = total.plus(member.holds)
        return total

    def _used(self) -> Amounts:
        used = ZERO
        for member in self._members.values():
            used = used.plus(member.standing.used)
        return used

    def _adopt(self, standing: Standing, at: float) -> None:
        """Learn from another's record what the compacted log no longer shows."""
        self._slow_start.adopt(standing.bound)
        if self.is_new:
            self._saved = list(standing.saved)
            self._quiet_until = max(self._quiet_until, at + standing.quiet)
            for level, course in zip(self._levels, standing.courses, strict=True):
                level.adopt(course)

    def _advance(self, at: float) -> None:
        """Move slow start and account for the time since the last record."""
        elapsed = 0.0 if self._folded_at is None else max(0.0, at - self._folded_at)
        self._folded_at = at if self._folded_at is None else max(at, self._folded_at)
        used = self._used()
        use = max(
            60.0 * amount / (limit * self._safety * factor)
            for amount, limit, factor in zip(used, self.limits, self.factor, strict=True)
        )
        self._slow_start.step(use, elapsed)
        self._budget = None
        self._save(self.budget.times(elapsed), self._sum().times(elapsed), at)

    def _save(self, allowed: Amounts, used: Amounts, at: float) -> None:
        """Keep what was allowed and not used, to lend it out while somebody is short of it."""
        members = [member.standing for member in self._members.values()]
        # Which limit they wait for changes from call to call: it is enough that somebody waits.
        may_lend = (
            self.bound >= 1.0
            and at >= self._quiet_until
            and any(member.waits_for is not None for member in members)
        )
        for index, budget in enumerate(self.budget):
            is_short = sum(member.wants[index] for member in members) > budget
            if may_lend and is_short and self._levels[index].factor >= OTHERS_USE:
                saved = self._saved[index] + allowed[index] - used[index]
                self._saved[index] = min(MOST_SAVED * budget, max(-MOST_OWED * budget, saved))
            else:
                self._saved[index] = 0.0

    def _read(self, standing: Standing, known: _Member | None, at: float) -> None:
        """Take in what a replica's answers show of the API's levels, and how it was refused."""
        for level, readings, limit, rounding in zip(
            self._levels, standing.readings, self._limits, ROUNDED, strict=True
        ):
            if readings.answers:
                level.see(readings, rounding / limit * 60.0)
        if known and standing.refused > known.standing.refused and at - self._refused_at > SETTLES:
            self._refused_at = at
            self._quiet_until = max(self._quiet_until, at + REFUSED_LATELY)
            self._saved = [0.0, 0.0, 0.0]
            refused_for = standing.waits_for
            self._levels[0 if refused_for is None else refused_for].refused(
                CUT_OFF_WARY if at - self._cut_off_at < CUT_OFF else WARY
            )
        if self._ticked_at is None:
            self._ticked_at = at
        if at - self._ticked_at >= TICK:
            for level in self._levels:
                level.tick(min(at - self._ticked_at, 5.0 * TICK))
            self._ticked_at = at
