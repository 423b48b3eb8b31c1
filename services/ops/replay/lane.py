"""Sends the dead letters of one partition back: each in exactly one committed transaction.

A transaction holds the requests, the plan's progress in the group's offset, and who did it, in the
audit topic. The producer is named after the plan and the dead-letter partition, not the process:
whoever initialises it last is the one who sends, and everybody before is told so.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from aiokafka import TopicPartition

from services.ops.audit import action_audited
from services.ops.dead_letters.letter import Letter
from services.ops.replay.edit import EditRefused, headers_of
from services.ops.replay.plan import Plan
from services.ops.replay.store import Progress
from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import (
    Committed,
    Fenced,
    Indeterminate,
    Output,
    Partition,
    Producer,
    Refused,
    Transactions,
)
from services.runtime.engine.settled import read_settled
from sluice_contracts import TopicNames

log = structlog.get_logger(__name__)

ReadProgress = Callable[[], Awaitable[Progress | None]]
"""Reads the group's offset of the lane's partition."""
_TRIES: Final = 5
_TIMEOUT: Final = 30.0
"""For a claim or a transaction, in seconds; above the transaction's own timeout."""
_SETTLE: Final = Limits().settle


class TakenOver(Exception):  # noqa: N818 -- a fact about another operator
    """Another run of the plan sends from this partition now."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs a plan."""

    name: str
    now: Callable[[], datetime]


