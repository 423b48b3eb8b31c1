"""Where requests ended, against where they should: the code, the error table's row, and unpaid."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sluice_contracts import headers as h
from tests.benchmarks.fault_plan import OUTAGE, Ending, kind_of
from tests.chaos.history import History, Identity

Expected = dict[Identity, list[tuple[Ending, str | None]]]
"""Endings of each request, and the row that decides where it is one of the table's."""
_SOON: Final = 0.5
"""Seconds in which a cancellation reaches every worker; a call may be on its way by then."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found."""

    by_code: dict[str, int]
    wrong: list[str]
    wrong_kinds: dict[str, int]
    cancelled: dict[str, int]
    """How many were cancelled, by where they waited."""


def judge(history: History, expected: Expected, cancelled_at: Mapping[str, float]) -> Judged:
    """Compare endings, rows and calls with what was planned."""
    endings = _endings(history)
    wrong = dict(_misrouted(history, endings, expected))
    wrong |= dict(_paid(history, cancelled_at))
    wrong |= dict(_not_tried_again(history))
    return Judged(
        by_code=dict(Counter(code for found in endings.values() for code in found).most_common()),
        wrong=[f"{name}: {why}" for name, why in wrong.items()],
        wrong_kinds=dict(Counter(kind_of(name) for name in wrong)),
        cancelled=dict(Counter(kind_of(name) for name in cancelled_at)),
    )


def _endings(history: History) -> dict[Identity, list[Ending]]:
    found: defaultdict[Identity, list[Ending]] = defaultdict(list)
    for record in history.written:
        if record.kind == "result":
            found[record.identity].append(record.code or "succeeded")
    return found


def _misrouted(
    history: History, endings: Mapping[Identity, list[Ending]], expected: Expected
) -> Iterator[tuple[str, str]]:
    reasons = {
        record.identity: record.headers[h.FAILURE_REASON].decode()
        for record in history.written
        if record.kind == "dead_letter"
    }
    for identity, planned in expected.items():
        wanted, found = sorted(code for code, _ in planned), sorted(endings.get(identity, ()))
        if wanted != found:
            yield identity[0], f"ended {found}, not {wanted}"
            continue
        for code, row in planned:
            if code != "succeeded" and row and reasons[identity] != f"{code}: {row}":
                yield identity[0], f"ended by {reasons[identity]!r}, not by row {row!r}"


def _paid(history: History, cancelled_at: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """A cancelled request costs nothing more, and nothing at all where it was never called."""
    called = Counter(call.request_id for call in history.calls)
    late = {
        call.request_id
        for call in history.calls
        if call.started > cancelled_at.get(call.request_id, call.started) + _SOON
    }
    hops = Counter(record.request_id for record in history.written if record.kind == "retry")
    for name in cancelled_at:
        label = kind_of(name)
        waits_for_another = label in {"cancelled_parked", "cancelled_resting"}
        if name in late:
            yield name, "was called after it had been cancelled"
        elif bool(called[name]) != waits_for_another:
            yield name, f"was called {called[name]} times before it was cancelled"
        elif bool(hops[name]) != (label == "cancelled_resting"):
            yield name, f"rested {hops[name]} times"


def _not_tried_again(history: History) -> Iterator[tuple[str, str]]:
    """What was called while nobody listened took another attempt.

    Not every one of them was: the first failures close the gate of the group, and what waits there
    is not called, so that no attempt is used up.
    """
    attempts = {
        record.request_id: record.event["attempts"]
        for record in history.written
        if record.kind == "result" and kind_of(record.request_id) == OUTAGE.label
    }
    if max(attempts.values(), default=2) < 2:
        for name in attempts:
            yield name, "succeeded at once in the outage"
