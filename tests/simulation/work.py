"""What simulated processes do with records: wait for leave, make a call that costs, or give up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from services.runtime.engine.ports import Done, Output, Partition, Record, Verdict

if TYPE_CHECKING:
    from tests.simulation.process import Process

Call = Callable[["Process", Record, int], Awaitable[Verdict]]


class SimulatedWork:
    """`Work` whose calls and closed topics the world decides.

    Args:
        process: Whose.
        wait: Waits for leave to make a call; costs nothing.
        call: Makes the call.
        takes: Says which topics are open.
        ended: Told of records that get their outcome without a call.
    """

    def __init__(
        self,
        process: "Process",
        *,
        wait: Callable[[], Awaitable[None]],
        call: Call,
        takes: Callable[[str], bool],
        ended: Callable[["Process", Record], None],
    ) -> None:
        self._process = process
        self._wait = wait
        self._call = call
        self._waiting: dict[asyncio.Task[object], Partition] = {}
        self._ended = ended
        self.takes = takes

    async def handle(self, record: Record, attempts: int) -> Verdict:
        """Wait, then call."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = record.partition
        try:
            await self._wait()
        finally:
            del self._waiting[task]
        return await self._call(self._process, record, attempts)

    def relinquish(self, partition: Partition) -> None:
        """End what has not called yet."""
        for task, where in self._waiting.items():
            if where == partition:
                task.cancel()

    def condemn(self, record: Record, crashes: int) -> Done:  # noqa: ARG002
        """Give up."""
        self._ended(self._process, record)
        return Done([outcome(record, b"condemned")])

    def refused(self, record: Record, output: Output, reason: str) -> Done:  # noqa: ARG002
        """Answer with less."""
        return Done([outcome(record, b"refused")])


def outcome(record: Record, value: bytes) -> Output:
    """Write a record's outcome."""
    origin = (("origin", b"%d %d" % (record.partition.number, record.offset)),)
    return Output("out", record.partition.number, record.key, value, origin)


def origin_of(output: Output) -> tuple[Partition, int]:
    """Read whose outcome this is."""
    origin = dict(output.headers)["origin"]
    assert origin is not None
    number, offset = map(int, origin.split())
    return Partition("in", number), offset
