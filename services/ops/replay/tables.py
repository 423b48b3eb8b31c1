"""Plans and their progress as tables for people."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.ops.cells import cell
from services.ops.dead_letters.tables import age, size
from services.ops.replay.plan import Estimate, Findings, Plan
from services.ops.replay.run import Report
from services.ops.replay.standing import Phase, Standing
from services.ops.replay.store import Progress

_SAMPLES = 5
_LOST = "lost"
"""In place of `running` where nobody runs it."""


def plan_of(plan: Plan) -> RenderableType:
    """Show what a plan means and what it would cost."""
    found = plan.found
    parts: list[RenderableType] = [_facts(plan), _causes(found)]
    notes = [*_notes(found)]
    if notes:
        parts.append(
            Panel(
                Text("\n").join(map(cell, notes)), title="look at this first", border_style="yellow"
            )
        )
    if found.samples:
        samples = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("place", "request_id", "tenant", "prompt", "code"):
            samples.add_column(name)
        for sample in found.samples[:_SAMPLES]:
            samples.add_row(*(cell(sample[name]) for name in
                              ("place", "request_id", "tenant", "prompt", "code")))  # fmt: skip
        parts.append(Panel(samples, title=f"{min(len(found.samples), _SAMPLES)} of them"))
    return Panel(Group(*parts), title=cell(f"replay plan {plan.plan_id}"))


def _facts(plan: Plan) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    edit = plan.edit.model_dump(mode="json", exclude_defaults=True)
    found = plan.found
    rows = {
        "by": f"{plan.by}, {plan.created_at:%F %T} UTC",
        "why": plan.why,
        "filter": plan.selection.describe(),
        "edit": str(edit) if edit else "none: byte for byte",
        "requests": f"{found.selected:,} ({size(found.bytes)})",
    }
    if found.oldest and found.newest:
        rows["died"] = f"{found.oldest:%F %T} to {found.newest:%F %T} UTC"
    rows |= _costs(found.estimate)
    for name, value in rows.items():
        table.add_row(name, cell(value))
    return table


def _costs(estimate: Estimate | None) -> dict[str, str]:
    if estimate is None:
        return {}
    if not estimate.learnt_from:
        return {
            "tokens": f"about {estimate.input_tokens:,} in, by length; no result to learn from",
            "cost": "unknown until a request of the tier has had a result",
        }
    drain = "unknown: no worker tells of its limits"
    if estimate.drain_seconds is not None:
        took = timedelta(seconds=ceil(estimate.drain_seconds))
        drain = f"{took} at the whole allowance, bound by {estimate.binding}"
    output = "?" if estimate.output_tokens is None else f"{estimate.output_tokens:,}"
    return {
        "tokens": f"about {estimate.input_tokens:,} in, {output} out",
        "cost": f"about {estimate.cost or '?'} USD, the mean of {estimate.learnt_from} outcomes",
        "time": drain,
    }


def _causes(found: Findings) -> RenderableType:
    tiers = sorted({tier for counts in found.by_cause.values() for tier in counts})
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cause")
    for tier in tiers:
        table.add_column(tier, justify="right")
    for code, counts in found.by_cause.items():
        table.add_row(cell(code, "red"), *(f"{counts.get(tier, 0):,}" for tier in tiers))
    return table


def _notes(found: Findings) -> Iterable[str]:
    if found.duplicates:
        yield f"{found.duplicates:,} share their root id with another: both would be paid for"
    if found.past_deadline:
        yield (
            f"{found.past_deadline:,} are past their own deadline and would fail at once; "
            "--merge-patch '{\"deadline\": null}' removes it"
        )
    if found.looped:
        yield f"{found.looped:,} left out, replayed too often already (--max-generation)"
    if found.hopeless:
        yield f"{found.hopeless:,} left out, the same request would fail the same way (--code NAME)"
    if found.handled:
        yield f"{found.handled:,} left out, dealt with by an earlier plan (--again includes them)"
    if found.refused:
        yield f"{found.refused:,} left out, the edit makes no request of them:"
        yield from (f"  {refusal}" for refusal in found.refusals)
    if found.unheard:
        variables = ", ".join(f"CLAUDE__{tier.upper()}__MODEL" for tier in found.unheard)
        yield (
            f"no worker tells of tier {', '.join(found.unheard)}: see that one runs, and which "
            f"model serves it ({variables})"
        )


def plans_of(standings: Iterable[Standing], now: datetime) -> RenderableType:
    """Show all plans, the newest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("plan", "state", "requests", "age", "by", "why"):
        table.add_column(name, justify="right" if name in {"requests", "age"} else "left")
    for standing in standings:
        plan = standing.plan
        state = _LOST if standing.is_lost(now) else standing.phase
        table.add_row(
            cell(plan.plan_id), state, f"{plan.found.selected:,}",
            age(int(plan.created_at.timestamp() * 1000), now), cell(plan.by), cell(plan.why),
        )  # fmt: skip
    return table if table.row_count else Text("no replay plan yet; `sluice replay plan` makes one")


def status_of(standing: Standing, progress: Iterable[Progress], now: datetime) -> RenderableType:
    """Show how far one plan is."""
    rows = list(progress)
    sent, refused = sum(at.sent for at in rows), sum(at.refused for at in rows)
    plan = standing.plan
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    since = age(int(standing.changed_at.timestamp() * 1000), now)
    why = f": {standing.reason}" if standing.reason else ""
    table.add_row("state", cell(f"{standing.phase} by {standing.changed_by}, {since} ago{why}"))
    if standing.is_lost(now):
        silent = age(int(standing.last_word.timestamp() * 1000), now)
        table.add_row(
            _LOST,
            cell(
                f"not heard of since {standing.last_word:%F %T} UTC, {silent} ago: killed, or cut "
                f"off from Kafka; `sluice replay run {plan.plan_id}` goes on where it stopped",
                "yellow",
            ),
        )
    table.add_row("sent", f"{sent:,} of {plan.found.selected:,}")
    if refused:
        table.add_row("refused", f"{refused:,}, still dead letters; the audit topic says why")
    begun = f"{len(rows)} of {len(plan.partitions())}"
    table.add_row("partitions begun", begun)
    return Group(plan_of(plan), Panel(table, title="progress"))


def report_of(plan_id: str, report: Report, phase: Phase) -> RenderableType:
    """Say what a run came to, and what to do next."""
    lines = [f"{report.sent:,} sent by this run, {report.sent_in_all:,} in all; plan is {phase}"]
    if report.refused:
        lines.append(f"{report.refused:,} could not be sent and are still dead letters")
    if report.taken_over:
        lines.append(
            f"another run has taken over {report.taken_over} of {report.partitions} partitions and "
            "sends from there; nothing is sent twice. `sluice replay status` shows how far it is"
        )
    if report.stopped is not None:
        lines.append(f"stopped: {report.stopped}")
    if not report.is_complete and phase is Phase.PAUSED:
        lines.append(f"go on with  sluice replay resume {plan_id}")
    return cell("\n".join(lines), lines=True)
