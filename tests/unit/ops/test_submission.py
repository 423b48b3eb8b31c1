"""From flags and rows to checked requests."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.ops.failure import CommandFailed
from services.ops.prompt_check import PromptCheck
from services.ops.prompts import LIBRARY, released
from services.ops.rows import Mapped, body_of_row, rows_of
from services.ops.submission import (
    BadRows,
    Submission,
    Submitter,
    check_all,
    deadline_from,
    pairs,
)
from sluice_contracts import Tier, decode_request
from sluice_contracts import headers as h
from sluice_contracts.topics import REQUEST_BYTES

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
ROWS = [
    {"id": "7", "body": "card lost", "customer": "acme"},
    {"id": "8", "body": "refund please", "customer": ""},
]
TRIAGE = Mapped({"text": "body"}, {"tenant": "customer"})


def submitter(**flags: Any) -> Submitter:
    """A submitter to haiku with a prompt."""
    return Submitter({"prompt": "ticket-triage", **flags}, tier=Tier.HAIKU, key=None, now=NOW)


def built(rows: list[dict[str, Any]], mapped: Mapped = TRIAGE) -> list[Submission]:
    """Build the rows of a table."""
    return list(check_all(rows, submitter(), mapped, is_table=True))


def test_columns_fill_variables_and_fields() -> None:
    """Mapped columns become variables and fields; an empty cell leaves the default."""
    first, second = (one.request for one in built(ROWS))

    assert ({"text": "card lost"}, "acme") == (first.variables, first.tenant)
    assert ({"text": "refund please"}, "default") == (second.variables, second.tenant)


def test_a_table_without_mapping_fills_variables_by_name() -> None:
    """Every column of a CSV that is not used otherwise is a variable."""
    body = body_of_row(ROWS[0], Mapped(id_column="id"), is_table=True)

    assert {"variables": {"body": "card lost", "customer": "acme"}, "request_id": "7"} == body


def test_a_json_row_without_mapping_is_the_request() -> None:
    """An object of a JSON-lines file is taken as it is."""
    row = {"request_id": "r-1", "messages": [{"role": "user", "content": "hi"}]}

    assert row == body_of_row(row, Mapped(), is_table=False)


def test_the_same_file_makes_the_same_ids() -> None:
    """Submitting a file again, at another time, names the same requests."""
    later = Submitter(
        {"prompt": "ticket-triage", "deadline": "10m"}, tier=Tier.HAIKU, key=None,
        now=datetime(2027, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    again = check_all(ROWS, later, TRIAGE, is_table=True)

    assert [one.request.request_id for one in built(ROWS)] == [
        one.request.request_id for one in again
    ]


def test_what_is_asked_makes_the_id() -> None:
    """Another prompt, tier or text is another request."""
    ids = {
        Submitter(flags, tier=tier, key=None, now=NOW).build({}).request.request_id
        for flags in ({"message": "a"}, {"message": "b"}, {"message": "a", "system": "s"})
        for tier in (Tier.HAIKU, Tier.OPUS)
    }

    assert len(ids) == 6


def test_equal_rows_are_requests_of_their_own() -> None:
    """Two equal rows of one file get two ids, the same two on every run."""
    first, second = (one.request.request_id for one in built([ROWS[0], ROWS[0]]))

    assert f"{first}-2" == second
    assert [first, second] == [one.request.request_id for one in built([ROWS[0], ROWS[0]])]


def test_an_id_column_names_the_requests_once() -> None:
    """Ids from a column are taken as they are, and two rows with one id are refused."""
    mapped = Mapped({"text": "body"}, {}, "id")

    assert ["7", "8"] == [one.request.request_id for one in built(ROWS, mapped)]
    with pytest.raises(CommandFailed, match=r"row 3: request id '7' is that of row 1"):
        built([*ROWS, ROWS[0]], mapped)


def test_the_record_is_what_a_worker_reads() -> None:
    """The encoded record decodes to the request, with its id as CloudEvents id and key."""
    (one,) = built(ROWS[:1])

    assert one.request == decode_request(one.record.value, one.record.headers)
    assert one.request.request_id == h.find(one.record.headers, h.CE_ID)
    assert one.request.request_id.encode() == one.record.key


def test_an_ordering_key_replaces_the_id_as_key() -> None:
    """`--key`, or a column, decides the order; the row has the last word."""
    given = Submitter({"message": "m"}, tier=Tier.HAIKU, key="flag", now=NOW)

    assert given.build({}).record.key == b"flag"
    assert given.build({"key": "row"}).record.key == b"row"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": None}, "one of 'prompt' and 'messages' is required"),
        ({"tier": "mini"}, "there is no tier 'mini'; there are: haiku, sonnet, opus"),
        ({"priority": "urgent"}, "priority"),
        ({"deadline": "soon"}, "deadline"),
        ({"variables": {"x": float("nan")}}, "JSON"),
        ({"variables": {"x": "\ud83d"}}, "body"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"variables": {"x": "a" * REQUEST_BYTES}}, "send less"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_sent(row: dict[str, Any], said: str) -> None:
    """What a worker would dead-letter is refused here, with a reason."""
    with pytest.raises(CommandFailed, match=said):
        submitter().build(row)


def test_a_bad_row_is_named() -> None:
    """The error of a file says which row it is."""
    with pytest.raises(CommandFailed, match=r"row 2: there is no column 'body'; there are: other"):
        built([ROWS[0], {"other": "x"}])


def test_every_bad_row_is_told() -> None:
    """Ten by number, the others counted; nothing is handed out after the first."""
    rows = [ROWS[0], *({"other": str(number)} for number in range(12))]
    handed: list[Submission] = []
    with pytest.raises(BadRows) as caught:
        handed.extend(check_all(iter([*rows, ROWS[1]]), submitter(), TRIAGE, is_table=True))
    told = str(caught.value).splitlines()
    assert "12 of 14 rows are bad:" == told[0]
    assert [f"  row {number}" for number in range(2, 12)] == [
        line.partition(":")[0] for line in told[1:-1]
    ]
    assert "  and 2 more" == told[-1]
    assert 1 == len(handed)


def test_cells_without_a_column_are_not_dropped(tmp_path: Path) -> None:
    """A comma that nobody quoted would cut a text in two and lose its end."""
    path = tmp_path / "t.csv"
    path.write_text("id,body\n7,lost, and found\n")
    with pytest.raises(BadRows, match=r"row 1: it has 3 cells and the header 2; quote"):
        built(list(rows_of(path)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": "no-such"}, r"there is no prompt 'no-such'; released: contract-review, "),
        ({"prompt": "ticket-triage@7"}, r"prompt 'ticket-triage' has no version '7'; released: 1"),
        ({"prompt": "ticket-triage@x"}, r"has no version 'x'"),
        ({}, r"prompt 'ticket-triage@1' needs variable 'text' .*--var text=…"),
        ({"variables": {"text": None}}, r"needs variable 'text'"),
        ({"variables": {"text": "a", "txt": "b"}}, r"takes text, .* and not variable 'txt'"),
        ({"variables": {"text": "a", "labels": "x,y"}}, r"'labels' must be a list of different"),
    ],
)
def test_what_a_worker_would_not_render_is_found_before(body: dict[str, Any], said: str) -> None:
    """By the rules of the worker, on the library that is here."""
    with pytest.raises(CommandFailed, match=said):
        _checking().build(body)


@pytest.mark.parametrize(
    "body",
    [
        {"variables": {"text": ""}},
        {"variables": {"text": "a", "labels": ["x", "y"], "product": None}},
        {"prompt": "ticket-triage@1", "variables": {"text": "a"}},
        {"prompt": None, "message": "hi"},
    ],
)
def test_what_a_worker_renders_passes(body: dict[str, Any]) -> None:
    """Empty is not missing, and a request without a prompt has none to check."""
    assert _checking().build(body)


def _checking() -> Submitter:
    prompts = PromptCheck(released(LIBRARY))
    return Submitter(
        {"prompt": "ticket-triage"}, tier=Tier.HAIKU, key=None, now=NOW, prompts=prompts
    )


def test_no_tier_is_explained() -> None:
    """Without a tier the remedy is the option."""
    with pytest.raises(CommandFailed, match="--tier"):
        Submitter({"message": "m"}, tier=None, key=None, now=NOW).build({})


@pytest.mark.parametrize(
    ("text", "deadline"),
    [
        ("10m", "2026-12-01T12:10:00+00:00"),
        ("+2h", "2026-12-01T14:00:00+00:00"),
        ("2026-12-24T00:00:00Z", "2026-12-24T00:00:00Z"),
    ],
)
def test_a_deadline_is_relative_or_a_date(text: str, deadline: str) -> None:
    """`10m` counts from now, a date is passed on."""
    assert deadline == deadline_from(text, NOW)


def test_pairs_need_an_equals_sign() -> None:
    """`name=value` keeps further equal signs; a bare name is refused with an example."""
    assert {"a": "b=c", "d": ""} == pairs(["a=b=c", "d="], "--var")
    with pytest.raises(CommandFailed, match="--var 'a' is not name=value"):
        pairs(["a"], "--var")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", '\ufeffid,body\n1,"a, ""b""\nc"\n'),
        ("t.tsv", 'id\tbody\n1\t"a, ""b""\nc"\n'),
        ("t.jsonl", json.dumps({"id": "1", "body": 'a, "b"\nc'}) + "\n\n"),
    ],
)
def test_rows_are_read_from_every_kind(tmp_path: Path, name: str, text: str) -> None:
    """CSV, TSV and JSON lines give the same row, byte order mark and quotes included."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")

    assert [{"id": "1", "body": 'a, "b"\nc'}] == list(rows_of(path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"", "is none of"),
        ("t.jsonl", b"{", "line 1 is not JSON"),
        ("t.jsonl", b"{}\n[1]\n", "line 2 is a list"),
        ("t.csv", b"a\n\xff\n", "cannot read"),
    ],
)
def test_an_unreadable_file_is_explained(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    """The error names the file, and the line where there is one."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(CommandFailed, match=said) as caught:
        list(rows_of(path))
    assert name in str(caught.value)
