"""What becomes of a request after an attempt: its outcome, another attempt, or another time.

Everybody who must know is told here: the gate and the guard of the tier, who tells copies apart,
and the log.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog

from services.runtime.engine.ports import Done, Output, Park, Partition, Record, Verdict
from services.worker import causes, retries
from services.worker.attempt import Attempt
from services.worker.errors import FatalError, NotNow, SluiceError
from services.worker.gate import Gate
from services.worker.guard import DeadLetterGuard
from services.worker.publish import Publisher
from services.worker.reporting import Reporter
from services.worker.seen import Identity
from services.worker.settings import RetrySettings
from sluice_contracts import FailureCode, Tier

_log = structlog.get_logger(__name__)
_OF_UPSTREAM: Final = frozenset({FailureCode.INVALID_EVENT, FailureCode.VARIABLES_MISSING})
"""Causes that no canary sees and that cost nothing: an alarm, but no stop for everybody else."""
_FATAL_TRIES: Final = 3
"""Fatal failures of one record, with a canary that passed between them, until it is to blame."""


class Finishes(Protocol):
    """Notes which requests are no longer at work (`seen.Seen`)."""

    def finish(self, record: Record, identity: Identity, body: str) -> None:
        """Note that the request has its outcome."""
        ...

    def rest(self, record: Record, identity: Identity, body: str) -> None:
        """Note that the request goes to a retry topic."""
        ...

    def forget(self, partition: Partition) -> None:
        """Drop what is known of a partition."""
        ...


class Judge:
    """Turns what happened to an attempt into a verdict for the engine.

    Args:
        publisher: Writes what became of a request.
        reporter: Logs and counts.
        gates: One for each tier served.
        guards: One for each tier served.
        seen: Is told which requests are finished.
        retry: Bounds of retries.
    """

    def __init__(
        self,
        *,
        publisher: Publisher,
        reporter: Reporter,
        gates: Mapping[Tier, Gate],
        guards: Mapping[Tier, DeadLetterGuard],
        seen: Finishes,
        retry: RetrySettings,
    ) -> None:
        self._publisher = publisher
        self._reporter = reporter
        self._gates = gates
        self._guards = guards
        self._seen = seen
        self._retry = retry

    def succeeded(self, attempt: Attempt, outputs: Sequence[Output]) -> Done:
        """Pass the result on; without outputs it was a copy."""
        if not outputs:
            self._reporter.copied(attempt)
            return Done()
        self._reporter.succeeded(attempt)
        self._guards[attempt.tier].observe(None, generation=attempt.generation)
        self._gates[attempt.tier].succeeded(attempt)
        self._finish(attempt)
        return Done(outputs)

    def failed(self, attempt: Attempt, exc: Exception) -> Verdict:
        """Decide what becomes of an attempt that did not succeed."""
        match exc:
            case NotNow():
                return Park(exc.delay, counts=False)
            case FatalError():
                return self._stop(attempt, exc)
            case SluiceError():
                return self._decide(attempt, exc)
            case _:
                return self._decide(attempt, _unforeseen(exc, attempt), trace=exc)

    def give_up(
        self,
        attempt: Attempt,
        error: SluiceError,
        *,
        trace: Exception | None = None,
        carries: bool = True,
        is_whole: bool = True,
    ) -> Done:
        """Write a failed outcome and its dead letter.

        Args:
            attempt: The last one.
            error: Why.
            trace: What nobody foresaw, for the log.
            carries: As of `Publisher.failed`.
            is_whole: As of `Publisher.failed`.
        """
        attempt.fail(error.code)
        self._reporter.given_up(attempt, error, trace=trace)
        gate = self._gates[attempt.tier]
        gate.failed(attempt, error.code)
        alarm = self._guards[attempt.tier].observe(error.code, generation=attempt.generation)
        if alarm is not None and alarm.code in _OF_UPSTREAM:
            _log.error("dead_letters.piled_up", tier=attempt.tier, code=alarm.code,
                       reason=str(alarm))  # fmt: skip
        elif alarm is not None:
            gate.alarm(alarm.code, str(alarm))
        self._finish(attempt)
        return Done(self._publisher.failed(attempt, error, carries=carries, is_whole=is_whole))

    def _stop(self, attempt: Attempt, error: FatalError) -> Verdict:
        gate, past = self._gates[attempt.tier], attempt.past
        began = attempt.called_at if attempt.called_at is not None else attempt.started
        past.stops += gate.close(error, began=began)
        if past.stops >= _FATAL_TRIES:  # canaries pass: it is this record
            return self.give_up(attempt, error)
        self._reporter.stopped(attempt, error)
        return Park(gate.refusal().delay, counts=False)

    def _decide(
        self, attempt: Attempt, error: SluiceError, *, trace: Exception | None = None
    ) -> Verdict:
        deadline = attempt.request.deadline if attempt.request is not None else None
        chances = retries.Chances(attempt.number, attempt.now, attempt.failing_since, deadline)
        match retries.decide(error, chances, self._retry, random.random()):  # noqa: S311
            case retries.ParkFor(delay, counts):
                attempt.fail(error.code)
                self._reporter.retried(attempt, error, "parked", delay, trace=trace)
                return Park(delay, counts)
            case retries.RetryLater(topic, due, counts):
                attempt.fail(error.code)
                delay = (due - attempt.now).total_seconds()
                self._reporter.retried(attempt, error, topic, delay, trace=trace)
                if attempt.request is not None:
                    self._seen.rest(attempt.record, _name(attempt), attempt.digest)
                spent = attempt.number if counts else attempt.number - 1
                return Done(self._publisher.hop(attempt, error, topic, attempts=spent, due=due))
            case retries.GiveUp(final):
                return self.give_up(attempt, final, trace=trace)

    def _finish(self, attempt: Attempt) -> None:
        if attempt.request is not None and not attempt.is_conflict:
            self._seen.finish(attempt.record, _name(attempt), attempt.digest)


def _name(attempt: Attempt) -> Identity:
    return Identity(attempt.request_id, attempt.generation)


def _unforeseen(exc: Exception, attempt: Attempt) -> SluiceError:
    """Name a bug, or something of ours that is down: tried again so long as nothing was paid."""
    cause = causes.BUG_AFTER_A_CALL if attempt.calls else causes.BUG_BEFORE_A_CALL
    return cause.error(f"{type(exc).__name__} in stage {attempt.stage_name}; see the worker's log")
