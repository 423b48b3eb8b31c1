"""Retention deletes records: what was read is not missed, what was not read stops the partition."""

import asyncio
import signal

import pytest

from tests.integration.engine.conftest import Stage, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_a_log_that_expired_after_it_was_read_is_no_reason_to_stop(stage: Stage) -> None:
    """Though a transaction marker follows the last record, and the log begins behind it now."""
    worker = await stage.start(seconds=0.1)
    stage.send_transactionally(*values(8))
    assert stage.expected() == await stage.outcomes(settle=0.5)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    stage.delete_everything()
    worker = await stage.start(seconds=0.1)
    stage.send_transactionally(*values(8))
    outcomes = await stage.outcomes()
    assert [1] * 16 == list(outcomes.values())  # at offsets that the markers have moved
    assert "partition.halted" not in worker.log()


async def test_records_that_were_deleted_unread_stop_the_partition(stage: Stage) -> None:
    """They can not be answered any more; somebody has to know."""
    worker = await stage.start(seconds=0.1)
    stage.send(*values(8))
    assert stage.expected() == await stage.outcomes(settle=0.5)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    stage.send(*values(8))
    stage.delete_everything()
    worker = await stage.start(seconds=0.1)
    async with asyncio.timeout(60):
        while worker.log().count("partition.halted") < 4:  # noqa: ASYNC110 -- another process's
            await asyncio.sleep(0.2)
    assert "records were deleted unread" in worker.log()
