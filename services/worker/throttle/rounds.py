"""The rounds of the division: post, read, use; or use a safe share when cut off."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from services.worker.throttle.estimate import Estimator
from services.worker.throttle.exchange import Exchange
from services.worker.throttle.group import Group
from services.worker.throttle.hold import HoldKind
from services.worker.throttle.record import RatePosted

log = structlog.get_logger()

SOON: Final = 0.05
"""Seconds to gather news that cannot wait for the next round."""
LEAVE_TIMEOUT: Final = 2.0
OFTEN: Final = 0.25
"""Seconds between two records that follow what the others say."""
AGAIN: Final = 0.2
"""Seconds after which a record that is not back is likely lost: the next one goes out early."""
STALE: Final = 600.0
"""Seconds after which the record of a replica that never said goodbye is taken off the topic."""
TOLD: Final = (HoldKind.RATE, HoldKind.RAMP, HoldKind.SPEND)


class Rounds:
    """Says every interval where this replica stands, and folds what all of them say.

    Without an exchange the replica is alone, and its own word is the whole log.
    """

    def __init__(
        self,
        replica: str,
        exchange: Exchange | None,
        *,
        interval: float,
        lease: float,
        estimator: Estimator,
        group: Callable[[str], Group],
        groups: Callable[[], Iterable[Group]],
        ended: Callable[[bool], None],
    ) -> None:
        self.is_lost = exchange is not None
        self._replica = replica
        self._exchange = exchange
        self._interval = interval
        self._lease = lease
        self._estimator = estimator
        self._group = group
        self._groups = groups
        self._ended = ended
        self._soon = asyncio.Event()
        self._number = 0
        self._posted_at = float("-inf")
        self._sent: dict[int, float] = {}
        self._confirmed_at: float | None = None
        self._log_ahead: float | None = None
        self._others: dict[str, float] = {}

    async def run(self) -> None:
        """Take part until cancelled, then leave."""
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._exchange is not None:
                    tasks.create_task(self._exchange.run(self.arrived), name="throttle.read")
                tasks.create_task(self._post_rounds(), name="throttle.post")
        finally:
            if self._exchange is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LEAVE_TIMEOUT):
                        await self._exchange.leave(self._replica)

    def tell_soon(self) -> None:
        """Post before the next round: something happened that all should know."""
        self._soon.set()

    def begin(self, group: Group) -> None:
        """Take a new group in."""
        if self._exchange is None:
            now = asyncio.get_running_loop().time()
            group.fold(self._replica, group.post(now), now, now)
            group.share()
        else:
            group.share_safely(0.0, self._lease)
            self._soon.set()

    def arrived(self, at: float, replica: str, record: RatePosted | None) -> None:
        """Take in a record of the log, ours too: it is the log that decides."""
        if record is None:
            for group in self._groups():
                group.division.remove(replica)
            self._others.pop(replica, None)
            self._follow(self._groups())
            return
        now = asyncio.get_running_loop().time()
        if replica == self._replica:
            self._confirm(record.number, at)
        else:
            self._others[replica] = at
            self._estimator.adopt(record.lessons)
        here = now if self._log_ahead is None else at - self._log_ahead
        for name, posted in record.groups.items():
            group = self._group(name)
            group.fold(replica, posted, at, here)
            kind = posted.held_for
            # Our own word is older than what we know: it would undo a hold that ended since.
            if replica == self._replica or self._log_ahead is None:
                continue
            if kind is not None and kind in TOLD:
                until = at + posted.held - self._log_ahead
                group.pool.hold(until, HoldKind(kind), is_told=True)
        if not self.is_lost:
            for name in record.groups:
                self._group(name).share()
            if replica != self._replica:
                self._follow(map(self._group, record.groups))

    def _follow(self, groups: Iterable[Group]) -> None:
        """Claim early where a replica came or left: what moves would be unused for a round."""
        if self._exchange is None or self.is_lost:
            return
        loop = asyncio.get_running_loop()
        if any(group.is_off() for group in groups):
            loop.call_at(max(loop.time(), self._posted_at + OFTEN), self._soon.set)

    async def _post_rounds(self) -> None:
        while True:
            self._post()
            left = self._interval
            while left > 0 and not await self._news(min(left, AGAIN)) and self._sent_is_back():
                left -= AGAIN

    async def _news(self, seconds: float) -> bool:
        """Wait for news that cannot wait for the next round."""
        try:
            async with asyncio.timeout(seconds):
                await self._soon.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(SOON)
        return True

    def _sent_is_back(self) -> bool:
        return self._number not in self._sent

    def _post(self) -> None:
        now = asyncio.get_running_loop().time()
        self._soon.clear()
        self._posted_at = now
        self._check_lease(now)
        self._number += 1
        groups = {group.name: group.post(now) for group in self._groups()}
        record = RatePosted.model_construct(
            replica=self._replica,
            number=self._number,
            groups=groups,
            lessons=self._estimator.lessons(),
        )
        if self._exchange is None:
            self.arrived(now, self._replica, record)
        else:
            self._sent[self._number] = now
            self._exchange.post(record)
            self._tidy(now)
        if not self.is_lost:
            for group in self._groups():
                group.share()  # a lower claim counts from when it is made
        self._ended(self.is_lost)

    def _confirm(self, number: int, at: float) -> None:
        """Our own record came back: the lease runs from when it was sent."""
        sent = self._sent.get(number)
        if sent is None:
            return
        self._sent = {other: when for other, when in self._sent.items() if other > number}
        self._confirmed_at = sent
        self._log_ahead = at - sent
        if self.is_lost and asyncio.get_running_loop().time() - sent < self._lease:
            self.is_lost = False
            log.info("throttle.exchange_joined", replica=self._replica)

    def _check_lease(self, now: float) -> None:
        if self._exchange is None:
            self.is_lost = False
            return
        self._sent = {number: at for number, at in self._sent.items() if now - at < self._lease}
        silent = float("inf") if self._confirmed_at is None else now - self._confirmed_at
        # While a record is missing this is looked at each time one goes out again, so one of them
        # is enough to stop before the others take this part over.
        if silent < self._lease - AGAIN:
            return
        if not self.is_lost:
            self.is_lost = True
            log.warning("throttle.exchange_lost", silent_seconds=round(silent, 1))
        for group in self._groups():
            group.share_safely(silent - self._lease, self._lease)

    def _tidy(self, now: float) -> None:
        """Take the records of replicas that died long ago off the topic, one a round."""
        if self._log_ahead is None or self._exchange is None:
            return
        for replica, at in self._others.items():
            if now + self._log_ahead - at > STALE:
                del self._others[replica]
                self._exchange.forget(replica)
                return
