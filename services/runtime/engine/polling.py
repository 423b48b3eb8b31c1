"""One turn of the poll loop: reads for the lanes that have room, and hands over what came.

One partition that cannot be read must not stop the others, nor cost them a record: a client that
fails has often drained other buffers before.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from services.runtime.engine.capacity import Capacity
from services.runtime.engine.lane import Lane
from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import (
    Indeterminate,
    Log,
    OutOfRange,
    Partition,
    Record,
    Work,
)

_log = structlog.get_logger(__name__)
_FAIR_SHARE: Final = 16


class _Failure(NamedTuple):
    """Why a partition could not be read, and when to try again."""

    error: str
    again_at: float


class Polling:
    """The only caller of the log's `poll` and `seek`.

    Args:
        log: The reading side.
        work: Says which topics can be worked on.
        capacity: Says which topics have room.
        limits: What may be fetched at once, and how long nothing is asked.
    """

    def __init__(self, log: Log, work: Work, capacity: Capacity, limits: Limits) -> None:
        self._log = log
        self._work = work
        self._capacity = capacity
        self._limits = limits
        self._failures: dict[Lane, _Failure] = {}
        self._turn = 0
        self._polled_at: float | None = None

    @property
    def unreadable(self) -> Mapping[Partition, str]:
        """Partitions whose last poll failed, and how."""
        return {lane.partition: failure.error for lane, failure in self._failures.items()}

    def age(self, now: float) -> float:
        """Say how long ago the last turn was, whatever came of it; 0 before the first."""
        return now - self._polled_at if self._polled_at is not None else 0.0

    async def turn(self, lanes: Collection[Lane], is_current: Callable[[], bool]) -> None:
        """Read once for those of the lanes that have room, or stay a member without reading.

        Args:
            lanes: All lanes that may take records.
            is_current: Whether the assignment is still the one at the call; what was read in an
                older one is dropped.
        """
        self._failures = {lane: why for lane, why in self._failures.items() if lane in lanes}
        chosen = self._choose(lanes)
        try:
            polled, records = await self._read(chosen)
        except OutOfRange as exc:
            self._reread(chosen)
            for lane in chosen:
                if lane.partition in exc.partitions:
                    _log.error("poll.out_of_range", partition=lane.partition)
                    lane.drain(reopen=True)
            return
        except Indeterminate as exc:
            self._reread(chosen)
            self._note_failure(chosen, exc)
            return
        finally:
            self._polled_at = asyncio.get_running_loop().time()
        if is_current():
            self._hand_over(polled, records)
        if not chosen:
            await self._rest()

    def _choose(self, lanes: Collection[Lane]) -> list[Lane]:
        """Choose the lanes to read for; one that failed is read alone, when it is time."""
        now = asyncio.get_running_loop().time()
        chosen = []
        for lane in lanes:
            topic = lane.partition.topic
            if not (self._capacity.of(topic).room and self._work.takes(topic) and lane.room):
                continue
            failure = self._failures.get(lane)
            if failure is None:
                chosen.append(lane)
            elif failure.again_at <= now:
                chosen = [lane]
                break
        for lane in chosen:
            if (offset := lane.take_seek()) is not None:
                self._log.seek(lane.partition, offset)
        return chosen

    async def _read(self, lanes: Sequence[Lane]) -> tuple[Sequence[Lane], Sequence[Record]]:
        """Poll; returns for which of the lanes, and what came."""
        rooms = [min(lane.room, self._capacity.of(lane.partition.topic).room) for lane in lanes]
        room = min([self._limits.poll_records, *rooms])
        if room < _FAIR_SHARE * len(lanes):
            # The buffer of one partition could take all the room: let them take turns.
            self._turn += 1
            for index in range(len(lanes)):
                at = (self._turn + index) % len(lanes)
                most = min(rooms[at], self._limits.poll_records)
                if records := await self._log.poll([lanes[at].partition], most, wait=False):
                    return [lanes[at]], records
        partitions = [lane.partition for lane in lanes]
        return lanes, await self._log.poll(partitions, max(room, 1), wait=True)

    def _hand_over(self, lanes: Sequence[Lane], records: Sequence[Record]) -> None:
        by_partition: defaultdict[Partition, list[Record]] = defaultdict(list)
        for record in records:
            by_partition[record.partition].append(record)
        for lane in lanes:
            lane.admit(by_partition[lane.partition], self._log.position(lane.partition))
            self._failures.pop(lane, None)

    def _reread(self, lanes: Sequence[Lane]) -> None:
        """Read again what the failed poll may have taken before it failed."""
        for lane in lanes:
            lane.reread()

    def _note_failure(self, lanes: Sequence[Lane], error: Indeterminate) -> None:
        """Read these one by one from now on; the one that fails alone is to blame."""
        partitions = [lane.partition for lane in lanes]
        _log.warning("poll.failed", partitions=partitions, error=str(error))
        now = asyncio.get_running_loop().time()
        pause = self._limits.retry_pause if len(lanes) == 1 else 0.0
        self._failures.update((lane, _Failure(str(error), now + pause)) for lane in lanes)

    async def _rest(self) -> None:
        self._capacity.freed.clear()
        try:
            async with asyncio.timeout(self._limits.keepalive):
                await self._capacity.freed.wait()
        except TimeoutError:
            pass  # poll again, to stay a member
