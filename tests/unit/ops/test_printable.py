"""Nothing that others wrote steers the terminal of whoever looks at it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from rich.console import Console, RenderableType

from services.ops.cells import cell
from services.ops.dead_letters import tables as letter_tables
from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.newest import Newest
from services.ops.dead_letters.selection import Selection
from services.ops.dead_letters.tally import BY, Tally
from services.ops.observed import as_line, observe
from services.ops.printable import printable
from services.ops.replay import tables as replay_tables
from services.ops.replay.dry_run import DryRun
from services.ops.replay.plan import Plan
from services.ops.replay.run import Report
from services.ops.replay.standing import Phase, Standing
from services.runtime.reading import Range
from sluice_contracts import Tier, TopicNames

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TOPIC = "claude.dead-letters.haiku.v1"
HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\x9b31m\r\x08\u202ec[/red][bold]"
"""Clears the screen, names the window, overwrites its line, turns the text, closes a markup tag."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich 東京 \N{PILE OF POO} a b", "Zürich 東京 \N{PILE OF POO} a b"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\ud83d", r"\ud83d"),
        ("a\u2028b", r"a\u2028b"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_what_steers_a_terminal_is_written_out(text: str, shown: str) -> None:
    """Controls of both sets, directions, halves of characters; letters of any script stay."""
    assert shown == printable(text)


def test_lines_stay_where_they_are_wanted() -> None:
    """A body has lines; a carriage return would still overwrite one."""
    assert "a\n\tb\\r" == printable("a\n\tb\r", lines=True)


def test_a_cell_has_no_markup() -> None:
    """Brackets are what they are, and nothing is nothing."""
    assert ("[/red]", "") == (cell("[/red]").plain, cell(None).plain)


def _letter(body: bytes) -> Letter:
    names = ("x-request-id", "x-root-id", "x-failure-code", "x-failure-detail", "x-failure-reason",
             "x-attempt-history", "x-tenant", "x-prompt", "x-origin-topic", HOSTILE)  # fmt: skip
    headers = tuple((name, HOSTILE.encode()) for name in names)
    record: Any = ConsumerRecord(TOPIC, 0, 1, 0, 0, HOSTILE.encode(), body, None, 0, 0, headers)
    return Letter(Tier.HAIKU, record)


def _views(letter: Letter) -> Iterator[RenderableType]:
    newest, tally = Newest(5), Tally(tuple(BY))
    newest.add(letter)
    tally.add(letter)
    yield letter_tables.list_of(newest, NOW, width=400)
    yield letter_tables.stats_of(tally, NOW, rows=9)
    yield letter_tables.letter_of(letter, with_content=True)
    plan = Plan(
        plan_id=HOSTILE, created_at=NOW, by=HOSTILE, why=HOSTILE,
        selection=Selection(detail=HOSTILE), ranges={TOPIC: {0: Range(0, 9)}}, max_generation=2,
    )  # fmt: skip
    dry_run = DryRun(plan.model_copy(update={"selection": Selection()}), NOW)
    dry_run.add(letter)
    found = dry_run.findings().model_copy(update={"refused": 1, "refusals": [HOSTILE]})
    plan = plan.model_copy(update={"found": found})
    yield replay_tables.plan_of(plan)
    standing = Standing(
        plan=plan, phase=Phase.PAUSED, changed_at=NOW, changed_by=HOSTILE, reason=HOSTILE
    )
    yield replay_tables.plans_of([standing], NOW)
    yield replay_tables.status_of(standing, [], NOW)
    report = Report(
        sent=1, sent_in_all=1, refused=1, partitions=1, taken_over=0, is_complete=False,
        stopped=HOSTILE, reached={},
    )  # fmt: skip
    yield replay_tables.report_of(HOSTILE, report, Phase.PAUSED)


@pytest.mark.parametrize(
    "body", [json.dumps({"prompt": HOSTILE}, ensure_ascii=False).encode(), HOSTILE.encode()]
)
def test_no_view_hands_a_record_the_terminal(body: bytes) -> None:
    """Whatever is hostile in a dead letter or a plan: no control reaches the screen."""
    for view in _views(_letter(body)):
        out = StringIO()
        Console(file=out, width=400).print(view)
        said = out.getvalue()
        assert r"\x1b[2J" in said or r"\u001b[2J" in said
        assert said == printable(said, lines=True)


def test_no_line_hands_a_record_the_terminal() -> None:
    """`tail` shows dead letters of strangers, too."""
    letter = _letter(b"{}")
    seen = observe(
        TopicNames(""), topic=TOPIC, partition=0, offset=1, timestamp_ms=0, value=b"{}",
        headers=letter.headers,
    )  # fmt: skip
    line = as_line(seen)
    assert line == printable(line)
    assert r"\x1b[2J" in line
