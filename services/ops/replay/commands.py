"""`sluice replay plan | run | resume | pause | cancel | discard | status`."""

import asyncio
import json
from typing import Annotated, Any

import typer
from typer import Argument, Option

from services.ops.audit import current_operator
from services.ops.cells import cell
from services.ops.dead_letters.commands import progress_bar
from services.ops.dead_letters.options import AsJson, selecting
from services.ops.dead_letters.selection import Selection
from services.ops.dead_letters.tables import console
from services.ops.failure import CommandFailed
from services.ops.replay import edit_options as o
from services.ops.replay import facts, tables
from services.ops.replay.control import run_to_its_end, start
from services.ops.replay.dry_run import plan_replay
from services.ops.replay.lane import Operator
from services.ops.replay.plan import Plan
from services.ops.replay.session import Manner, Session, utc_now
from services.ops.replay.standing import Phase, Standing
from services.ops.replay.store import Plans
from services.ops.replay.teller import Teller
from services.ops.settings import OpsSettings
from services.runtime.connection import connection_options
from services.runtime.settings import read
from sluice_contracts import TopicNames

replay_app = typer.Typer(no_args_is_help=True, help="Put dead letters back: plan, run, pause.")

PlanId = Annotated[str, Argument(help="The plan, or a beginning of its id that no other has.")]
By = Annotated[str | None, Option(help="Who does it; default: the user here.")]
Rate = Annotated[
    float | None, Option(min=0.01, help="Requests a second; default: within spare allowance.")
]
Canary = Annotated[
    int, Option(min=0, help="Send so many first and wait for their outcomes; 0 for none.")
]
MaxFailures = Annotated[
    float, Option(min=0, max=1, help="Pause when more than this part fails again.")
]
Patience = Annotated[int, Option(min=1, help="Seconds to wait for the canaries' outcomes.")]
Again = Annotated[
    bool, Option("--again", help="Also what an earlier plan has sent or discarded already.")
]


