"""What an engine's state means for the probes: may it get work, does only a restart help."""

from typing import Any, Final

from services.runtime.engine.engine import EngineState
from services.runtime.health import Probe

_STUCK: Final = 60.0
"""Seconds without a turn of the loop or a poll after which only a restart helps. A poll may wait
for as long as a rebalance takes, 30 s (`intake.py`)."""
_OVERDUE: Final = 60.0
"""Seconds after which an unserved partition, or an outcome that is not committed, is trouble."""


def alive(state: EngineState) -> Probe:
    """Fail where a restart helps: the loop or polling is stuck, or the program has a bug."""
    is_turning = max(state.last_poll_age, state.loop_lag) < _STUCK
    return Probe(
        is_turning and not state.is_broken,
        {
            "is_broken": state.is_broken,
            "last_poll_age": round(state.last_poll_age, 1),
            "loop_lag": round(state.loop_lag, 3),
        },
    )


def serving(state: EngineState) -> Probe:
    """Fail where partitions of this process stand still, and say which and why."""
    overdue = {
        **{_name(at): f"not served for {age:.0f} s" for at, age in state.claiming.items()
           if age > _OVERDUE},
        **{_name(at): f"nothing committed for {age:.0f} s" for at, age in state.commit_ages.items()
           if age > _OVERDUE},
    }  # fmt: skip
    facts: dict[str, Any] = {
        "is_assigned": state.is_assigned,
        "partitions": [_name(each) for each in state.partitions],
        "in_flight": state.in_flight,
        "waiting": state.waiting,
        "parked": state.parked,
        "held_bytes": state.held_bytes,
        "oldest_call": round(state.oldest_call, 1),
        "oldest_uncommitted": round(max(state.commit_ages.values(), default=0.0), 3),
        "halted": {_name(at): why for at, why in state.halted.items()},
        "unreadable": {_name(at): why for at, why in state.unreadable.items()},
        "overdue": overdue,
        "is_draining": state.is_draining,
    }
    is_moving = not (state.halted or state.unreadable or overdue or state.is_draining)
    return Probe(state.is_assigned and is_moving, facts)


def _name(partition: tuple[str, int]) -> str:
    topic, number = partition
    return f"{topic}/{number}"
