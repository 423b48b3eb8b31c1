"""One producer's transactions: publish with progress, and find out what an unknown result was.

The order in `claim` is the whole safety argument (`docs/engine.md`): fence first, read after.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import (
    Committed,
    Fenced,
    Indeterminate,
    Log,
    Output,
    Partition,
    Producer,
    Refused,
    Transactions,
)
from services.runtime.engine.settled import read_settled

_log = structlog.get_logger(__name__)


class Lost(Exception):  # noqa: N818 -- a state, not an error
    """Somebody else owns the partition, or did since: what is in memory is void."""


class Publication:
    """The writing side of one lane: owns its producer and knows what was committed last."""

    def __init__(
        self,
        partition: Partition,
        *,
        log: Log,
        transactions: Transactions,
        limits: Limits,
        may_claim: Callable[[], Awaitable[bool]],
        doubted: Callable[[], None],
    ) -> None:
        """Take the ports, and whom to ask and tell.

        Args:
            partition: Whose outcomes are written.
            log: Reads what is committed.
            transactions: Makes the producers.
            limits: Bounds every wait.
            may_claim: Waits until the partition is this process's to claim, False if it never is.
            doubted: Told that the owner may be another by now.
        """
        self._partition = partition
        self._log = log
        self._transactions = transactions
        self._limits = limits
        self._may_claim = may_claim
        self._doubted = doubted
        self._producer: Producer | None = None
        self.last: Committed | None = None
        """What was committed when last read or written by this owner."""
        self.is_settled = True
        """Whether nothing is known that speaks against this owner: the last transaction's result is
        known, and it was not fenced."""

    async def claim(self, *, is_troubled: bool = False) -> Committed:
        """Fence every other owner, then read what is committed; tries until it succeeds.

        Args:
            is_troubled: Whether a broker may have just started: then what it says is read until it
                says the same twice.

        Raises:
            Lost: The partition is not this process's to claim.
        """
        while True:
            if not await self._may_claim():
                raise Lost
            try:
                await self.let_go()
                async with asyncio.timeout(self._limits.fence_timeout):
                    self._producer = await self._transactions.fence(self._partition)
                async with asyncio.timeout(self._limits.read_timeout):
                    return await self._committed(is_troubled=is_troubled)
            except (Fenced, Indeterminate, TimeoutError) as exc:
                is_troubled = True
                _log.warning("partition.claim_failed", partition=self._partition, error=repr(exc))
                await asyncio.sleep(self._limits.retry_pause)

    async def _committed(self, *, is_troubled: bool) -> Committed:
        """Read what is committed: twice where a broker may have just started, or nothing is."""
        read = partial(self._log.committed, self._partition)
        if not is_troubled:
            found = await read()
            if found.offset >= 0:
                return found
        return await read_settled(read, pause=self._limits.settle)

    async def publish(self, outputs: Sequence[Output], progress: Committed) -> None:
        """Make outputs and progress visible together, exactly once.

        Raises:
            Lost: Somebody else has taken over; nothing of this is visible.
            Refused: The broker will never take one of the outputs; nothing of this is visible.
        """
        while True:
            try:
                async with asyncio.timeout(self._limits.commit_timeout):
                    await self._transaction(outputs, progress)
            except Refused:
                # The refused batch has used up its sequence numbers: only a new producer goes on.
                if await self._landed(progress):
                    return
                raise
            except (Fenced, Indeterminate, TimeoutError) as exc:
                _log.warning("commit.result_unknown", partition=self._partition, error=repr(exc))
                if await self._landed(progress):
                    return
            else:
                self.last = progress
                return

    async def _transaction(self, outputs: Sequence[Output], progress: Committed) -> None:
        assert self._producer is not None
        await self._producer.begin()
        # Every one: a client commits over a failed send as if nothing were missing.
        for acknowledged in [await self._producer.send(output) for output in outputs]:
            await acknowledged
        # Not beside the records, though it looks faster. Brokers ask the coordinator whether the
        # transaction that a record belongs to is open (KIP-890), and two requests of one producer
        # at the same time answer one of them "not now", which costs the client a backoff of 20 ms.
        await self._producer.send_progress(progress)
        await self._producer.commit()

    async def _landed(self, progress: Committed) -> bool:
        """Tell whether a transaction with an unknown result was committed, after ending it."""
        self.is_settled = False
        self._doubted()
        found = await self.claim(is_troubled=True)
        self.is_settled = True
        if found == progress:
            self.last = progress
            return True
        if found == self.last:
            return False
        _log.warning(
            "commit.superseded",
            partition=self._partition,
            found=found,
            last=self.last,
            attempted=progress,
        )
        raise Lost

    async def let_go(self) -> None:
        """Close the producer, if there is one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()
