"""kill -9 in the middle of hundreds of calls: another worker takes over, nothing is lost."""

import signal

import pytest

from tests.integration.engine.conftest import Stage, repeats, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_every_record_has_one_outcome_and_only_what_was_in_flight_is_repeated(
    stage: Stage,
) -> None:
    """The successor starts from the committed map, so finished calls are not made again."""
    first = await stage.start(seconds=1.0)
    stage.send(*values(200))
    await stage.until_called(200, first)
    stage.send(*values(100))
    await stage.until_called(300, first)
    first.signal(signal.SIGKILL)
    await stage.start(seconds=0.1)
    assert stage.expected() == await stage.outcomes()
    assert repeats(stage.calls()) <= 300


async def test_a_record_that_kills_its_worker_is_given_up(stage: Stage) -> None:
    """After a few crashes it alone is answered for; the others have their own outcomes."""
    stage.send(*values(20), b"poison", *values(19))
    crashes = 0
    while True:
        worker = await stage.start(seconds=0.1)
        try:
            await worker.ended(25)
        except TimeoutError:
            break
        crashes += 1
        assert crashes <= 6
    assert stage.expected() == await stage.outcomes()
    condemned = [origin for origin, value in stage.values.items() if value == b"condemned"]
    assert condemned == [(20 % 4, 20 // 4)]
