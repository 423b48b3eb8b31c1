"""The state that a plan is in: what its record on `claude.replays.v1` says beside the plan."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from aiokafka import TopicPartition
from pydantic import AwareDatetime

from services.ops.replay.plan import Handled, Plan, Written

GOOD_FOR: Final = timedelta(days=6)
"""How long a plan can be run: its progress is in a group's offsets, which brokers keep 7 days."""

HEARD_EVERY: Final = timedelta(seconds=15)
"""How often a run writes down that it lives, also while it waits for allowance or canaries."""
LOST_AFTER: Final = 4 * HEARD_EVERY
"""A running plan that was not heard of for so long has nobody who runs it, by all we know."""

Reached = dict[str, dict[int, int]]
"""The next offset by topic and partition."""


class Phase(StrEnum):
    """Where a plan is in its life."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"
    DISCARDED = "discarded"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is sent for this plan, ever."""
        return self in {Phase.CANCELLED, Phase.FINISHED, Phase.DISCARDED}


class Standing(Written):
    """A plan and its state: the value of its record on `claude.replays.v1`."""

    plan: Plan
    phase: Phase = Phase.PLANNED
    changed_at: AwareDatetime
    changed_by: str
    reason: str = ""
    version: int = 0
    """Counts the changes: the clocks of two operators differ, the order of the log does not."""
    reached: Reached | None = None
    """How far the run that ended was. Brokers forget the offsets of a group that nobody uses, and
    what was sent before must be known for as long as there are dead letters."""
    heard_at: AwareDatetime | None = None
    """When its run last wrote that it lives; None until it has done so once."""

    @property
    def last_word(self) -> datetime:
        """When the plan was last heard of."""
        return max(self.heard_at or self.changed_at, self.changed_at)

    def is_lost(self, now: datetime) -> bool:
        """Whether it says that it runs and its run has fallen silent: killed, or cut off.

        By the clocks of two machines: one that is ahead by the bound sees losses that are none.
        """
        return self.phase is Phase.RUNNING and now - self.last_word > LOST_AFTER

    def heard(self, now: datetime) -> "Standing":
        """Return the same state, heard of now."""
        return self.model_copy(update={"heard_at": now})

    def moved(self, phase: Phase, *, by: str, why: str, now: datetime) -> "Standing":
        """Return the plan in another state."""
        return self.model_copy(
            update={
                "phase": phase, "changed_by": by, "reason": why, "changed_at": now,
                "version": self.version + 1, "heard_at": None,
                "reached": None if phase is Phase.RUNNING else self.reached,
            }
        )  # fmt: skip

    def with_reached(self, offsets: Mapping[TopicPartition, int]) -> "Standing":
        """Return the same state with how far the plan is."""
        reached: Reached = {}
        for tp, offset in sorted(offsets.items()):
            reached.setdefault(tp.topic, {})[tp.partition] = offset
        return self.model_copy(update={"reached": reached})

    def as_handled(
        self, offsets: Mapping[TopicPartition, int], *, now: datetime
    ) -> "Handled | None":
        """Say what the plan has dealt with, or is about to; None where nothing.

        Args:
            offsets: Its group's offsets, as far as the brokers remember them.
            now: The present.
        """
        match self.phase:
            case Phase.PLANNED:
                return None
            case Phase.PAUSED | Phase.CANCELLED:
                if self.reached is not None:
                    offsets = {
                        TopicPartition(topic, number): offset
                        for topic, numbers in self.reached.items()
                        for number, offset in numbers.items()
                    }
                elif now - self.plan.created_at > GOOD_FOR:
                    return self.plan.as_handled(None)  # forgotten: nothing may be sent twice
                handled = self.plan.as_handled(offsets)
            case _:
                handled = self.plan.as_handled(None)
        return handled if handled.ranges else None
