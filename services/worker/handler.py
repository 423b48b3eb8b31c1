"""The engine's `Work`: takes a record to its verdict, whatever happens on the way.

`handle` owns resources and offsets, `process` owns meaning. Every failure becomes a verdict
(`judging.py`), and here is the only `except Exception` of the process.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Final, Self

from services.runtime.engine.ports import Done, Output, Park, Partition, Record, Verdict
from services.worker import causes
from services.worker.attempt import Attempt, Past
from services.worker.errors import FatalError, SluiceError
from services.worker.gate import Gate
from services.worker.judging import Finishes, Judge
from services.worker.meters import Meters
from services.worker.pipeline import SHORT_HOLD, Pipeline
from services.worker.publish import spent_on
from sluice_contracts import Tier, TopicNames
from sluice_contracts import headers as h

_LOOK: Final = 1.0
"""Seconds between two looks at what waits: how late a cancellation or a hold is noticed."""


class Handler:
    """What the worker does with records; enter it to let the gates' canaries run.

    Args:
        pipeline: The stages.
        judge: Decides what becomes of a request.
        gates: One for each tier served.
        seen: Knows which requests have been seen.
        names: Topic names.
        meters: One for each tier served.
        hold_left: For how many seconds a tier makes no calls.
        is_ready: Whether it is known what must not be called any more.
        clock: Says the date, with a zone.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        judge: Judge,
        gates: Mapping[Tier, Gate],
        seen: Finishes,
        names: TopicNames,
        meters: Mapping[Tier, Meters],
        hold_left: Callable[[Tier], float],
        is_ready: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._pipeline = pipeline
        self._judge = judge
        self._gates = gates
        self._seen = seen
        self._names = names
        self._meters = meters
        self._hold_left = hold_left
        self._is_ready = is_ready
        self._clock = clock
        self._tiers: Final = {names.requests(tier): tier for tier in meters}
        self._at_work: set[Attempt] = set()
        self._pasts: dict[tuple[Partition, int], Past] = {}
        self._stack = AsyncExitStack()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the gates."""
        for gate in self._gates.values():
            await self._stack.enter_async_context(gate)
        self._watching = asyncio.create_task(self._watch(), name="waits")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the canaries."""
        assert self._watching is not None
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await self._stack.aclose()

    @property
    def closed(self) -> dict[Tier, str]:
        """Say which tiers stand still, and why; readiness fails on any."""
        return {tier: gate.reason or "" for tier, gate in self._gates.items() if gate.is_closed}

    @property
    def doubted(self) -> dict[Tier, str]:
        """Say which tiers let one request through at a time, and why."""
        gates = self._gates.items()
        return {tier: gate.reason for tier, gate in gates if gate.reason and not gate.is_closed}

    def takes(self, topic: str) -> bool:
        """Whether a request of this topic could be called now."""
        tier = self._tiers[topic]
        return self._is_ready() and self._gates[tier].takes and self._hold_left(tier) <= SHORT_HOLD

    async def handle(self, record: Record, attempts: int) -> Verdict:
        """Take a record to its verdict; it may be to come again, but never to wait for long."""
        attempt = self._begin(record, attempts)
        attempt.task = asyncio.current_task()
        in_flight = self._meters[attempt.tier].in_flight
        self._at_work.add(attempt)
        in_flight.inc()
        try:
            verdict: Verdict = self._judge.succeeded(attempt, await self._pipeline.process(attempt))
        except asyncio.CancelledError:
            reason = attempt.interruption()
            if reason is None:
                raise
            verdict = self._judge.failed(attempt, reason)
        except Exception as exc:  # noqa: BLE001 -- a bug must cost one record, not the partition
            verdict = self._judge.failed(attempt, exc)
            if isinstance(exc, FatalError):
                self._look()  # what waits would only find the same
        finally:
            in_flight.dec()
            self._at_work.discard(attempt)
            self._gates[attempt.tier].leave(attempt)
        place = record.partition, record.offset
        if isinstance(verdict, Park):
            self._pasts[place] = attempt.past
        else:
            self._pasts.pop(place, None)
        return verdict

    def relinquish(self, partition: Partition) -> None:
        """Cancel what only waits for its first call; the partition's next owner starts it again."""
        for attempt in tuple(self._at_work):
            if attempt.record.partition == partition and attempt.is_waiting_unpaid:
                assert attempt.task is not None
                attempt.task.cancel()

    def condemn(self, record: Record, crashes: int) -> Done:
        """Give up a record that was in flight at so many crashes."""
        attempt = self._read(record, Past())
        detail = f"in flight at {crashes} crashes of a worker; it may be what kills them"
        return self._judge.give_up(attempt, causes.POISON.error(detail))

    def refused(self, record: Record, output: Output, reason: str) -> Done:
        """Replace an outcome that the broker will not take by a failed one with its dead letter.

        The caller's headers may be what is too large, and a compressed request may be larger than
        any topic takes uncompressed: where a topic of ours refused, the outcome comes without them,
        and where the dead letter itself is refused, it only says where the record is. A topic that
        the caller named says nothing of ours.
        """
        attempt = self._read(record, spent_on(output))
        attempt.reply_to = None
        size = len(output.value or b"")
        names = self._names
        is_letter = output.topic == names.dead_letters(attempt.tier)
        is_theirs = not is_letter and output.topic != names.results(attempt.tier)
        detail = f"the broker refuses {size} bytes for {output.topic}: {reason[:200]};" + (
            f" the record is left out, read it at x-origin-…; it failed as"
            f" {h.find(output.headers, h.FAILURE_CODE)}"
            if is_letter
            else " raise the topic's max.message.bytes or ask for less"
        )
        error = causes.NOT_PUBLISHED.error(detail)
        return self._judge.give_up(attempt, error, carries=is_theirs, is_whole=not is_letter)

    def forget(self, partition: Partition) -> None:
        """Drop what is remembered of a partition that went to another worker."""
        self._pasts = {key: past for key, past in self._pasts.items() if key[0] != partition}
        self._seen.forget(partition)

    def _begin(self, record: Record, spent: int, past: Past | None = None) -> Attempt:
        tier = self._tiers[record.partition.topic]
        past = past or self._pasts.get((record.partition, record.offset)) or Past()
        return Attempt(
            record, tier, spent=spent, now=self._clock(), past=past, meters=self._meters[tier]
        )

    def _read(self, record: Record, past: Past) -> Attempt:
        """Begin an attempt that makes no call, with what can be read of the request."""
        attempt = self._begin(record, 0, past)
        with contextlib.suppress(SluiceError):
            self._pipeline.read(attempt)
        return attempt

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self._look()

    def _look(self) -> None:
        """Tell what waits in the throttle when something has come between it and its call."""
        for attempt in tuple(self._at_work):
            if attempt.stage_name == "throttle" and (came := self._pipeline.obstacle(attempt)):
                attempt.interrupt(came)
