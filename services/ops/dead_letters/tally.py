"""Counts dead letters by what people ask for, in memory that does not grow with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.ops.dead_letters.letter import Letter

MOST_VALUES: Final = 10_000
"""Distinct values that are counted one by one; what comes after them is counted together."""
OTHER: Final = "(other)"

BY: Final[Mapping[str, Callable[[Letter], str]]] = {
    "code": lambda letter: letter.code,
    "tier": lambda letter: letter.tier.value,
    "prompt": lambda letter: letter.prompt,
    "tenant": lambda letter: letter.tenant,
    "key": lambda letter: letter.key,
    "attempts": lambda letter: str(letter.attempts),
    "generation": lambda letter: str(letter.generation),
    "reason": lambda letter: letter.reason,
    "day": lambda letter: letter.died_at.strftime("%Y-%m-%d"),
    "hour": lambda letter: letter.died_at.strftime("%Y-%m-%dT%H"),
}
"""What dead letters can be counted by; prompt and tenant may cost parsing the body."""


@dataclass(slots=True)
class Row:
    """What is known of one group of dead letters."""

    count: int = 0
    size: int = 0
    oldest_ms: int = 0
    newest_ms: int = 0

    def absorb(self, other: "Row") -> None:
        """Add what is known of others of the group."""
        if other.count:
            oldest = min(self.oldest_ms, other.oldest_ms) if self.count else other.oldest_ms
            self.oldest_ms, self.newest_ms = oldest, max(self.newest_ms, other.newest_ms)
            self.count += other.count
            self.size += other.size


@dataclass(slots=True)
class Tally:
    """Counts by some of `BY`, together.

    Args:
        by: Names out of `BY`.
    """

    by: tuple[str, ...]
    rows: dict[tuple[str, ...], Row] = field(default_factory=dict)

    @property
    def total(self) -> Row:
        """All groups together."""
        whole = Row()
        for row in self.rows.values():
            whole.absorb(row)
        return whole

    def add(self, letter: Letter) -> None:
        """Count a dead letter."""
        values = tuple([BY[name](letter) for name in self.by])  # a generator costs a third more
        row = self.rows.get(values)
        if row is None:
            if len(self.rows) >= MOST_VALUES:
                values = (OTHER,) * len(self.by)
            row = self.rows.setdefault(values, Row())
        at = letter.timestamp_ms
        if at < row.oldest_ms or not row.count:
            row.oldest_ms = at
        row.newest_ms = max(row.newest_ms, at)
        row.count += 1
        row.size += len(letter.record.value or b"")

    def absorb(self, other: "Tally") -> None:
        """Add what was counted elsewhere."""
        for values, row in other.rows.items():
            known = values if values in self.rows or len(self.rows) < MOST_VALUES else None
            into = self.rows.setdefault(known or (OTHER,) * len(self.by), Row())
            into.absorb(row)

    def ranked(self) -> list[tuple[tuple[str, ...], Row]]:
        """List the groups, the largest first."""
        return sorted(self.rows.items(), key=lambda item: (-item[1].count, item[0]))

    def facts(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        total = self.total
        return {
            "total": total.count,
            "bytes": total.size,
            "oldest_ms": total.oldest_ms or None,
            "newest_ms": total.newest_ms or None,
            "rows": [
                {**dict(zip(self.by, values, strict=True)), "count": row.count, "bytes": row.size,
                 "oldest_ms": row.oldest_ms, "newest_ms": row.newest_ms}
                for values, row in self.ranked()
            ],
        }  # fmt: skip
