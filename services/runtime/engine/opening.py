"""Where a new owner starts: what is committed, checked against the log.

Whatever is in doubt stops the partition. Ignoring a bad map would publish the results beyond the
committed offset a second time; ignoring a log that was cut short would skip what is written next.
"""

import asyncio

import structlog

from services.runtime.engine import metadata
from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.limits import Limits
from services.runtime.engine.metadata import BadMetadata, Progress
from services.runtime.engine.ports import Committed, Indeterminate, Log, Partition

_log = structlog.get_logger(__name__)
_LOOKS = 20


async def read_start(
    partition: Partition, committed: Committed, *, group: str, log: Log, limits: Limits
) -> tuple[Progress | None, Snapshot]:
    """Return the last owner's progress, None where there is none, and where to start.

    Raises:
        BadMetadata: The progress cannot be trusted, or does not fit the log.
    """
    found = None
    if committed.offset >= 0:
        found = metadata.decode(committed, metadata.identity(group, partition))
    low, high = await _bounds(partition, found, log=log, limits=limits)
    if found is None:
        return None, Snapshot(low, low, ())
    start = found.snapshot
    if start.offset < low:
        raise BadMetadata(
            f"the committed offset {start.offset} is below the log's first, {low}: records were "
            "deleted unread. Raise the topic's retention; to go on, reset the group's offset"
        )
    if start.end > high:
        raise BadMetadata(
            f"progress reaches to offset {start.end}, the log only to {high}: it was cut short or "
            "made anew. To go on, reset the group's offset"
        )
    return found, start


async def _bounds(
    partition: Partition, found: Progress | None, *, log: Log, limits: Limits
) -> tuple[int, int]:
    """Read the log's bounds, however long it takes until a broker knows them.

    A new leader may need a moment to know how far its log reaches.
    """
    end = found.snapshot.end if found else 0
    left = _LOOKS
    while True:
        try:
            async with asyncio.timeout(limits.read_timeout):
                low, high = await log.bounds(partition)
        except (Indeterminate, TimeoutError) as exc:
            _log.warning("bounds.unknown", partition=partition, error=repr(exc))
        else:
            left -= 1
            if end <= high or not left:
                return low, high
        await asyncio.sleep(limits.retry_pause)
