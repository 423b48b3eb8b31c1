"""Dead letters as tables for people."""

import json
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from services.ops.cells import cell
from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.newest import Newest
from services.ops.dead_letters.tally import Tally
from services.ops.printable import printable

_CONTENT: Final = 4_000
"""Characters of a body that are shown; `--json` has all of it."""
_DETAIL: Final = 160
_WIDE: Final = 120
"""Columns of a terminal from which a list shows the failure's detail."""
_UNITS: Final[tuple[tuple[str, int], ...]] = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def age(since_ms: int, now: datetime) -> str:
    """Say how long ago a moment is, as people do: `3d`, `12m`."""
    seconds = max(0, int(now.timestamp() - since_ms / 1000))
    unit, size = next(pair for pair in _UNITS if seconds >= pair[1] or pair[1] == 1)
    return f"{seconds // size}{unit}"


def size(count: int) -> str:
    """Say bytes in the largest unit that leaves a number above one."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def list_of(newest: Newest, now: datetime, *, width: int) -> RenderableType:
    """Show dead letters, one line each; a narrow terminal gets no detail."""
    letters = newest.letters()
    if not letters:
        return Text("no dead letter is meant", style="green")
    is_wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("place", "age", "code"):
        table.add_column(name, no_wrap=True)
    for name in ("tries", "gen"):
        table.add_column(name, no_wrap=True, justify="right")
    for name in ("request", "tenant", "prompt", *(["detail"] if is_wide else [])):
        table.add_column(name, overflow="fold")
    for letter in letters:
        table.add_row(
            str(letter.place), age(letter.timestamp_ms, now), cell(letter.code, "red"),
            str(letter.attempts), str(letter.generation), cell(letter.request_id),
            cell(letter.tenant), cell(letter.prompt),
            *([cell(letter.detail[:_DETAIL])] if is_wide else []),
        )  # fmt: skip
    hidden = newest.total - len(letters)
    more = f"; the newest {len(letters)} are shown, --limit shows more" if hidden else ""
    return Group(table, Text(f"{newest.total:,} in all{more}", style="dim"))


def stats_of(tally: Tally, now: datetime, *, rows: int) -> RenderableType:
    """Show counts, the largest first."""
    total = tally.total
    if not total.count:
        return Text("no dead letter is meant", style="green")
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    for number, name in enumerate(tally.by):
        table.add_column(name, footer="" if number else "total", overflow="fold")
    table.add_column("count", justify="right", footer=f"{total.count:,}")
    table.add_column("share", justify="right")
    table.add_column("size", justify="right", footer=size(total.size))
    table.add_column("oldest", justify="right", footer=age(total.oldest_ms, now))
    table.add_column("newest", justify="right", footer=age(total.newest_ms, now))
    ranked = tally.ranked()
    for values, row in ranked[:rows]:
        table.add_row(
            *map(cell, values), f"{row.count:,}", f"{row.count / total.count:.1%}",
            size(row.size), age(row.oldest_ms, now), age(row.newest_ms, now),
        )  # fmt: skip
    if len(ranked) <= rows:
        return table
    return Group(table, Text(f"{len(ranked) - rows} more rows; --rows shows them", style="dim"))


def letter_of(letter: Letter, *, with_content: bool) -> RenderableType:
    """Show all that is known of one dead letter."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in letter.facts().items():
        facts.add_row(name, cell(value))
    headers = Table(box=None, show_header=False, pad_edge=False)
    headers.add_column(style="dim")
    headers.add_column(overflow="fold")
    for name, raw in letter.headers:
        headers.add_row(
            cell(name), cell(None if raw is None else raw.decode(errors="backslashreplace"))
        )
    parts: list[RenderableType] = [Panel(facts, title=cell(f"{letter.code}  {letter.place}"))]
    if letter.history:
        parts.append(Panel(Text("\n").join(map(cell, letter.history)), title="attempts"))
    parts += [Panel(headers, title="headers"), Panel(_content(letter, with_content), title="body")]
    return Group(*parts)


def _content(letter: Letter, with_content: bool) -> RenderableType:  # noqa: FBT001
    if letter.is_restricted and not with_content:
        return Text("restricted; --show-restricted shows it", style="yellow")
    text = printable(content(letter), lines=True)
    shown = text[:_CONTENT]
    if len(text) > _CONTENT:
        shown += f"\n… {len(text) - _CONTENT} more characters; --json has them"
    if not letter.body:
        return Text(shown)
    return Syntax(shown, "json", word_wrap=True, background_color="default")


def content(letter: Letter) -> str:
    """Return the body as text, laid out where it is JSON."""
    if letter.body:
        return json.dumps(letter.body, indent=2, ensure_ascii=False)
    return (letter.record.value or b"").decode(errors="backslashreplace")


def console(*, to_terminal: bool = True) -> Console:
    """Make a console: answers on standard output, progress on standard error."""
    return Console(stderr=not to_terminal, highlight=False)


def utc_now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)
