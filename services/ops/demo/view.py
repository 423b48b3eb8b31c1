"""What the demo shows: what happens, while it happens, and a table at the end."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from services.ops.demo.course import Progress, Result
from sluice_contracts import CompletionSucceeded, Tier


@dataclass
class View:
    """Writes to a console."""

    console: Console
    begun: float = field(default_factory=monotonic)

    def say(self, what: str) -> None:
        """Tell one thing that happens, with the seconds since the start."""
        self.console.print(f"[dim]{monotonic() - self.begun:5.1f} s[/]  {what}", highlight=False)

    def warn(self, what: str) -> None:
        """Say what nobody may overlook."""
        self.console.print(f"[bold yellow]warning:[/] {what}", highlight=False)

    @contextmanager
    def progress(self) -> "Iterator[Shown]":
        """Show two bars on a terminal; elsewhere only what is said."""
        columns = (TextColumn("{task.description:>9}"), BarColumn(40), MofNCompleteColumn())
        with Bars(*columns, console=self.console, transient=True) as bars:
            yield Shown(bars)

    def table(self, result: Result, *, revoked: str | None = None) -> None:
        """Print the figures of the run."""
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for name, said in _rows(result, revoked):
            table.add_row(name, said)
        self.console.print()
        self.console.print(table, highlight=False)
        self.console.print()

    def verdict(self, result: Result) -> bool:
        """Print the line that matters, and return whether it is true."""
        tally, problems = result.tally, result.tally.problems()
        if not problems:
            self.console.print(
                f"[bold green]every request has exactly one outcome[/]: {len(tally.asked)} of "
                f"{len(tally.asked)}, read from the topics as committed",
                highlight=False,
                soft_wrap=True,
            )
            return bool(tally.asked)
        self.console.print(
            f"[bold red]not every request has exactly one outcome[/]: {len(problems)} problems",
            highlight=False,
        )
        for problem in problems[:10]:
            self.console.print(f"  {problem}", highlight=False)
        return False


class Shown:
    """The bars."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._published = bars.add_task("published", total=None)
        self._outcomes = bars.add_task("outcomes", total=None)

    def show(self, progress: Progress) -> None:
        """Move them."""
        self._bars.update(self._published, completed=progress.published, total=progress.total)
        self._bars.update(self._outcomes, completed=progress.outcomes, total=progress.total)


def _rows(result: Result, revoked: str | None) -> Iterator[tuple[str, str]]:
    tally = result.tally
    by_tier = Counter(str(tier) for tier in tally.asked.values())
    yield "requests", f"{len(tally.asked)}: {_counted(by_tier, [str(tier) for tier in Tier])}"
    succeeded = [each for each in tally.events if isinstance(each, CompletionSucceeded)]
    repaired = sum(each.validation.repairs for each in succeeded)
    failed = len(tally.events) - len(succeeded)
    yield "outcomes", f"{len(succeeded)} succeeded ({repaired} repair rounds), {failed} failed"
    yield "dead letters", _counted(tally.failures()) or "none"
    if result.calls:
        answers = Counter(_answer(call) for call in result.calls).most_common()
        said = ", ".join(f"{count} x {answer}" for answer, count in answers)
        called = {(call["sluice_request_id"], call["sluice_generation"]) for call in result.calls}
        yield "calls", f"{len(result.calls)}: {said}"
        yield "retries", str(len(result.calls) - len(called) - repaired)
        yield "calls by key", _by_key(result.calls, revoked)
    usage = tally.usage()
    cached = (
        f"{usage.cache_read_input_tokens:,} read, {usage.cache_creation_input_tokens:,} written"
    )
    yield "tokens", f"{usage.input_tokens:,} in, {usage.output_tokens:,} out; cache: {cached}"
    yield "cost", f"{tally.cost():.4f} USD"
    split = tally.latency()
    yield "latency p50", ", ".join(f"{part} {p50:,.0f} ms" for part, (p50, _) in split.items())
    yield "latency p95", ", ".join(f"{part} {p95:,.0f} ms" for part, (_, p95) in split.items())


def _answer(call: dict[str, object]) -> str:
    """Name how a call ended: its status, or the fault that broke it off after a 200."""
    is_whole = call["status"] != 200 or call["outcome"] == "ok"  # noqa: PLR2004 - HTTP
    return str(call["status"] if is_whole else call["outcome"])


def _by_key(calls: list[dict[str, object]], revoked: str | None) -> str:
    counts = Counter(str(call["key"]) for call in calls)
    return ", ".join(
        f"{key} {count}{' (revoked)' if key == revoked else ''}" for key, count in counts.items()
    )


def _counted(counts: Counter[str], order: list[str] | None = None) -> str:
    names = order or [name for name, _ in counts.most_common()]
    return ", ".join(f"{counts[name]} {name}" for name in names)
