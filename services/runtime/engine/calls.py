"""The records that a lane has in hand: waiting, running, parked, and ready to be published."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from services.runtime.engine.capacity import Share
from services.runtime.engine.ports import Done, Park, Record, Refused, Verdict, Work

_BATCH: Final = 256
_BATCH_BYTES: Final = 2_097_152  # more could outlast the transaction on a broker that is slow
_REFUSALS: Final = 3


@dataclass(slots=True, eq=False)
class Ready:
    """A finished record whose outputs are not visible yet."""

    record: Record
    done: Done
    since: float
    """Loop time at which it was finished."""
    size: int = field(init=False)
    """Bytes of its outputs."""
    refusals: int = 0

    def __post_init__(self) -> None:
        """Measure the outputs."""
        self.size = _size(self.done)


class Calls:
    """Runs `Work` on records, one task each, and keeps what comes out until it is published."""

    def __init__(
        self,
        work: Work,
        share: Share,
        *,
        is_ordered: bool,
        finished: Callable[[], None],
        rested: Callable[[int], None],
        resumed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Take what to do with records, and whom to tell.

        Args:
            work: Takes a record to its verdict.
            share: Counts what the topic has in hand.
            is_ordered: Whether records with the same key run one after the other.
            finished: Told that an outcome is ready.
            rested: Told the offset of a record that ran and will run again: parked or interrupted.
            resumed: Told that a parked record is waiting again, or that one was given back.
            failed: Told an exception that `work` should not have raised.
        """
        self._work = work
        self._share = share
        self._is_ordered = is_ordered
        self._finished = finished
        self._rested = rested
        self._resumed = resumed
        self._failed = failed
        self._chains: dict[bytes, deque[Record]] = {}
        self._is_giving_back = False
        self._singly: set[Ready] = set()
        self.waiting: deque[Record] = deque()
        """Records that may start, in offset order per key."""
        self.running: dict[int, tuple[asyncio.Task[Verdict], float]] = {}
        """Task and start time of each call by offset."""
        self.parked: dict[int, tuple[asyncio.TimerHandle, Record]] = {}
        """Records that come back after a delay."""
        self.ready: deque[Ready] = deque()
        """Finished records, in the order in which they finished."""
        self.attempts: dict[int, int] = {}
        """Attempts spent, by offset, where not 0."""

    def add(self, record: Record) -> None:
        """Take a record in hand; it waits for its key where order matters."""
        self._share.take(0, record.size)
        if self._is_ordered and record.key is not None:
            if record.key in self._chains:
                self._chains[record.key].append(record)
                return
            self._chains[record.key] = deque()
        self._line_up(record)

    def start(self, record: Record) -> None:
        """Run a record that is no longer waiting."""
        self._share.started()
        attempts = self.attempts.get(record.offset, 0)
        task = asyncio.create_task(self._work.handle(record, attempts))
        self.running[record.offset] = (task, asyncio.get_running_loop().time())
        # Not in the task itself: one that is cancelled before its first step runs none of it.
        task.add_done_callback(partial(self._ended, record))

    def finish(self, record: Record, done: Done) -> None:
        """Note the outputs of a record that did not have to run."""
        self._share.take(0, record.size)
        self._finish(record, done)

    def batch(self) -> list[Ready]:
        """Choose what to publish next, oldest first, within what a transaction should hold."""
        batch: list[Ready] = []
        size = 0
        for ready in islice(self.ready, _BATCH):
            size += ready.size
            if batch and (size > _BATCH_BYTES or ready in self._singly):
                break
            batch.append(ready)
            if ready in self._singly:
                break
        return batch

    def refuse(self, batch: Sequence[Ready], refused: Refused) -> None:
        """Find the record that cannot be published and ask for another verdict.

        The client sends several records as one, which the broker refuses as a whole: so they are
        first published one by one, and only what is refused alone is to blame. A record that stays
        refused is dropped here and raises; it stays incomplete in the log.
        """
        if len(batch) > 1:
            self._singly.update(batch)
            return
        (ready,) = batch
        ready.refusals += 1
        before = ready.size
        try:
            if ready.refusals > _REFUSALS:
                raise refused  # noqa: TRY301 -- leaves by the same door
            ready.done = self._work.refused(ready.record, refused.output, refused.reason)
            ready.size = _size(ready.done)
        except BaseException:
            self.published(batch)
            raise
        self._share.take(0, ready.size - before)

    def published(self, batch: Sequence[Ready]) -> None:
        """Let go of records whose outputs are visible."""
        self._singly.difference_update(batch)
        for ready in batch:
            if self.ready[0] is ready:
                self.ready.popleft()
            else:
                self.ready.remove(ready)
            self.attempts.pop(ready.record.offset, None)
            self._share.give(0, ready.size + ready.record.size)

    def give_back(self) -> None:
        """Let go of what has not started: the partition's next owner will find it incomplete."""
        self._is_giving_back = True
        for handle, record in self.parked.values():
            handle.cancel()
            self._share.give(0, record.size)
        self.parked.clear()
        self._share.give(len(self.waiting), 0)
        for queue in (self.waiting, *self._chains.values()):
            self._share.give(0, sum(record.size for record in queue))
            queue.clear()

    def cancel(self) -> None:
        """Cancel what is running; it stays incomplete."""
        for task, _ in self.running.values():
            task.cancel()

    async def close(self) -> None:
        """Drop everything and wait for the cancelled calls to end."""
        self.give_back()
        self.cancel()
        if self.running:
            await asyncio.wait([task for task, _ in self.running.values()])
            await asyncio.sleep(0)  # of one that had ended before, the callback is still to come
        for ready in self.ready:
            self._share.give(0, ready.size + ready.record.size)
        self.ready.clear()

    def _line_up(self, record: Record) -> None:
        self._share.take(1, 0)
        self.waiting.append(record)

    def _ended(self, record: Record, task: asyncio.Task[Verdict]) -> None:
        del self.running[record.offset]
        self._share.ended()
        self._share.give(1, 0)
        is_over = not task.cancelled() and (task.exception() or isinstance(task.result(), Done))
        if self._is_giving_back and not is_over:
            self._share.give(0, record.size)
            self._resumed()
        elif task.cancelled():  # it has let itself be interrupted
            self._share.take(1, 0)
            self.waiting.appendleft(record)
            self._rested(record.offset)
        elif exc := task.exception():
            self._share.give(0, record.size)
            self._failed(exc)
        elif isinstance(verdict := task.result(), Done):
            self._finish(record, verdict)
            self._release_key(record)
            self._finished()
        else:
            self._park(record, verdict)
            self._rested(record.offset)

    def _finish(self, record: Record, done: Done) -> None:
        ready = Ready(record, done, asyncio.get_running_loop().time())
        self._share.take(0, ready.size)
        self.ready.append(ready)

    def _release_key(self, record: Record) -> None:
        if self._is_ordered and record.key is not None:
            chain = self._chains[record.key]
            if chain:
                self._line_up(chain.popleft())
            else:
                del self._chains[record.key]

    def _park(self, record: Record, park: Park) -> None:
        if park.counts:
            self.attempts[record.offset] = self.attempts.get(record.offset, 0) + 1
        loop = asyncio.get_running_loop()
        handle = loop.call_later(park.delay, self._unpark, record)
        self.parked[record.offset] = (handle, record)

    def _unpark(self, record: Record) -> None:
        del self.parked[record.offset]
        self._line_up(record)
        self._resumed()


def _size(done: Done) -> int:
    return sum(len(output.key or b"") + len(output.value or b"") for output in done.outputs)
