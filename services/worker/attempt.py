"""What is known of one request while it passes the stages: what an outcome, good or bad, reports.

An attempt is made for each handling of a record; `Past` carries over what earlier attempts of the
same record spent in this process.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from types import TracebackType
from typing import Any, Final

from services.runtime.engine.ports import Output, Record
from services.worker.meters import STAGES, Meters
from services.worker.render import Rendered
from services.worker.schemas import OutputSchema
from sluice_contracts import (
    CompletionRequested,
    Cost,
    DataClassification,
    FailureCode,
    Tier,
    Timing,
    TokenUsage,
    identity,
)
from sluice_contracts import headers as h
from sluice_contracts.carried import Hop, Origin, digest

_NOTHING: Final = TokenUsage()
_HISTORY_KEPT: Final = 20


@dataclass(slots=True)
class Past:
    """What earlier attempts at a record spent; memory of this process only, kept while parked."""

    usage: TokenUsage | None = None
    amount: Decimal = Decimal(0)
    price_table: str = ""
    throttled: float = 0.0
    in_model: float = 0.0
    audit: list[Output] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    """One entry for each of the last failed attempts: number, code and time."""
    failing_since: datetime | None = None
    """When the first attempt in this process failed."""
    stops: int = 0
    """Fatal failures of this record, with a canary that passed between them."""


@dataclass(slots=True)
class CallFacts:
    """What a report says of one call."""

    seconds: float
    usage: Mapping[str, Any] = field(default_factory=dict)
    amount: Decimal = Decimal(0)
    stop_reason: str | None = None
    key_id: str | None = None
    throttled: float = 0.0


class Attempt:
    """One handling of one record; the stages fill it in.

    Args:
        record: The record, as the log holds it.
        tier: Of its topic.
        spent: Attempts at this offset before.
        now: When it began.
        past: What earlier attempts left.
        meters: Where the seconds of each stage go.
    """

    def __init__(
        self,
        record: Record,
        tier: Tier,
        *,
        spent: int,
        now: datetime,
        past: Past,
        meters: Meters,
    ) -> None:
        self.record: Final = record
        self.tier: Final = tier
        self.hop: Final = _hop(record)
        """What the worker wrote that sent it to a retry topic; None where it was on none."""
        self.number: Final = (self.hop.attempts if self.hop is not None else 0) + spent + 1
        """Of this attempt, from 1."""
        self.began: Final = now
        self.past: Final = past
        self.generation: Final = h.find_int(record.headers, h.GENERATION) or 0
        """How often a person replayed this request."""
        self.origin: Final = self.hop.origin if self.hop is not None else _place(record)
        """Where the request was first published."""
        self.published: Final = _moment(self.origin.timestamp_ms, now)
        """When the first record of this request was written."""
        self.reply_to: str | None = None
        """Where the outcome goes instead, once the name is known to be allowed."""
        self.stage_name = STAGES[0]
        self.request: CompletionRequested | None = None
        self.rendered: Rendered | None = None
        self.model: str | None = None
        self.api_request_id: str | None = None
        self.schema: OutputSchema | None = None
        """The one that the request brings."""
        self.calls = 0
        self.called_at: float | None = None
        """When the last call was sent, on the loop's clock."""
        self.repairs = 0
        self.is_conflict = False
        self.call: CallFacts | None = None
        """The last call, until it is reported."""
        self.meters: Final = meters
        self.clock: Final = asyncio.get_running_loop().time
        self.started: Final = self.clock()
        """On the loop's clock."""
        self.task: asyncio.Task[object] | None = None
        """The task that handles the record, while one does."""
        self._interruption: Exception | None = None
        self._cancelled_before = 0

    @property
    def now(self) -> datetime:
        """The present: the date of the beginning and the loop's time since."""
        return self.began + timedelta(seconds=self.clock() - self.started)

    @cached_property
    def request_id(self) -> str:
        """The id of the request, or of a record that is none."""
        record = self.record
        if self.request is not None:
            return self.request.request_id
        return identity(
            record.value,
            record.headers,
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
        )

    @property
    def is_restricted(self) -> bool:
        """Whether nothing of the content may be said; so long as nobody knows, it may not."""
        return (
            self.request is None
            or self.request.data_classification is DataClassification.RESTRICTED
        )

    @cached_property
    def digest(self) -> str:
        """The digest of the request's body."""
        return digest(self.record.value)

    @property
    def failing_since(self) -> datetime:
        """When the first attempt failed; now, where this is the first."""
        if self.hop is not None:
            return min(self.hop.failing_since, self.now)
        return self.past.failing_since or self.now

    @property
    def history(self) -> tuple[str, ...]:
        """The failed attempts, those before earlier hops first."""
        before = self.hop.history if self.hop is not None else ()
        return (*before, *self.past.history)

    @property
    def is_waiting_unpaid(self) -> bool:
        """Whether nothing is lost by ending it now: no call was made, here or before."""
        return not self.calls and self.past.usage is None

    def fail(self, code: FailureCode) -> None:
        """Write down that this attempt failed."""
        now = self.now
        self.past.failing_since = self.past.failing_since or now
        at = now.isoformat(timespec="milliseconds")
        self.past.history.append(f"{self.number} {code} {at}")
        del self.past.history[:-_HISTORY_KEPT]

    def interrupt(self, reason: Exception) -> None:
        """End its wait from outside its task; a call that was sent is not cut off."""
        if self._interruption is None and self.task is not None and self.stage_name != "call":
            self._interruption = reason
            self._cancelled_before = self.task.cancelling()
            self.task.cancel()

    def interruption(self) -> Exception | None:
        """Take back an interruption and say why it was; None where the task is really cancelled."""
        if self._interruption is None or self.task is None:
            return None
        return self._interruption if self.task.uncancel() <= self._cancelled_before else None

    @property
    def deadline_at(self) -> float | None:
        """The request's deadline on the loop's clock."""
        if self.request is None or self.request.deadline is None:
            return None
        return self.started + (self.request.deadline - self.began).total_seconds()

    def stage(self, name: str) -> "_Stage":
        """Time a stage: `with attempt.stage("render"):`."""
        return _Stage(self, name)

    def count(self, usage: TokenUsage, amount: Decimal, price_table: str) -> None:
        """Put a call's tokens and cost on the books, before anybody judges its answer."""
        past = self.past
        before = past.usage or _NOTHING
        past.usage = TokenUsage(
            input_tokens=before.input_tokens + usage.input_tokens,
            output_tokens=before.output_tokens + usage.output_tokens,
            cache_read_input_tokens=before.cache_read_input_tokens + usage.cache_read_input_tokens,
            cache_creation_input_tokens=before.cache_creation_input_tokens
            + usage.cache_creation_input_tokens,
        )
        past.amount += amount
        past.price_table = price_table

    @property
    def cost(self) -> Cost | None:
        """What all calls cost; None where none was answered."""
        if self.past.usage is None:
            return None
        return Cost(amount=f"{self.past.amount:f}", price_table=self.past.price_table)

    @property
    def timing(self) -> Timing:
        """Where the time went, from the record's timestamp to now."""
        queued = (self.began - self.published).total_seconds()
        total = (self.now - self.published).total_seconds()
        return Timing(
            queued_ms=max(0, round(queued * 1000)),
            throttled_ms=round(self.past.throttled * 1000),
            model_ms=round(self.past.in_model * 1000),
            total_ms=max(0, round(total * 1000)),
        )

    def observe(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        if stage == "throttle":
            self.past.throttled += seconds
        elif stage == "call":
            self.past.in_model += seconds
        self.meters.stage_seconds[stage].observe(seconds)


def _hop(record: Record) -> Hop | None:
    hop = Hop.read(record.headers, record.value)
    return hop if hop is not None and hop.return_topic == record.partition.topic else None


def _place(record: Record) -> Origin:
    topic, number = record.partition
    # Producers may claim any time at all; a negative one could not be read back from a header.
    return Origin(topic, number, record.offset, max(0, record.timestamp_ms))


def _moment(timestamp_ms: int, now: datetime) -> datetime:
    try:
        return min(datetime.fromtimestamp(timestamp_ms / 1000, UTC), now)
    except (ValueError, OverflowError, OSError):
        return now


class _Stage:
    """A context manager by hand: seven a request, and a generator costs three times as much."""

    __slots__ = ("_attempt", "_name", "_since")

    def __init__(self, attempt: Attempt, name: str) -> None:
        self._attempt = attempt
        self._name = name

    def __enter__(self) -> None:
        self._attempt.stage_name = self._name
        self._since = self._attempt.clock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._attempt.observe(self._name, self._attempt.clock() - self._since)
