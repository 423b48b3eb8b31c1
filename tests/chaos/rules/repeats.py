"""C1, C2, C3: what was paid again, and which fault is to blame for it.

A request is paid once for each different body that is sent for it: an answer that does not pass is
followed by a round with another body. A call with a body that was answered before, or whose caller
went away before the answer, is a repeat. Labels of the worker are not believed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.history import Call, Fault, History, Identity
from tests.chaos.rules.chains import CLOCK_SLACK

MOST_ROUNDS = 2
"""Different bodies of one request: the first, and one repair (`VALIDATION__MAX_REPAIRS`)."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A call that was made again."""

    before: Call
    again: Call
    visible: float | None
    """When the outcome that `before` could have had was there; None where there was none."""
    is_final: bool
    """Whether nothing but its commit was missing: an answer that needs another round is not
    finished with."""


@dataclass(slots=True)
class Charges:
    """Every repeat, those that nothing explains, and those published too late, by fault."""

    repeats: list[Repeat] = field(default_factory=list)
    unexplained: list[Repeat] = field(default_factory=list)
    unpublished: defaultdict[Fault, list[Repeat]] = field(default_factory=lambda: defaultdict(list))
    """Class B: answered before the fault, and not visible yet."""


def charged(history: History) -> Charges:
    """Charge each repeat to a fault of its own that struck the worker which knew the answer.

    A fault explains one repeat of each round of a request: struck in the second, both are made
    again. One that leaves a worker not knowing that it lost its partitions explains another, for
    the call that this worker makes in vain.
    """
    found = Charges()
    faults = sorted((f for f in history.faults if f.worker), key=lambda fault: fault.until)
    for repeats in _repeats(history).values():
        losses_of: defaultdict[str, list[Fault]] = defaultdict(lambda: list(faults))
        vain = [fault for fault in faults if fault.aftermath]
        for repeat in repeats:
            losses = losses_of[repeat.again.body]
            found.repeats.append(repeat)
            # The one that ends first is the one that later repeats need least.
            if in_vain := next((f for f in vain if _is_in_vain(f, repeat)), None):
                vain.remove(in_vain)
            elif lost := next((f for f in losses if _is_loss(f, repeat)), None):
                losses.remove(lost)
                if not _in_flight(repeat, lost):
                    found.unpublished[lost].append(repeat)
            else:
                found.unexplained.append(repeat)
    return found


def all_explained(charges: Charges, history: History) -> Iterator[str]:
    """C1, C2: nothing is paid again but for a fault."""
    for repeat in charges.unexplained:
        again = repeat.again
        yield f"C2: repeated call of {again.request_id} at {again.started:.3f} has no fault"
    bodies: defaultdict[Identity, set[str]] = defaultdict(set)
    for call in history.calls:
        bodies[call.identity].add(call.body)
    for identity, different in bodies.items():
        if len(different) > MOST_ROUNDS:
            yield f"C1: {identity} was asked in {len(different)} different ways"


def published_in_time(charges: Charges, history: History) -> Iterator[str]:
    """C3: what a fault finds unpublished was answered in the last commit interval, but for one."""
    for fault, repeats in charges.unpublished.items():
        since = _interval_before(fault, history) - CLOCK_SLACK
        old = [repeat for repeat in repeats if repeat.before.ended < since]
        if len(old) > 1:
            age = max(fault.at - repeat.before.ended for repeat in old)
            yield (
                f"C3: {len(old)} answers were not published for more than a commit interval, up to "
                f"{age:.1f} s, at {fault.kind} ({fault.at:.3f})"
            )


def _repeats(history: History) -> dict[Identity, list[Repeat]]:
    by_identity: defaultdict[Identity, list[Call]] = defaultdict(list)
    for call in history.calls:
        by_identity[call.identity].append(call)
    written: defaultdict[Identity, list[float]] = defaultdict(list)
    for record in history.written:
        if record.kind != "dead_letter":
            written[record.identity].append(record.at)
    found = {}
    for identity, calls in by_identity.items():
        calls.sort(key=lambda call: call.started)
        repeats = list(_of_one(calls, sorted(written[identity]), history.bounds.call_timeout))
        if repeats:
            found[identity] = sorted(repeats, key=lambda repeat: repeat.again.started)
    return found


def _of_one(calls: Sequence[Call], written: list[float], timeout: float) -> Iterator[Repeat]:
    for body in {call.body for call in calls}:
        paid = [c for c in calls if c.body == body and (c.is_answered or _was_lost(c, timeout))]
        for before, again in pairwise(paid):
            if _starts_over(before, again, calls):
                continue
            yield Repeat(
                before,
                again,
                visible=next((at for at in written if at > before.started), None),
                is_final=not before.needs_another
                and not any(c.body != body and c.started > before.started for c in calls),
            )


def _was_lost(call: Call, timeout: float) -> bool:
    """Whether the caller went away for no reason of its own: a timeout is one."""
    return call.is_cut and call.ended - call.started < timeout - 2 * CLOCK_SLACK


def _starts_over(before: Call, again: Call, calls: Sequence[Call]) -> bool:
    """Whether a later round failed in between, so that the next attempt begins with the first."""
    return any(
        call.body != before.body
        and before.started < call.started < again.started
        and not (call.is_answered or call.is_cut)
        for call in calls
    )


def _is_loss(fault: Fault, repeat: Repeat) -> bool:
    """Whether the fault took the answer from who had it, or was waiting for it."""
    before = repeat.before
    if fault.worker != before.worker or before.started > _ends(fault) + CLOCK_SLACK:
        return False
    return _in_flight(repeat, fault) or repeat.visible is None or repeat.visible > fault.at


def _is_in_vain(fault: Fault, repeat: Repeat) -> bool:
    """Whether one of the two calls was made by who had not heard that its partitions are gone."""
    return any(
        call.worker == fault.worker and fault.until - CLOCK_SLACK <= call.started <= _ends(fault)
        for call in (repeat.before, repeat.again)
    )


def _ends(fault: Fault) -> float:
    return fault.until + fault.aftermath


def _in_flight(repeat: Repeat, fault: Fault) -> bool:
    """Class A: the request was being worked on when the fault struck."""
    return not repeat.is_final or repeat.before.ended >= fault.at - CLOCK_SLACK


def _interval_before(fault: Fault, history: History) -> float:
    """Return when the last commit before a fault was due, at the latest.

    Commits that another fault hinders are not due before that is over.
    """
    interval = history.bounds.commit_interval
    since = fault.at - interval
    for other in sorted(history.faults, key=lambda each: each.until, reverse=True):
        is_hindered = other.hinders and other is not fault
        if is_hindered and other.at < since <= other.until + other.hinders:
            since = other.at - interval
    return since
