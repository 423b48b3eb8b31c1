"""L3: how long after a fault everything published before its end had its outcome."""

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.chaos.history import Fault, History


def recovery(history: History) -> dict[str, dict[str, float]]:
    """Return median and maximum in seconds by kind of fault."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for fault, recovered in _recovered(history):
        seconds[fault.kind].append(recovered)
    return {
        kind: {"p50": round(median(found), 2), "max": round(max(found), 2)}
        for kind, found in sorted(seconds.items())
    }


def heals_in_time(history: History) -> Iterator[str]:
    """L3: every fault that came alone is recovered from within the bound of its kind.

    One that another one joined says how long both took. Storms of the API join nothing: they go on
    beside all others.
    """
    found = list(_recovered(history))
    for fault, recovered in found:
        bound = fault.recovers_within
        if bound is None or recovered <= bound:
            continue
        joined = any(
            other is not fault
            and not other.is_storm
            and other.at < fault.until + bound
            and other.until + of_other > fault.at
            for other, of_other in found
        )
        if not joined:
            yield f"L3: {fault.kind} ({fault.at:.3f}) took {recovered:.1f} s to recover from"


def _recovered(history: History) -> Iterator[tuple[Fault, float]]:
    """Look at what was published before a fault's end, and when downstream saw its outcome.

    Left out is what was sent to a retry topic: it rests a minute there by intention, which says
    nothing about a fault.
    """
    resting = {record.request_id for record in history.written if record.kind == "retry"}
    waited = [
        (record.at, history.seen[record.request_id])
        for record in history.inputs
        if record.origin is None
        and record.request_id in history.seen
        and record.request_id not in resting
    ]
    for fault in history.faults:
        late = [seen - fault.until for at, seen in waited if at < fault.until]
        yield fault, max([*late, 0.0])