@replay_app.command()
@selecting
def plan(
    chosen: Selection,
    *,
    why: Annotated[str, Option(help="Why; goes into the plan and the audit topic.")],
    by: By = None,
    to_tier: o.ToTier = None,
    prompt_version: o.PromptVersion = None,
    max_tokens: o.MaxTokens = None,
    merge_patch: o.MergePatch = None,
    max_generation: Annotated[
        int, Option(min=0, help="Loop guard: leave out what was replayed more often.")
    ] = 2,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Look at what a replay would send, cost and take; writes the plan, sends nothing."""
    edit = o.read_edit(to_tier, prompt_version, max_tokens, merge_patch)
    plans, operator = connect(), _operator(by)

    async def make() -> Plan:
        with progress_bar("reading dead letters") as watch:
            made = await plan_replay(
                plans, chosen, edit, by=operator.name, why=why, max_generation=max_generation,
                again=again, now=operator.now(), watch=watch,
            )  # fmt: skip
        if made.found.selected:
            await plans.create(Standing(plan=made, changed_at=made.created_at, changed_by=made.by))
        return made

    made = asyncio.run(make())
    if as_json:
        typer.echo(json.dumps(facts.plan_facts(made)))
        return
    console().print(tables.plan_of(made))
    if made.found.selected:
        console().print(f"send them with  sluice replay run {made.plan_id}")
    else:
        console().print("nothing is meant, so no plan was written")


@replay_app.command()
def run(
    plan_id: PlanId,
    *,
    rate: Rate = None,
    spare: Annotated[
        bool, Option("--spare", help="Within what the rate limits leave unused: the default.")
    ] = False,
    canary: Canary = 10,
    max_failures: MaxFailures = 0.2,
    canary_timeout: Patience = 300,
    by: By = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Send a plan's dead letters back: canaries, then the rest at the given pace.

    Ctrl-C pauses between two transactions. A run that was killed is taken up by the next; two at
    once share nothing: the later one takes over, the earlier one says so and ends. Exits with 0
    when the plan is finished, with 1 when it is not or cannot be run, and says why.
    """
    if rate is not None and spare:
        raise CommandFailed("--rate and --spare contradict each other; give one")
    manner = Manner(rate, canary, max_failures, canary_timeout)
    _send(plan_id, {Phase.PLANNED, Phase.RUNNING}, manner, by=by, again=again, as_json=as_json)


@replay_app.command()
def resume(
    plan_id: PlanId,
    *,
    rate: Rate = None,
    canary: Canary = 10,
    max_failures: MaxFailures = 0.2,
    canary_timeout: Patience = 300,
    by: By = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a paused plan where it stopped."""
    manner = Manner(rate, canary, max_failures, canary_timeout)
    _send(plan_id, {Phase.PAUSED, Phase.RUNNING}, manner, by=by, again=again, as_json=as_json)


Why = Annotated[str, Option(help="Why; goes into the audit topic.")]


@replay_app.command()
def pause(plan_id: PlanId, *, why: Why = "", by: By = None, as_json: AsJson = False) -> None:
    """Let a running plan stop between two transactions; `resume` goes on."""
    _move(plan_id, Phase.PAUSED, {Phase.RUNNING}, why=why, by=by, as_json=as_json)


@replay_app.command()
def cancel(plan_id: PlanId, *, why: Why = "", by: By = None, as_json: AsJson = False) -> None:
    """End a plan for good; what it has sent stays sent."""
    allowed = {Phase.PLANNED, Phase.RUNNING, Phase.PAUSED}
    _move(plan_id, Phase.CANCELLED, allowed, why=why, by=by, as_json=as_json)


@replay_app.command()
def discard(
    plan_id: PlanId,
    *,
    why: Annotated[str, Option(help="Why they need no replay; goes into the audit topic.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Decide that a plan's dead letters are not to be sent: later plans leave them out."""
    _move(plan_id, Phase.DISCARDED, {Phase.PLANNED}, why=why, by=by, as_json=as_json)


@replay_app.command()
def status(
    plan_id: Annotated[str | None, Argument(help="One plan; default: all of them.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the plans, or how far one is."""
    plans = connect()
    if plan_id is None:
        found = list(asyncio.run(plans.all()).values())[::-1]
        if as_json:
            typer.echo(json.dumps([facts.standing_facts(each, utc_now()) for each in found]))
        else:
            console().print(tables.plans_of(found, utc_now()))
        return

    async def look() -> tuple[Standing, list[Any]]:
        standing = await plans.get(plan_id)
        return standing, list((await plans.progress(standing.plan)).values())

    standing, progress = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps(facts.standing_facts(standing, utc_now(), progress)))
    else:
        console().print(tables.status_of(standing, progress, utc_now()))


def connect() -> Plans:
    """Read the settings; the connection is made when something is read."""
    settings = read(OpsSettings)
    names = TopicNames(settings.kafka.topic_prefix)
    return Plans(connection_options(settings.kafka, role="ops"), names)


def _operator(by: str | None) -> Operator:
    return Operator(by or current_operator(), utc_now)


def _send(
    plan_id: str, allowed: set[Phase], manner: Manner, *, by: str | None, again: bool, as_json: bool
) -> None:
    plans, operator = connect(), _operator(by)

    async def go() -> tuple[Any, Phase, str]:
        standing = await start(plans, plan_id, operator, allowed=allowed, again=again)
        with Teller(standing.plan, as_json=as_json) as tell:
            report, phase = await Session(plans, standing, operator, manner, tell=tell).run()
        return report, phase, standing.plan.plan_id

    report, phase, name = run_to_its_end(go())
    if as_json:
        typer.echo(json.dumps(facts.report_facts(name, report, phase)))
    else:
        console().print(tables.report_of(name, report, phase))
    if phase is not Phase.FINISHED:
        raise typer.Exit(1)


def _move(
    plan_id: str, phase: Phase, allowed: set[Phase], *, why: str, by: str | None, as_json: bool
) -> None:
    plans, operator = connect(), _operator(by)

    def decide(before: Standing | None) -> Standing:
        assert before is not None
        if before.phase not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise CommandFailed(
                f"plan {before.plan.plan_id} is {before.phase}, not {wanted}; "
                "`sluice replay status` shows the plans"
            )
        return before.moved(phase, by=operator.name, why=why, now=operator.now())

    async def go() -> Standing:
        name = (await plans.get(plan_id)).plan.plan_id
        after = await plans.change(name, decide)
        assert after is not None
        return after

    after = asyncio.run(go())
    if as_json:
        typer.echo(json.dumps(facts.standing_facts(after, utc_now())))
    else:
        console().print(cell(f"plan {after.plan.plan_id} is {after.phase}"))
