"""Counting and keeping dead letters in bounded memory."""

from typing import Any

from aiokafka.structs import ConsumerRecord

from services.ops.dead_letters import tally
from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.newest import Newest
from services.ops.dead_letters.tally import Tally
from sluice_contracts import Tier


def _letter(offset: int, code: str = "refused", tenant: str = "a") -> Letter:
    headers = (("x-failure-code", code.encode()), ("x-tenant", tenant.encode()))
    record: Any = ConsumerRecord("t", 0, offset, offset * 10, 0, b"", b"12345", None, 0, 0, headers)
    return Letter(Tier.HAIKU, record)


def test_letters_are_counted_together() -> None:
    """Groups are listed with the largest first, with bytes and times."""
    counted = Tally(("code", "tier"))
    for offset, code in enumerate(["refused", "truncated", "refused"], start=1):
        counted.add(_letter(offset, code))
    assert {
        "total": 3,
        "bytes": 15,
        "oldest_ms": 10,
        "newest_ms": 30,
        "rows": [
            {"code": "refused", "tier": "haiku", "count": 2, "bytes": 10, "oldest_ms": 10,
             "newest_ms": 30},
            {"code": "truncated", "tier": "haiku", "count": 1, "bytes": 5, "oldest_ms": 20,
             "newest_ms": 20},
        ],
    } == counted.facts()  # fmt: skip


def test_many_values_share_one_row(monkeypatch: Any) -> None:
    """Values beyond the bound are counted together, none is lost."""
    monkeypatch.setattr(tally, "MOST_VALUES", 2)
    counted = Tally(("tenant",))
    for offset, tenant in enumerate("abcd"):
        counted.add(_letter(offset, tenant=tenant))
    assert [(("(other)",), 2), (("a",), 1), (("b",), 1)] == [
        (values, row.count) for values, row in counted.ranked()
    ]


def test_the_newest_are_kept() -> None:
    """The others are only counted."""
    newest = Newest(2)
    for offset in (3, 1, 5, 2, 4):
        newest.add(_letter(offset))
    assert [5, 4] == [letter.record.offset for letter in newest.letters()]
    assert 5 == newest.total


def test_what_others_counted_is_added() -> None:
    """Counting in two halves comes to the same."""
    whole, first, second = (Tally(("code",)) for _ in range(3))
    for offset, code in enumerate(["refused", "truncated", "refused", "refused"], start=1):
        whole.add(_letter(offset, code))
        (first if offset % 2 else second).add(_letter(offset, code))
    first.absorb(second)
    first.absorb(Tally(("code",)))
    assert whole.facts() == first.facts()


def test_what_others_kept_is_compared() -> None:
    """The newest of both remain."""
    first, second = Newest(2), Newest(2)
    for offset in range(1, 7):
        (first if offset % 3 else second).add(_letter(offset))
    first.absorb(second)
    assert ([6, 5], 6) == ([letter.record.offset for letter in first.letters()], first.total)
