"""S3, S5, S6: each request goes one way, no part of it early, and nothing is skipped on it."""

from collections import defaultdict
from collections.abc import Iterator

from sluice_contracts import FailureCode
from tests.chaos.history import Call, History, Identity, Input, Place, Written
from tests.chaos.rules.chains import CLOCK_SLACK, ROUNDING, Chain, chains


def one_path(history: History) -> Iterator[str]:
    """S6: hop after hop, each comes back once, as it was; the outcome ends it."""
    for first, chain in chains(history).items():
        hops, identity = chain.hops, {record.identity for record in chain.inputs}
        if len(chain.inputs) != 1 + len(hops):
            yield f"S6: {first} has {len(chain.inputs)} records after {len(hops)} hops"
            continue
        if len(identity) != 1 or chain.inputs[0].place != first:
            yield f"S6: {first} is the origin of {sorted(identity)}"
        if chain.outs[: len(hops)] != hops:
            yield f"S6: {first} rested after its outcome"
        for hop, back in zip(hops, chain.inputs[1:], strict=True):
            if _carried(hop) != _carried(back):
                yield f"S6: {back.place} is not what rested at {hop.place}"
            if back.at + ROUNDING < hop.at:
                yield f"S6: {back.place} was there before it rested at {hop.place}"
        for before, record in zip(chain.outs, chain.inputs[1:], strict=False):
            if before.at > record.at + ROUNDING:
                yield f"S6: {before.place} was written after its record had come back"
        yield from _attempts_ascend(chain)


def _carried(record: Input | Written) -> tuple[str, int | None, float | None]:
    return record.body, record.attempt, record.not_before


def _attempts_ascend(chain: Chain) -> Iterator[str]:
    """Being told to wait is no attempt; every other hop is one more."""
    spent = 0
    for hop in chain.hops:
        is_wait = hop.code == FailureCode.RATE_LIMITED
        if hop.attempt < spent + (not is_wait):
            yield f"S6: {hop.place} counts {hop.attempt} attempts after {spent}"
        spent = hop.attempt
    for outcome in chain.outs[len(chain.hops) :]:
        if outcome.attempt < spent:
            yield f"S6: {outcome.place} counts {outcome.attempt} attempts after {spent}"


def never_early(history: History) -> Iterator[str]:
    """S3: nothing is put back or called before its time.

    Whoever was away and has not heard yet that its partitions are gone may still call what the next
    owner has sent to rest: such a call is a repeat, which C2 judges. And a wait in memory ends with
    its process (the next owner is paced by the throttle alone), so it binds that process only.
    """
    by_identity: defaultdict[Identity, list[Call]] = defaultdict(list)
    for call in history.calls:
        by_identity[call.identity].append(call)
    for chain in chains(history).values():
        for hop, back in zip(chain.hops, chain.inputs[1:], strict=False):
            if hop.not_before is not None and back.at + ROUNDING < hop.not_before:
                yield f"S3: {back.place} was put back {hop.not_before - back.at:.3f} s too early"
        for hop in chain.hops:
            for call in by_identity[hop.identity]:
                due = hop.not_before or hop.at
                is_early = hop.at + CLOCK_SLACK < call.started < due - CLOCK_SLACK
                if is_early and not _is_stale(call, history):
                    yield f"S3: {call.request_id} called {due - call.started:.3f} s too early"
    for calls in by_identity.values():
        yield from _waits_are_kept(sorted(calls, key=lambda call: call.started))


def _waits_are_kept(calls: list[Call]) -> Iterator[str]:
    for number, told in enumerate(calls):
        if told.retry_after is None:
            continue
        due = told.ended + told.retry_after
        for call in calls[number + 1 :]:
            if call.worker == told.worker and call.started < due - CLOCK_SLACK:
                yield f"S3: {call.request_id} called {due - call.started:.3f} s too early"


def _is_stale(call: Call, history: History) -> bool:
    return any(
        fault.worker == call.worker and fault.at <= call.started <= fault.until + fault.aftermath
        for fault in history.faults
    )


def nothing_skipped(history: History) -> Iterator[str]:
    """S5: what a commit calls complete has its outcome or its hop, at or before that commit."""
    completed = completed_at(history)
    found = chains(history)
    handled = {(r.identity, r.body) for chain in found.values() if chain.outs for r in chain.inputs}
    for chain in found.values():
        for number, record in enumerate(chain.inputs):
            at = completed.get(record.place)
            if at is None:
                continue
            if number < len(chain.outs):
                late = chain.outs[number].at - at
                if late > ROUNDING:
                    yield f"S5: {record.place} was complete {late:.3f} s before its outcome"
            elif number or (record.identity, record.body) not in handled:
                # A first record without any output of its own may be a copy of one that has some.
                yield f"S5: {record.place} is complete and has neither outcome nor retry"
        for hop, back in zip(chain.hops, chain.inputs[1:], strict=False):
            at = completed.get(hop.place)
            if at is not None and back.at - at > ROUNDING:
                yield f"S5: {hop.place} was complete {back.at - at:.3f} s before it was put back"


def completed_at(history: History) -> dict[Place, float]:
    """Return when each offset was first said to be complete, by any group's commits."""
    found: dict[Place, float] = {}
    frontier: dict[tuple[str, int], int] = {}
    for step in history.progress:
        begin = frontier.get(step.partition, 0)
        for offset in (*range(begin, step.offset), *step.complete):
            found.setdefault((*step.partition, offset), step.at)
        frontier[step.partition] = max(begin, step.offset)
    return found
