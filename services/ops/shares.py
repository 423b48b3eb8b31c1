"""What the replicas say on `claude.rate.v1`, folded into rows for people; no client, no clock.

The payload is the workers' own affair (`services/worker/throttle/record.py`): what is not known
here is left out, never an error.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

LEASE: Final = 2.0
"""Seconds without a record after which a replica counts as gone: the workers' default."""
MEASURES: Final = ("requests", "input tokens", "output tokens")


@dataclass(frozen=True, slots=True)
class Share:
    """One replica's part of one group, per minute."""

    replica: str
    age: float
    """Seconds since its last record."""
    holds: tuple[float, float, float]
    used: tuple[float, float, float]
    fill: tuple[float, float, float]
    waiting: int
    longest_wait: float
    in_flight: int
    binding: str | None
    held_for: str | None
    held: float

    @property
    def is_live(self) -> bool:
        """Whether the others still leave it a part."""
        return self.age <= LEASE


@dataclass(frozen=True, slots=True)
class GroupShares:
    """One rate-limit group over all replicas, per minute."""

    group: str
    limits: tuple[float, float, float] | None
    factor: tuple[float, float, float]
    bound: float
    shares: tuple[Share, ...]

    @property
    def used(self) -> tuple[float, float, float]:
        """What the live replicas use together."""
        live = [share.used for share in self.shares if share.is_live]
        return _three([sum(column) for column in zip(*live, strict=True)] or [0.0, 0.0, 0.0])

    def as_json(self) -> dict[str, Any]:
        """Return the group for programs; rates are per minute."""
        return {
            "group": self.group,
            "limits": self.limits,
            "used": self.used,
            "available_part": self.factor,
            "slow_start": self.bound,
            "replicas": [
                {
                    "replica": share.replica,
                    "is_live": share.is_live,
                    "age_seconds": round(share.age, 1),
                    "share": share.holds,
                    "used": share.used,
                    "fill": share.fill,
                    "waiting": share.waiting,
                    "longest_wait_seconds": round(share.longest_wait, 1),
                    "in_flight": share.in_flight,
                    "binding": share.binding,
                    "held_for": share.held_for,
                    "held_seconds": round(share.held, 1),
                }
                for share in self.shares
            ],
        }


@dataclass(slots=True)
class Shares:
    """The newest record of every replica."""

    _last: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)

    def take(self, replica: str, at: float, value: bytes | None) -> None:
        """Take a record in; a null value says that the replica left."""
        self._last.pop(replica, None)
        if value is None:
            return
        try:
            groups = json.loads(value)["groups"]
        except (ValueError, KeyError, TypeError):
            return
        if isinstance(groups, dict):
            self._last[replica] = at, groups

    def groups(self, now: float, *, with_gone: bool = False) -> list[GroupShares]:
        """Return what stands, by group; `now` on the broker's clock."""
        rows: dict[str, list[tuple[Share, float, dict[str, Any]]]] = {}
        for replica, (at, groups) in sorted(self._last.items()):
            for name, said in groups.items():
                share = _share(replica, now - at, said)
                if share.is_live or with_gone:
                    rows.setdefault(name, []).append((share, at, said))
        return [_group(name, found) for name, found in sorted(rows.items())]


def _group(name: str, found: list[tuple[Share, float, dict[str, Any]]]) -> GroupShares:
    _, _, newest = max(found, key=lambda row: row[1])
    told = [
        (at - float(said.get("limits_age") or 0.0), said["limits"])
        for _, at, said in found
        if said.get("limits")
    ]
    return GroupShares(
        group=name,
        limits=_three(max(told, key=lambda row: row[0])[1]) if told else None,
        factor=_three(newest.get("factor") or (1.0, 1.0, 1.0)),
        bound=float(newest.get("bound") or 0.0),
        shares=tuple(share for share, _, _ in found),
    )


def _share(replica: str, age: float, said: dict[str, Any]) -> Share:
    return Share(
        replica=replica,
        age=age,
        holds=_per_minute(said.get("holds")),
        used=_per_minute(said.get("used")),
        fill=_three(said.get("fill") or (0.0, 0.0, 0.0)),
        waiting=int(said.get("waiting") or 0),
        longest_wait=float(said.get("longest_wait") or 0.0),
        in_flight=int(said.get("in_flight") or 0),
        binding=said.get("binding"),
        held_for=said.get("held_for"),
        held=float(said.get("held") or 0.0),
    )


def _per_minute(rates: Any) -> tuple[float, float, float]:
    return _three([60.0 * float(rate) for rate in rates or (0.0, 0.0, 0.0)])


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 3) for value in values)
    return first, second, third
