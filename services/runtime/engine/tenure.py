"""Whether a lane's partition is this process's: what the group says, and what the log confirms."""

import asyncio
from collections.abc import Collection

from services.runtime.engine import metadata
from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import Committed, Indeterminate, Log, Partition


class Tenure:
    """One partition's assignment. It gives liveness only; safety comes from fencing."""

    def __init__(self, partition: Partition, *, group: str, log: Log, limits: Limits) -> None:
        self._partition = partition
        self._place = metadata.identity(group, partition)
        self._log = log
        self._limits = limits
        self._is_assigned = asyncio.Event()
        self._is_assigned.set()
        self.is_over = False
        """Whether the lane has let go for good."""
        self._assignments = 0
        self._proven = 0

    @property
    def is_certain(self) -> bool:
        """Whether records may be taken."""
        return self._is_assigned.is_set() and not self._needs_proof

    @property
    def _needs_proof(self) -> bool:
        """Whether somebody else may have owned the partition since it was last certain."""
        return self._proven != self._assignments

    @property
    def may_prove(self) -> bool:
        """Whether `is_unchanged` should be asked now."""
        return self._is_assigned.is_set() and self._needs_proof

    def suspend(self) -> None:
        """Note that the group is sharing out its partitions anew."""
        self._is_assigned.clear()

    def resume(self) -> None:
        """Note that the partition has been assigned again."""
        self._assignments += 1
        self._is_assigned.set()

    async def may_claim(self) -> bool:
        """Wait until the partition is assigned and the coordinator confirms the membership.

        An owner that was replaced while it was paused would otherwise fence its successor, and two
        owners could fence each other for ever.
        """
        while True:
            await self._is_assigned.wait()
            if self.is_over:
                return False
            try:
                async with asyncio.timeout(self._limits.read_timeout):
                    if await self._log.is_member():
                        return True
            except (Indeterminate, TimeoutError):
                pass  # the coordinator is away; it will know the members when it is back
            await asyncio.sleep(self._limits.retry_pause)

    async def is_unchanged(self, known: Collection[Committed | None], owner: bytes) -> bool:
        """Tell whether nobody else has committed since this owner began.

        The offset topic lags behind a transaction's end, so an own commit with a lower sequence
        number may be found, or what stood there in the beginning. Somebody else's commit would
        have come after all of these.

        Args:
            known: What was committed in the beginning, and what was committed last.
            owner: The nonce in every own commit.
        """
        asked_in = self._assignments
        while True:
            try:
                async with asyncio.timeout(self._limits.read_timeout):
                    found = await self._log.committed(self._partition)
                break
            except (Indeterminate, TimeoutError):
                await asyncio.sleep(self._limits.retry_pause)
        is_own = found in known or (
            found.offset >= 0 and metadata.decode(found, self._place).owner == owner
        )
        if is_own:
            self._proven = asked_in  # a rebalance since then asks for a proof of its own
        return is_own
