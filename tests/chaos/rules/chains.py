"""What happened to each request record, in order: taken in, sent to rest, put back, ended."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.history import History, Input, Place, Written

CLOCK_SLACK: Final = 0.25
"""Seconds by which time stamps of different processes on one machine may disagree: a call arrives
at the simulator a while after it was sent."""
ROUNDING: Final = 0.002
"""Records carry whole milliseconds."""


@dataclass(slots=True)
class Chain:
    """One first record and what became of it.

    In the log's order: the first record and each time that it was put back, and what was written
    for each of them, hops and at last the outcome. So the n-th output belongs to the n-th input.
    """

    inputs: list[Input] = field(default_factory=list)
    outs: list[Written] = field(default_factory=list)

    @property
    def hops(self) -> list[Written]:
        """The records on retry topics."""
        return [out for out in self.outs if out.kind == "retry"]


def chains(history: History) -> dict[Place, Chain]:
    """Sort a history by first records."""
    found: defaultdict[Place, Chain] = defaultdict(Chain)
    for record in history.inputs:
        found[record.first].inputs.append(record)
    for out in history.written:
        if out.origin is not None and out.kind != "dead_letter":
            found[out.origin].outs.append(out)
    for chain in found.values():
        chain.inputs.sort(key=lambda record: record.place)
        chain.outs.sort(key=lambda out: out.at)
    return dict(found)
