"""What starts, stops and ends a run: the plan's state, other operators' orders, signals."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

import structlog
from aiokafka.errors import KafkaError

from services.ops.failure import CommandFailed
from services.ops.replay.lane import Operator
from services.ops.replay.pace import Pace
from services.ops.replay.plan import overlapping
from services.ops.replay.run import Report
from services.ops.replay.standing import GOOD_FOR, HEARD_EVERY, Phase, Standing
from services.ops.replay.store import Plans, read_standing
from services.runtime.engine.ports import Indeterminate, Refused
from services.runtime.reading import Follower, TopicMissing

log = structlog.get_logger(__name__)
T = TypeVar("T")
_UNHEARD: Final = (CommandFailed, Indeterminate, Refused, TopicMissing, KafkaError, OSError)
"""What brokers that are away, or are just choosing leaders, make of a word."""


async def start(
    plans: Plans, plan_id: str, operator: Operator, *, allowed: set[Phase], again: bool
) -> Standing:
    """Take a plan into its running state.

    Raises:
        CommandFailed: It must not run, and why.
    """
    standing = await plans.get(plan_id)
    plan, now = standing.plan, operator.now()
    if now - plan.created_at > GOOD_FOR:
        raise CommandFailed(
            f"plan {plan.plan_id} is {(now - plan.created_at).days} days old; what it has sent is "
            f"known for {GOOD_FOR.days} days only. Make a new plan: it leaves out what was sent"
        )
    if not again and (others := overlapping(plan, await plans.handled(now))):
        raise CommandFailed(
            f"plan {', '.join(others)} has sent from the same dead letters since this one was "
            "made, so some could be sent twice; make a new plan, or --again to send all of this one"
        )

    def decide(before: Standing | None) -> Standing:
        assert before is not None
        if before.phase not in allowed:
            raise CommandFailed(_refusal(before))
        return before.moved(Phase.RUNNING, by=operator.name, why="", now=now)

    changed = await plans.change(plan.plan_id, decide)
    assert changed is not None
    return changed


def _refusal(standing: Standing) -> str:
    plan_id, phase = standing.plan.plan_id, standing.phase
    if phase is Phase.PAUSED:
        return f"plan {plan_id} is paused ({standing.reason}); `sluice replay resume {plan_id}`"
    if phase is Phase.PLANNED:
        return f"plan {plan_id} has not been run; `sluice replay run {plan_id}`"
    return f"plan {plan_id} is {phase}; nothing more is sent for it. Make a new plan"


async def conclude(plans: Plans, standing: Standing, operator: Operator, report: Report) -> Phase:
    """Write the state after a run and how far it is; what somebody else decided meanwhile stays."""

    def decide(before: Standing | None) -> Standing | None:
        assert before is not None
        after = before
        if before.phase is Phase.RUNNING and report.is_complete:
            after = before.moved(Phase.FINISHED, by=operator.name, why="", now=operator.now())
        elif report.taken_over:
            return None  # the run that sends now will write how far it came
        elif before.phase is Phase.RUNNING and report.stopped is not None:
            after = before.moved(
                Phase.PAUSED, by=operator.name, why=report.stopped, now=operator.now()
            )
        return None if after.phase is Phase.RUNNING else after.with_reached(report.reached)

    after = await plans.change(standing.plan.plan_id, decide)
    assert after is not None
    return after.phase


async def obey(plans: Plans, standing: Standing, pace: Pace) -> None:
    """Stop the pace when somebody pauses or ends the plan."""

    def on_record(record: Any) -> None:
        found = read_standing(record)
        if (
            found is not None
            and found.plan.plan_id == standing.plan.plan_id
            and found.version > standing.version
            and found.phase is not Phase.RUNNING
        ):
            because = f": {found.reason}" if found.reason else ""
            pace.stop(f"{found.phase} by {found.changed_by}{because}")

    await Follower(plans.options, plans.names.replays, on_record).run()


async def keep_heard(
    plans: Plans, standing: Standing, operator: Operator, *, every: timedelta = HEARD_EVERY
) -> None:
    """Write down that the run lives, until cancelled: what is silent for long counts as lost.

    A word that cannot be written is left out. If it matters, the sending fails for the same reason.
    """

    def decide(before: Standing | None) -> Standing | None:
        # Of an earlier version speaks whoever changed it since: it may have been taken over.
        is_ours = before is not None and before.version == standing.version
        if before is None or not is_ours or before.phase is not Phase.RUNNING:
            return None
        return before.heard(operator.now())

    while True:
        await asyncio.sleep(every.total_seconds())
        try:
            await plans.change(standing.plan.plan_id, decide)
        except _UNHEARD as exc:
            log.info("plan.word_left_out", plan_id=standing.plan.plan_id, reason=repr(exc))


def run_to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Run what stops on signals; where a second Ctrl-C ended it, end like any other command."""
    try:
        return asyncio.run(work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextmanager
def stop_on_signals(pace: Pace) -> Iterator[None]:
    """Let Ctrl-C end the run between two transactions, paused; a second one ends it at once."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def stop() -> None:
        if pace.stopped and main is not None:
            main.cancel()
        pace.stop("interrupted at the terminal")

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)
