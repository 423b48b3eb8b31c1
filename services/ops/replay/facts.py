"""Plans and their progress as JSON for programs."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from services.ops.replay.plan import Plan
from services.ops.replay.run import Report
from services.ops.replay.session import Moment
from services.ops.replay.standing import Phase, Standing
from services.ops.replay.store import Progress


def plan_facts(plan: Plan) -> dict[str, Any]:
    """Return a plan without what earlier plans dealt with, which is only for its own tests."""
    return plan.model_dump(mode="json", exclude={"handled"})


def standing_facts(
    standing: Standing, now: datetime, progress: Iterable[Progress] = ()
) -> dict[str, Any]:
    """Return a plan and its state."""
    rows = list(progress)
    return {
        **plan_facts(standing.plan),
        "phase": standing.phase,
        "changed_at": standing.changed_at.isoformat(),
        "changed_by": standing.changed_by,
        "reason": standing.reason,
        "heard_at": standing.last_word.isoformat(),
        "is_lost": standing.is_lost(now),
        "sent": sum(at.sent for at in rows),
        "refused": sum(at.refused for at in rows),
    }


def moment_facts(plan_id: str, moment: Moment) -> dict[str, Any]:
    """Return one line of a run's progress."""
    return {"event": "replay.progressed", "plan_id": plan_id, **asdict(moment)}


def report_facts(plan_id: str, report: Report, phase: Phase) -> dict[str, Any]:
    """Return the last line of a run."""
    said = asdict(report)
    del said["reached"]  # for the plan's record, not for people
    return {"event": "replay.ended", "plan_id": plan_id, "phase": phase, **said}
