"""A new owner starts where the log and what was committed agree, or not at all."""

import pytest

from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.limits import Limits
from services.runtime.engine.metadata import BadMetadata, Progress, encode, identity
from services.runtime.engine.opening import read_start
from services.runtime.engine.ports import Committed, Indeterminate, Partition

pytestmark = pytest.mark.looptime

PARTITION = Partition("in", 0)


class Bounds:
    """A log that only knows its bounds; the last answer is given for ever."""

    def __init__(self, *answers: tuple[int, int] | Exception) -> None:
        self._answers = list(answers)

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """Answer the next."""
        assert partition == PARTITION
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def _start(
    committed: Committed, *answers: tuple[int, int] | Exception
) -> tuple[Progress | None, Snapshot]:
    return await read_start(
        PARTITION,
        committed,
        group="group",
        log=Bounds(*answers),  # type: ignore[arg-type]
        limits=Limits(),
    )


def _committed(snapshot: Snapshot) -> Committed:
    return encode(Progress(snapshot), identity("group", PARTITION))


async def test_a_fresh_group_starts_at_the_logs_beginning() -> None:
    """Which need not be 0."""
    assert await _start(Committed(-1, ""), (7, 20)) == (None, Snapshot(7, 7, ()))


async def test_a_known_group_starts_where_it_was() -> None:
    """With what was incomplete above."""
    snapshot = Snapshot(10, 15, (10, 12))
    found, start = await _start(_committed(snapshot), (0, 15))
    assert found is not None
    assert start == snapshot


async def test_a_log_that_begins_above_the_offset_stops_the_partition() -> None:
    """Records were deleted unread."""
    with pytest.raises(BadMetadata, match=r"committed offset 10 is below the log's first, 11"):
        await _start(_committed(Snapshot(10, 10, ())), (11, 20))


async def test_progress_beyond_the_log_stops_the_partition() -> None:
    """The topic was made anew, or its leader has lost records."""
    with pytest.raises(BadMetadata, match="reaches to offset 15, the log only to 14"):
        await _start(_committed(Snapshot(10, 15, (10,))), (0, 14))


async def test_a_new_leader_is_given_a_moment() -> None:
    """It may not know yet how far its log reaches."""
    snapshot = Snapshot(10, 15, (10,))
    _, start = await _start(_committed(snapshot), (0, 12), Indeterminate("away"), (0, 15))
    assert start == snapshot


async def test_a_partition_without_a_leader_is_waited_for() -> None:
    """However long it takes: nothing is wrong with this process."""
    snapshot = Snapshot(10, 15, (10,))
    away = [Indeterminate("no leader")] * 100
    _, start = await _start(_committed(snapshot), *away, (0, 15))
    assert snapshot == start


async def test_metadata_in_doubt_stops_the_partition() -> None:
    """Whatever the log says."""
    with pytest.raises(BadMetadata):
        await _start(Committed(10, "not ours"), (0, 20))
