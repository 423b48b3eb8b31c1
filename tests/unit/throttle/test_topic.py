"""The exchange's connection is made again after any failure, and ends when it is told to."""

import asyncio

import pytest

from services.runtime.settings import KafkaSettings
from services.worker.throttle.exchange import Arrived
from services.worker.throttle.topic import RETRY, RateTopic


class Failing(RateTopic):
    """Its brokers go away while it is connected."""

    def __init__(self, error: Exception) -> None:
        super().__init__(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "rate")
        self._error = error
        self.read = 0
        """How often reading began."""

    async def _read(self, arrived: Arrived) -> None:
        del arrived
        self.read += 1
        await asyncio.Event().wait()

    async def _write(self) -> None:
        await asyncio.sleep(1.0)
        raise self._error


@pytest.mark.looptime
@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError("gone")])
async def test_it_connects_again_for_ever(error: Exception) -> None:
    """One failure after the other ends nothing."""
    topic = Failing(error)
    running = asyncio.create_task(topic.run(lambda *_: None))
    await asyncio.sleep(10 * (1.0 + RETRY) + 0.5)
    assert not running.done()
    assert 11 == topic.read
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_it_ends_when_it_is_cancelled_while_failing() -> None:
    """A failure in the same moment does not swallow the cancellation."""
    topic = Failing(TimeoutError())
    running = asyncio.create_task(topic.run(lambda *_: None))
    asyncio.get_running_loop().call_later(1.0, running.cancel)
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_an_error_of_the_program_is_not_hidden() -> None:
    """Only what brokers and networks do is tried again."""
    with pytest.raises(ValueError, match="broken"):
        await Failing(ValueError("broken")).run(lambda *_: None)
