"""A replay as it is written down: what is meant, for good. Its state is in `standing.py`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from aiokafka import TopicPartition
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.selection import Selection
from services.ops.replay.edit import Edit, EditRefused
from services.runtime.reading import Range
from sluice_contracts import FailureCode, Tier
from sluice_contracts.failing import NOTHING_TO_REPLAY

Ranges = dict[str, dict[int, Range]]
"""Offsets by topic and partition."""
_NEVER_MENDED: Final = frozenset({FailureCode.INVALID_EVENT, FailureCode.CANCELLED})


class Written(BaseModel):
    """What stands on `claude.replays.v1`: read by later versions, changed by none."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Handled(Written):
    """Dead letters that an earlier plan has dealt with, whether sent back or discarded."""

    plan_id: str
    selection: Selection
    ranges: Ranges
    max_generation: int
    edit: Edit = Edit()

    def test(self) -> Callable[[Letter], bool]:
        """Build the test whether a dead letter was dealt with."""
        is_meant = self.selection.test()
        hopeless = hopeless_codes(self.selection, self.edit)

        def was_handled(letter: Letter) -> bool:
            record = letter.record
            inside = self.ranges.get(record.topic, {}).get(record.partition)
            return (
                inside is not None
                and inside.start <= record.offset < inside.end
                and letter.generation <= self.max_generation
                and letter.code not in hopeless
                and is_meant(letter)
                and not self._is_refused(letter)
            )

        return was_handled

    def meets(self, ranges: Ranges) -> bool:
        """Whether it has dealt with anything inside these ranges."""
        return _meet(self.ranges, ranges)

    def _is_refused(self, letter: Letter) -> bool:
        try:
            self.edit.apply(letter)
        except EditRefused:
            return True
        return False


class Estimate(Written):
    """What sending would use, learnt from what such requests used lately."""

    input_tokens: int
    output_tokens: int | None
    cost: str | None
    """US dollars; None where no result of the tier says what it cost."""
    learnt_from: int
    """Results that the figures are the mean of."""
    drain_seconds: float | None = None
    """At the whole allowance that the API's headers tell of; None where nothing tells of one."""
    binding: str | None = None
    """Which limit makes it take so long."""


class Findings(Written):
    """What the dry run found."""

    selected: int = 0
    by_cause: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Counts by failure code and tier."""
    bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    duplicates: int = 0
    """Dead letters whose root id stands on another one that is meant too."""
    looped: int = 0
    """Left out by the loop guard."""
    hopeless: int = 0
    """Left out because the same request would fail the same way, and nobody named the code."""
    handled: int = 0
    """Left out because an earlier plan has dealt with them."""
    refused: int = 0
    """Left out because the edit makes no request of them."""
    refusals: list[str] = Field(default_factory=list)
    past_deadline: int = 0
    """Meant, but their own deadline is over: they would fail at once."""
    unheard: list[Tier] = Field(default_factory=list)
    """Tiers that requests go to and of which no worker told when the plan was made."""
    samples: list[dict[str, Any]] = Field(default_factory=list)
    estimate: Estimate | None = None


class Plan(Written):
    """What is to be sent back; never changed once it is written."""

    plan_id: str
    created_at: AwareDatetime
    by: str
    why: str
    selection: Selection
    ranges: Ranges
    """Pinned when it was made: what fails again is outside, so no replay runs into itself."""
    edit: Edit = Edit()
    max_generation: int
    """Loop guard: what was replayed more often is left out."""
    handled: list[Handled] = Field(default_factory=list)
    """What earlier plans had dealt with when this one was made."""
    again: bool = False
    """Whether that is meant as well."""
    found: Findings = Findings()

    @property
    def group(self) -> str:
        """The consumer group whose offsets are this plan's progress."""
        return f"replay-{self.plan_id}"

    @property
    def tiers(self) -> set[Tier]:
        """The tiers whose allowance it uses."""
        if self.edit.tier is not None:
            return {self.edit.tier}
        return {Tier(tier) for tiers in self.found.by_cause.values() for tier in tiers}

    def partitions(self) -> dict[TopicPartition, Range]:
        """List the pinned ranges that hold anything."""
        return {
            TopicPartition(topic, number): inside
            for topic, numbers in self.ranges.items()
            for number, inside in numbers.items()
            if inside.start < inside.end
        }

    def test(self) -> Callable[[Letter], bool]:
        """Build the test whether a dead letter is to be sent: the same at every run."""
        judge = self.judge()
        return lambda letter: judge(letter) is None

    def judge(self) -> Callable[[Letter], str | None]:
        """Build the test that says why a dead letter is left out, or None where it is meant."""
        is_meant = self.selection.test()
        handled = [] if self.again else [earlier.test() for earlier in self.handled]
        hopeless = hopeless_codes(self.selection, self.edit)

        def left_out(letter: Letter) -> str | None:
            if not is_meant(letter):
                return "other"
            if letter.code in hopeless:
                return "hopeless"
            if letter.generation > self.max_generation:
                return "looped"
            return "handled" if any(was(letter) for was in handled) else None

        return left_out

    def generation(self) -> Callable[[Letter], int]:
        """Build what says the generation of a request sent back: one that it never had.

        A dead letter that is sent once more must not look like a copy of its last replay.
        """
        before = [earlier.test() for earlier in self.handled] if self.again else []
        return lambda letter: letter.generation + 1 + sum(was(letter) for was in before)

    def as_handled(self, progress: Mapping[TopicPartition, int] | None) -> Handled:
        """Say what this plan has dealt with: all of it, or what its progress has passed."""
        ranges: Ranges = {}
        for tp, inside in self.partitions().items():
            end = inside.end
            if progress is not None:
                end = min(progress.get(tp, inside.start), end)
            if inside.start < end:
                ranges.setdefault(tp.topic, {})[tp.partition] = Range(inside.start, end)
        return Handled(
            plan_id=self.plan_id,
            selection=self.selection,
            ranges=ranges,
            max_generation=self.max_generation,
            edit=self.edit,
        )


def hopeless_codes(selection: Selection, edit: Edit) -> frozenset[str]:
    """List the codes that are left out unless they are named: the same bytes earn them again.

    An edit of the body may mend all but a record that is no request, or that was taken back.
    """
    return (_NEVER_MENDED if edit.changes_body else NOTHING_TO_REPLAY) - set(selection.codes)


def overlapping(plan: Plan, others: Sequence[Handled]) -> list[str]:
    """Name the earlier plans that may have sent what this plan, not knowing of them, would send."""
    known = {(each.plan_id, _extent(each.ranges)) for each in plan.handled}
    return [
        other.plan_id
        for other in others
        if other.plan_id != plan.plan_id
        and (other.plan_id, _extent(other.ranges)) not in known
        and not plan.selection.excludes(other.selection)
        and other.meets(plan.ranges)
    ]


def _extent(ranges: Ranges) -> int:
    return sum(inside.end for numbers in ranges.values() for inside in numbers.values())


def _meet(one: Ranges, other: Ranges) -> bool:
    return any(
        inside.start < beside.end and beside.start < inside.end
        for topic, numbers in one.items()
        for number, inside in numbers.items()
        if (beside := other.get(topic, {}).get(number)) is not None
    )
