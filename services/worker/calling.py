"""Stages `throttle` and `call` as one round: a reservation, the call, and the books after it."""

import asyncio
import os
from typing import Final

from services.worker import causes
from services.worker.answer import Answer
from services.worker.attempt import Attempt, CallFacts
from services.worker.audit import audited
from services.worker.chunks import ChunkWriter, Send
from services.worker.claude import Call, Claude
from services.worker.errors import SluiceError, TransientError
from services.worker.pricing import cost, tokens
from services.worker.publish import Publisher
from services.worker.render import Rendered
from services.worker.settings import WorkerSettings
from services.worker.throttle import Ask, DeadlinePassed, ExceedsLimit, Reservation, Throttle
from sluice_contracts import Cost, Tier, TokenUsage, TopicNames

_REFUSED: Final = TokenUsage()
_HOLD: Final = 1.0
"""Seconds to hold a group that was told to wait and not how long."""


class Caller:
    """Makes the calls of all requests of this process.

    Args:
        claude: The client.
        throttle: Gives leave to call.
        publisher: Writes chunks.
        send: Sends chunks.
        names: Topic names.
        settings: Groups and headers.
    """

    def __init__(
        self,
        *,
        claude: Claude,
        throttle: Throttle,
        publisher: Publisher,
        send: Send,
        names: TopicNames,
        settings: WorkerSettings,
    ) -> None:
        self._claude = claude
        self._throttle = throttle
        self._publisher = publisher
        self._send = send
        self._audit_topic = names.audit
        self._settings = settings
        self._worker = f"{settings.kafka.client_id}.{os.getpid()}"

    async def reserve(self, attempt: Attempt, rendered: Rendered, body: bytes) -> Reservation:
        """Wait for leave to make one call.

        Raises:
            SluiceError: `deadline_passed` or `exceeds_rate_limit`.
        """
        request = attempt.request
        assert request is not None
        key, size = rendered.calibration, len(body)
        group = self._settings.claude.of(attempt.tier).rate_limit_group
        expected_input, expected_output = self._throttle.estimate(key, size)
        limit = self._throttle.limit_near(group, expected_input)
        if limit is not None:
            expected_input = min(expected_input, await self._count(rendered, limit))
        ask = Ask(
            group=group,
            input_tokens=expected_input,
            output_tokens=min(expected_output, rendered.body["max_tokens"]),
            priority=request.priority,
            tenant=request.tenant,
            deadline=attempt.deadline_at,
            prompt_key=key,
            characters=size,
            is_leftover=attempt.generation > 0 or attempt.hop is not None,
        )
        try:
            return await self._throttle.reserve(ask)
        except DeadlinePassed:
            raise causes.TOO_LATE_FOR_THE_LIMIT.error(
                f"deadline {request.deadline} passed while waiting for the rate limit"
            ) from None
        except ExceedsLimit as exc:
            raise causes.OVER_THE_LIMIT.error(str(exc)) from None

    def hold_left(self, tier: Tier) -> float:
        """Return for how many seconds the tier's rate-limit group makes no calls."""
        return self._throttle.hold_left(self._settings.claude.of(tier).rate_limit_group)

    async def _count(self, rendered: Rendered, limit: float) -> int:
        """Ask how large a call is that may be larger than a whole minute's limit.

        Nobody is turned away by an estimate: where the API does not say, it may judge the call.
        """
        try:
            return await self._claude.count_tokens(rendered.body)
        except SluiceError:
            return int(limit)

    async def call(
        self, attempt: Attempt, rendered: Rendered, body: bytes, reservation: Reservation
    ) -> Answer:
        """Make one call under its reservation and put it on the books.

        Raises:
            SluiceError: The call failed.
        """
        group, meters = reservation.ask.group, attempt.meters
        call = Call(body, group, reservation.ask.input_tokens, self._headers(attempt))
        attempt.calls += 1
        attempt.model = rendered.body["model"]
        clock = attempt.clock
        attempt.called_at = sent_at = clock()
        meters.calls_in_flight.inc()
        try:
            # Not cut off at the deadline: it is paid for by now, and late may still be useful.
            answer = await self._send_call(attempt, call)
            reservation.settle(tokens(answer.usage))
        except SluiceError as exc:
            attempt.call = CallFacts(
                clock() - sent_at, key_id=exc.key_id, throttled=reservation.waited
            )
            attempt.api_request_id = exc.api_request_id
            self._on_error(attempt, exc, reservation, sent_at)
            raise
        except asyncio.CancelledError:
            meters.cancelled_calls.inc()
            raise
        finally:
            meters.calls_in_flight.dec()
            reservation.settle(None)
            meters.call_seconds.observe(clock() - sent_at)
        self._on_answer(attempt, answer, reservation, clock() - sent_at)
        return answer

    async def _send_call(self, attempt: Attempt, call: Call) -> Answer:
        request = attempt.request
        if request is None or not request.stream or attempt.repairs:
            return await self._claude.call(call)
        interval = self._settings.stream.interval.total_seconds()
        writer = ChunkWriter(attempt, self._publisher, self._send, interval)
        try:
            answer = await self._claude.stream(call, writer.write)
        except SluiceError:
            await writer.close()  # readers need not wait for more; the outcome tells how it ended
            raise
        await writer.close()
        return answer

    def _on_answer(
        self, attempt: Attempt, answer: Answer, reservation: Reservation, seconds: float
    ) -> None:
        usage = tokens(answer.usage)
        refused = answer.stop_details.get("category") if not answer.content else None
        amount, row = cost(answer.model, answer.usage, attempt.began.date(), refused_as=refused)
        attempt.count(usage, amount, row)
        attempt.model = answer.model
        attempt.api_request_id = answer.request_id
        attempt.call = CallFacts(
            seconds, answer.usage, amount, answer.stop_reason, answer.key_id, reservation.waited
        )
        paid = Cost(amount=f"{amount:f}", price_table=row)
        attempt.past.audit.append(
            audited(self._audit_topic, attempt, answer, seconds=seconds, cost=paid)
        )
        attempt.meters.count(usage, float(amount))

    def _on_error(
        self, attempt: Attempt, error: SluiceError, reservation: Reservation, sent_at: float
    ) -> None:
        # Held first: what a refused call gives back would let the next one run into the same wall.
        if isinstance(error, TransientError) and error.hold is not None:
            wait = error.delay if error.delay is not None else _HOLD
            self._throttle.hold(reservation.ask.group, wait, error.hold, sent_at=sent_at)
        lost = isinstance(error, TransientError) and error.possibly_paid
        reservation.settle(None if lost else _REFUSED)
        assert attempt.call is not None
        attempt.past.audit.append(
            audited(self._audit_topic, attempt, error, seconds=attempt.call.seconds, cost=None)
        )
        attempt.meters.metrics.calls.labels(attempt.tier, error.code).inc()

    def _headers(self, attempt: Attempt) -> dict[str, str]:
        if not self._settings.claude.call_headers:
            return {}
        return {
            "x-sluice-request-id": attempt.request_id,
            "x-sluice-generation": str(attempt.generation),
            "x-sluice-attempt": f"{attempt.number}.{attempt.calls}",  # attempt and its call
            "x-sluice-worker": self._worker,
        }
