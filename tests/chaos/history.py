"""What was observed of a run: the only thing the checker may look at.

Nothing here comes from the worker's own account of itself: requests are what the broker
acknowledged to upstream, records are what a `read_committed` reader sees, fates are read from the
markers in the log, calls are the API simulator's log, faults are what the run did to the system,
progress is the groups' offset topic, plans are what operators asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

Kind = Literal["result", "dead_letter", "retry"]
Partition = tuple[str, int]
"""Topic and number."""
Place = tuple[str, int, int]
"""Topic, number, offset."""
Identity = tuple[str, int]
"""Request id and generation: what has exactly one outcome."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as upstream sent it; `place` is None where the broker never said that it has it.

    Such a send is indeterminate: the request may be in the log or not.
    """

    request_id: str
    body: str
    """Digest of the value."""
    place: Place | None


@dataclass(frozen=True, slots=True)
class Input:
    """A record of a request topic: what upstream sent, a retry put back, or a replay."""

    request_id: str
    generation: int
    place: Place
    body: str
    """Digest of the value."""
    at: float
    headers: Mapping[str, bytes] = field(default_factory=dict)
    origin: Place | None = None
    """Where it says that it was first published; None on a first record."""
    attempt: int | None = None
    not_before: float | None = None
    replay: str | None = None
    """The plan that put it back."""
    schema: str | None = None
    """The JSON Schema that an output must satisfy, by the request or its prompt."""

    @property
    def identity(self) -> Identity:
        """Whose record it is."""
        return self.request_id, self.generation

    @property
    def first(self) -> Place:
        """Where its request was first published."""
        return self.origin or self.place


@dataclass(frozen=True, slots=True)
class Written:
    """A record that a `read_committed` reader sees on an output topic."""

    kind: Kind
    request_id: str
    generation: int
    attempt: int
    place: Place
    origin: Place | None
    at: float
    body: str = ""
    """Digest of the value."""
    headers: Mapping[str, bytes] = field(default_factory=dict)
    code: str | None = None
    """The failure code."""
    not_before: float | None = None
    event: Mapping[str, Any] = field(default_factory=dict)
    """What a result topic's record says; empty for the other kinds."""
    api_request_id: str | None = None
    content: str | None = None
    """Digest of the content that a success holds."""

    @property
    def identity(self) -> Identity:
        """Whose record it is."""
        return self.request_id, self.generation

    @property
    def succeeded(self) -> bool:
        """Whether it is a success."""
        return self.kind == "result" and self.code is None


@dataclass(frozen=True, slots=True)
class Call:
    """A call in the simulator's log."""

    request_id: str
    generation: int
    attempt: str
    """Attempt and its call as the worker names them, `1.1`; for people, no rule believes it."""
    started: float
    ended: float
    status: int
    worker: str = ""
    """Client id and process."""
    body: str = ""
    """Digest of what was asked."""
    api_request_id: str | None = None
    is_answered: bool = False
    """A whole message left the server: what is paid for."""
    needs_another: bool = False
    """The message cannot pass as it is: spoilt or cut short, so a further round may follow."""
    is_cut: bool = False
    """The caller went away before the answer."""
    content: str | None = None
    """Digest of the content that was answered."""
    retry_after: float | None = None
    """Seconds that an error asked to wait."""

    @property
    def identity(self) -> Identity:
        """Whose call it is."""
        return self.request_id, self.generation


@dataclass(frozen=True, slots=True)
class Fault:
    """Something the run did, over `at` to `until` (wall clock, seconds)."""

    kind: str
    at: float
    until: float
    worker: str = ""
    """The process that it took its partitions from without warning: its calls may be repeated.
    Empty where no call may be (a storm of 529s must repeat nothing)."""
    aftermath: float = 0.0
    """Seconds after its end in which calls may still start that will be repeated: a worker that was
    away keeps its calls until it hears whether its partitions come back to it."""
    hinders: float = 0.0
    """Seconds after its end until commits run at their pace again; 0 where it touches none."""
    is_storm: bool = False
    """Whether the API did it, beside whatever else was done."""
    recovers_within: float | None = None
    """Seconds after its end in which everything published before must have its outcome."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One committed offset of a group, in commit order."""

    group: str
    partition: Partition
    offset: int
    at: float
    complete: frozenset[int] = frozenset()
    """Offsets at or above `offset` that the metadata's map marks complete."""


class Fate(Enum):
    """What became of a record, by the markers in its log."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OPEN = "open"
    PLAIN = "plain"
    """Written outside any transaction."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which the end that `read_committed` readers see stood still below the log's."""

    partition: Partition
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A replay, as the operator's plan and the dead letters in its pinned ranges define it."""

    plan_id: str
    selected: frozenset[Place]
    """Dead letters that are meant."""
    audited: tuple[Identity, ...] = ()
    """What the audit topic says was sent."""
    is_finished: bool = True


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the promises are measured by, in seconds."""

    call_timeout: float = 600.0
    """After it a worker gives up a call by itself."""
    commit_interval: float = 0.5
    """The longest that an answer waits for its commit while nothing hinders commits."""
    stalled: float = 17.0
    """How long an open transaction may hide the end of an output: its timeout and 5 s."""


@dataclass(frozen=True, slots=True)
class History:
    """Everything observed, after the system had time to heal and drain."""

    sent: tuple[Sent, ...]
    inputs: tuple[Input, ...]
    written: tuple[Written, ...]
    calls: tuple[Call, ...]
    faults: tuple[Fault, ...] = ()
    progress: tuple[Progress, ...] = ()
    fates: Mapping[Place, Fate] = field(default_factory=dict)
    """Every record of the request and output topics, seen by readers or not."""
    stalls: tuple[Stall, ...] = ()
    unowned: tuple[tuple[str, Partition], ...] = ()
    """Groups and their partitions that nobody owned after everything was healed."""
    seen: Mapping[str, float] = field(default_factory=dict)
    """When downstream saw a request's first outcome, where a run noted it."""
    plans: tuple[Plan, ...] = ()
    bounds: Bounds = Bounds()