class Lane:
    """One dead-letter partition of a plan.

    Args:
        plan: What is sent.
        tp: The partition.
        names: Topic names.
        transactions: Makes the producer.
        read_progress: Reads how far the plan is on this partition.
        operator: Who sends.
    """

    def __init__(
        self,
        plan: Plan,
        tp: TopicPartition,
        *,
        names: TopicNames,
        transactions: Transactions,
        read_progress: ReadProgress,
        operator: Operator,
    ) -> None:
        self.tp: Final = tp
        self.progress = Progress(plan.partitions()[tp].start)
        self.taken_over = False
        self._plan = plan
        self._generation = plan.generation()
        self._names = names
        self._transactions = transactions
        self._read_progress = read_progress
        self._operator = operator
        self._owner: Final = secrets.token_hex(4)
        self._end: Final = plan.partitions()[tp].end
        self._producer: Producer | None = None
        tier = names.tier(tp.topic)
        assert tier is not None
        self.tier: Final = plan.edit.tier or tier
        """Where its requests go."""
        self._topic: Final = names.requests(self.tier)

    @property
    def is_done(self) -> bool:
        """Whether nothing of the plan is left here."""
        return self.progress.offset >= self._end

    def is_behind(self, found: Progress | None) -> bool:
        """Whether the log's progress is beyond what this lane has sent or passed over."""
        return found is not None and found.offset > self.progress.offset

    async def claim(self) -> None:
        """Become the one who sends from this partition, and learn how far it is.

        Raises:
            Indeterminate: The brokers do not answer.
        """
        await self.close()
        try:
            async with asyncio.timeout(_TIMEOUT):
                # Fenced first: no earlier transaction of the id can end now, what is read stays.
                self._producer = await self._transactions.fence(Partition(*self.tp))
                found = await read_settled(self._read_progress, pause=_SETTLE)
        except TimeoutError as exc:
            raise Indeterminate(f"no answer about {self.tp.topic}/{self.tp.partition}") from exc
        if found is not None:
            self.progress = found

    async def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.close()

    async def send(self, letters: Sequence[Letter], upto: int) -> None:
        """Send these and move the progress to `upto`, all of it or nothing.

        A request that the edit or the brokers refuse stays a dead letter and is counted. Brokers
        refuse a whole batch for one of its records, so a refused one is sent by halves.

        Raises:
            TakenOver: Another run owns the partition now; nothing of this was sent by us.
            Indeterminate: The brokers do not answer; the next run finds out what was sent.
        """
        batch = self._batch(letters, {})
        for left in reversed(range(_TRIES)):
            after = Progress(
                upto,
                sent=self.progress.sent + len(batch.sent),
                refused=self.progress.refused + len(batch.refused),
                owner=self._owner,
            )
            try:
                await self._commit(batch.outputs, after)
            except Fenced:
                self.taken_over = True
                raise TakenOver from None
            except Refused as exc:
                if await self._has_landed(after):  # or taken over: never sent without looking
                    return
                if len(letters) > 1:
                    half = len(letters) // 2
                    await self.send(letters[:half], letters[half].record.offset)
                    await self.send(letters[half:], upto)
                    return
                batch = self._batch(letters, batch.offset_of(exc))
            except Indeterminate as exc:
                if not left:
                    raise
                log.info("replay.transaction_repeated", partition=self.tp, reason=repr(exc))
                if await self._has_landed(after):
                    return
            else:
                self.progress = after
                return

    async def _commit(self, outputs: Sequence[Output], after: Progress) -> None:
        producer = self._producer
        if producer is None:
            raise Indeterminate("the last transaction left no producer")
        try:
            async with asyncio.timeout(_TIMEOUT):
                await producer.begin()
                for sent in [await producer.send(output) for output in outputs]:
                    await sent
                await producer.send_progress(Committed(after.offset, after.metadata))
                await producer.commit()
        except TimeoutError as exc:
            raise Indeterminate("the transaction did not end in time") from exc

    async def _has_landed(self, after: Progress) -> bool:
        """Find out, after a transaction with an unknown end, what it came to.

        Raises:
            TakenOver: Somebody else has moved the progress meanwhile.
        """
        before = self.progress
        await self.claim()
        found = self.progress
        if found.offset == after.offset and found.owner == self._owner:
            return True
        if found.offset == before.offset and found.owner == before.owner:
            return False
        self.taken_over = True
        raise TakenOver

    def _batch(self, letters: Sequence[Letter], barred: Mapping[int, str]) -> "_Batch":
        batch = _Batch()
        for letter in letters:
            offset = letter.record.offset
            if offset in barred:
                batch.refused.append([offset, barred[offset]])
                continue
            try:
                value = self._plan.edit.apply(letter)
            except EditRefused as exc:
                batch.refused.append([offset, str(exc)])
                continue
            generation = self._generation(letter)
            headers = headers_of(letter, self._plan.plan_id, generation)
            number = letter.record.partition
            batch.outputs.append(Output(self._topic, number, letter.record.key, value, headers))
            batch.sent.append([offset, letter.request_id, generation])
        if letters:
            batch.outputs.append(self._audit(batch))
        return batch

    def _audit(self, batch: "_Batch") -> Output:
        plan = self._plan
        encoded = action_audited(
            "replay.sent", subject=plan.plan_id, who=self._operator.name, why=plan.why,
            now=self._operator.now(), dead_letters=f"{self.tp.topic}/{self.tp.partition}",
            requests=self._topic, edit=plan.edit.model_dump(mode="json", exclude_defaults=True),
            sent=batch.sent, refused=batch.refused,
        )  # fmt: skip
        return Output(self._names.audit, None, encoded.key, encoded.value, encoded.headers)


@dataclass(slots=True)
class _Batch:
    """One transaction's worth: offsets, ids and generations beside the outputs."""

    outputs: list[Output] = field(default_factory=list)
    sent: list[list[object]] = field(default_factory=list)
    refused: list[list[object]] = field(default_factory=list)

    def offset_of(self, exc: Refused) -> dict[int, str]:
        """Say why the dead letter is refused; a refusal of the audit record is ours to fail on."""
        for output, (offset, *_) in zip(self.outputs, self.sent, strict=False):
            if output is exc.output:
                return {int(str(offset)): f"{output.topic} refuses it: {exc.reason}"}
        raise exc
