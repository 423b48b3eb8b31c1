"""Which dead letters a filter means, and what it asks of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from services.ops.dead_letters.letter import Letter, Place
from services.ops.dead_letters.selection import Selection, moment
from sluice_contracts import Tier

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def _letter(
    said: dict[str, str] | None = None, *, body: bytes = b"{}", key: bytes = b"k", age_s: int = 0
) -> Letter:
    headers = {"x-failure-code": "refused", "x-request-id": "r1", "x-attempt": "3", **(said or {})}
    at_ms = int((NOW - timedelta(seconds=age_s)).timestamp() * 1000)
    record: Any = ConsumerRecord(
        "t", 2, 7, at_ms, 0, key, body, None, 0, 0,
        tuple((name, value.encode()) for name, value in headers.items()),
    )  # fmt: skip
    return Letter(Tier.HAIKU, record)


@pytest.mark.parametrize(
    ("given", "is_meant"),
    [
        ({}, True),
        ({"codes": ("refused", "truncated")}, True),
        ({"codes": ("truncated",)}, False),
        ({"reasons": ("refused: no …",)}, True),
        ({"reasons": ("refused",)}, False),
        ({"reasons": ("refused: no …",), "codes": ("truncated",)}, False),
        ({"tiers": (Tier.HAIKU,)}, True),
        ({"tiers": (Tier.OPUS,)}, False),
        ({"keys": ("k",)}, True),
        ({"keys": ("other",)}, False),
        ({"request_ids": ("r1",)}, True),
        ({"request_ids": ("r2",)}, False),
        ({"min_attempts": 3, "max_attempts": 3}, True),
        ({"min_attempts": 4}, False),
        ({"max_generation": 0}, True),
        ({"min_generation": 1}, False),
        ({"since": NOW - timedelta(minutes=2)}, True),
        ({"since": NOW - timedelta(seconds=30)}, False),
        ({"until": NOW}, True),
        ({"until": NOW - timedelta(minutes=2)}, False),
    ],
)
def test_conditions_on_headers(given: dict[str, Any], *, is_meant: bool) -> None:
    """Each condition lets through what it says and nothing else."""
    letter = _letter({"x-failure-reason": "refused: no …"}, age_s=60)
    assert is_meant is Selection(**given).test()(letter)


def test_a_stranger_without_a_reason_is_found_by_its_code() -> None:
    """As `stats --by reason` counts it."""
    assert Selection(reasons=("refused",)).test()(_letter())


@pytest.mark.parametrize(
    ("prompts", "is_meant"),
    [(("triage",), True), (("triage@2",), True), (("triage@3",), False), (("tri",), False)],
)
def test_a_prompt_is_named_with_or_without_version(
    prompts: tuple[str, ...], *, is_meant: bool
) -> None:
    """A name means all its versions."""
    letter = _letter(body=b'{"prompt":"triage@2"}')
    assert is_meant is Selection(prompts=prompts).test()(letter)


def test_headers_spare_the_body() -> None:
    """Where the worker repeats tenant and prompt, the body is not parsed."""
    letter = _letter({"x-tenant": "a", "x-prompt": "triage@1"}, body=b"no JSON")
    assert Selection(tenants=("a",), prompts=("triage",)).test()(letter)
    assert "body" not in letter.__dict__


def test_the_detail_is_searched_whatever_its_case() -> None:
    """People do not remember capitals."""
    letter = _letter({"x-failure-detail": "Amount is no Number"})
    assert Selection(detail="no number").test()(letter)
    assert not Selection(detail="date").test()(letter)


def test_a_letter_of_a_stranger_is_read() -> None:
    """Missing and odd headers, and bodies that are no JSON, do not stop a scan."""
    record: Any = ConsumerRecord("t", 0, 1, 0, 0, None, b"\xff", None, 0, 0, (("x-attempt", b"?"),))
    letter = Letter(Tier.OPUS, record)
    assert ("unknown", 0, 0, "opus/0/1", "default", "-") == (
        letter.code,
        letter.attempts,
        letter.generation,
        letter.request_id,
        letter.tenant,
        letter.prompt,
    )


def test_places_are_written_and_read() -> None:
    """What `list` shows, `show` takes."""
    assert Place(Tier.OPUS, 3, 15) == Place.parse(str(Place(Tier.OPUS, 3, 15)))
    assert [None] * 4 == [Place.parse(t) for t in ("opus/3", "gpt/1/2", "opus/x/2", "r1")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T10:00+02:00", datetime(2026, 11, 20, 8, 0, tzinfo=UTC)),
    ],
)
def test_moments_are_ages_or_dates(text: str, expected: datetime) -> None:
    """A date without a zone is UTC."""
    assert expected == moment(text, now=NOW)


def test_what_is_no_moment_is_told() -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="'soon' is no moment; write 2026-11-23T14:00"):
        moment("soon", now=NOW)


def test_filters_that_cannot_meet_exclude_each_other() -> None:
    """Only lists tell; otherwise they may meet."""
    refused = Selection(codes=("refused",))
    assert refused.excludes(Selection(codes=("truncated",)))
    assert not refused.excludes(Selection(codes=("truncated", "refused")))
    assert not refused.excludes(Selection(tenants=("a",)))
    assert Selection(reasons=("refused: a",)).excludes(Selection(reasons=("refused: b",)))


def test_a_filter_is_said_in_words() -> None:
    """For plans and the audit topic."""
    assert "codes refused or truncated, min_attempts 2" == (
        Selection(codes=("refused", "truncated"), min_attempts=2).describe()
    )
    assert "reasons refused: no …" == Selection(reasons=("refused: no …",)).describe()
    assert "everything" == Selection().describe()
