"""S4, L1, L2, L4: the groups' progress, and that everything heals."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.history import Fate, History, Partition


def never_regresses(history: History) -> Iterator[str]:
    """S4: a group's offset never goes back, and what was complete stays so."""
    before: dict[tuple[str, Partition], tuple[int, frozenset[int]]] = {}
    for step in history.progress:
        offset, complete = before.get((step.group, step.partition), (0, frozenset[int]()))
        if step.offset < offset:
            yield f"S4: {step.group} {step.partition} went back from {offset} to {step.offset}"
        undone = {each for each in complete if each >= step.offset} - step.complete
        if undone:
            yield f"S4: {step.partition} forgot that {sorted(undone)[:3]} were complete"
        before[step.group, step.partition] = (step.offset, step.complete)


def all_is_committed(history: History) -> Iterator[str]:
    """L1: nothing lags in the end (markers after the last record are no records)."""
    committed: dict[Partition, int] = {step.partition: step.offset for step in history.progress}
    ends: defaultdict[Partition, int] = defaultdict(int)
    hops = [record.place for record in history.written if record.kind == "retry"]
    for topic, number, offset in (*(record.place for record in history.inputs), *hops):
        ends[topic, number] = max(ends[topic, number], offset + 1)
    for partition, end in ends.items():
        if committed.get(partition, 0) < end:
            yield f"L1: {partition} is committed to {committed.get(partition)} of {end}"


def ends_are_visible(history: History) -> Iterator[str]:
    """L2: no transaction hides an output's end for longer than its timeout and 5 s.

    Counted from the end of the last fault before the stall was over: while faults go on, brokers
    may be away who could end it.
    """
    for stall in history.stalls:
        healed = max((f.until for f in history.faults if f.until <= stall.until), default=0.0)
        hidden = stall.until - max(stall.since, healed)
        if hidden > history.bounds.stalled:
            yield f"L2: the end of {stall.partition} was hidden for {hidden:.1f} s"
    for place, fate in history.fates.items():
        if fate is Fate.OPEN:
            yield f"L2: {place} is of a transaction that nobody has ended"


def all_is_owned(history: History) -> Iterator[str]:
    """L4: every partition has an owner again."""
    for group, partition in history.unowned:
        yield f"L4: nobody in {group} owns {partition}"
