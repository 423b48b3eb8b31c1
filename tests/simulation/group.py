"""A model of the group coordinator: eager rebalances, generations, session timeouts."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.runtime.assignor import Member, Share, share_out
from services.runtime.engine.ports import Partition

SESSION_TIMEOUT = 6.0
REBALANCE_TIMEOUT = 5.0


class Unknown(Exception):  # noqa: N818 -- an answer
    """The member is not, or no longer, in the group."""


@dataclass
class Seat:
    """A member."""

    heard_at: float
    generation: int = 0
    joining: "tuple[Member, asyncio.Future[Share]] | None" = None


@dataclass
class Group:
    """Answers requests at the moment when they are delivered."""

    partitions: Mapping[str, range]
    seats: dict[str, Seat] = field(default_factory=dict)
    generation: int = 0
    is_rebalancing: bool = False
    began_at: float = 0.0
    moves: int = 0

    def join(self, name: str, member: Member) -> "asyncio.Future[Share]":
        """JoinGroup and SyncGroup: resolves when everybody has joined."""
        now = asyncio.get_running_loop().time()
        seat = self.seats.setdefault(name, Seat(now))
        seat.heard_at = now
        future: asyncio.Future[Share] = asyncio.get_running_loop().create_future()
        seat.joining = (member, future)
        self._rebalance(now)
        self._settle()
        return future

    def heartbeat(self, name: str, generation: int) -> bool:
        """Heartbeat: True where the member must join again."""
        seat = self.seats.get(name)
        if seat is None or seat.generation != generation:
            raise Unknown
        seat.heard_at = asyncio.get_running_loop().time()
        return self.is_rebalancing

    def leave(self, name: str) -> None:
        """LeaveGroup."""
        if self.seats.pop(name, None) is not None:
            self._rebalance(asyncio.get_running_loop().time())
            self._settle()

    def expire(self) -> None:
        """Drop who has not been heard of, and who keeps the others waiting."""
        now = asyncio.get_running_loop().time()
        for name, seat in list(self.seats.items()):
            is_late = self.is_rebalancing and now - self.began_at > REBALANCE_TIMEOUT
            if seat.joining is None and (now - seat.heard_at > SESSION_TIMEOUT or is_late):
                self.leave(name)

    def _rebalance(self, now: float) -> None:
        if not self.is_rebalancing:
            self.is_rebalancing, self.began_at = True, now

    def _settle(self) -> None:
        joining = {name: seat.joining for name, seat in self.seats.items()}
        members = {name: each[0] for name, each in joining.items() if each is not None}
        if len(members) < len(self.seats) or not members:
            return
        self.generation += 1
        self.is_rebalancing = False
        shares = share_out(self.partitions, members)
        for name, seat in self.seats.items():
            assert seat.joining is not None
            _, future = seat.joining
            seat.generation, seat.joining = self.generation, None
            seat.heard_at = asyncio.get_running_loop().time()
            if not future.done():
                future.set_result(shares[name])


def holding(claims: Mapping[Partition, bool], generation: int, *, is_leaving: bool) -> Member:
    """Say what a process says to the leader."""
    return Member(frozenset({"in"}), generation, dict(claims), is_leaving)
