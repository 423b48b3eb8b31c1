"""What a request means, from its bytes to its outcome: `process` reads top to bottom.

Tiers differ in settings only. Resources, retries and everything that goes wrong are the handler's.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from services.runtime.engine.ports import Output, Record
from services.worker import causes
from services.worker.admit import Arrival, admit, check_age
from services.worker.answer import Answer
from services.worker.attempt import Attempt
from services.worker.calling import Caller
from services.worker.cancellations import Cancelled
from services.worker.decode import decode
from services.worker.errors import NotNow, SluiceError
from services.worker.gate import Gate
from services.worker.library import PromptLibrary
from services.worker.models import ModelFacts
from services.worker.publish import Publisher
from services.worker.render import Rendered, render
from services.worker.reporting import Reporter
from services.worker.seen import Claim, Identity
from services.worker.settings import WorkerSettings
from services.worker.validate import Passed, Repairable, repair_turns, validate
from sluice_contracts import Tier

_CHARACTERS_PER_TOKEN: Final = 3.0
_NEAR: Final = 0.8
"""Part of the window above which the API is asked for the exact count."""
_MORE_ROOM: Final = 2
SHORT_HOLD: Final = 5.0
"""Seconds of a hold that are sat out in the throttle; for a longer one the engine has better use of
the place."""
_LONGEST_REST: Final = 60.0


class Claims(Protocol):
    """Tells the second record of a request from the first (`seen.Seen`)."""

    async def claim(self, record: Record, identity: Identity, body: str, *, is_hop: bool) -> Claim:
        """Say what a record is to its request."""
        ...


class FindsCancelled(Protocol):
    """Knows what was cancelled (`cancellations.Cancellations`)."""

    def find(self, request_id: str, *, generation: int, written_ms: int) -> Cancelled | None:
        """Return the cancellation that reaches a request."""
        ...


class Pipeline:
    """The seven stages over one process's resources."""

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        library: PromptLibrary,
        facts: Mapping[Tier, ModelFacts],
        caller: Caller,
        count_tokens: Callable[[Mapping[str, object]], Awaitable[int]],
        publisher: Publisher,
        claims: Claims,
        cancelled: FindsCancelled,
        gates: Mapping[Tier, Gate],
        reporter: Reporter,
    ) -> None:
        self._settings = settings
        self._library = library
        self._facts = facts
        self._caller = caller
        self._count_tokens = count_tokens
        self._publisher = publisher
        self._claims = claims
        self._cancelled = cancelled
        self._gates = gates
        self._reporter = reporter

    async def process(self, attempt: Attempt) -> Sequence[Output]:
        """Take a request through the stages; no output where it is a copy of an earlier one.

        Raises:
            SluiceError: Why this attempt failed.
            NotNow: It did not, but cannot go on now.
        """
        with attempt.stage("decode"):
            self.read(attempt)
        with attempt.stage("admit"):
            if await self._is_copy(attempt):
                return []
            self._admit(attempt)
        with attempt.stage("render"):
            rendered, body = await self._render(attempt)
        answer, passed = await self._converse(attempt, rendered, body)
        with attempt.stage("publish"):
            return self._publisher.succeeded(attempt, answer, passed.output)

    def read(self, attempt: Attempt) -> None:
        """Decode the record.

        Raises:
            SluiceError: It is no request.
        """
        attempt.request = request = decode(attempt.record)
        # A topic that is not allowed must not get even the refusal.
        if request.reply_to in self._settings.admit.reply_to:
            attempt.reply_to = request.reply_to

    def obstacle(self, attempt: Attempt) -> Exception | None:
        """Say what speaks against a call that has not been made; asked again while it waits."""
        cancelled = self._find_cancelled(attempt)
        if cancelled is not None:
            return causes.TAKEN_BACK.error(str(cancelled))
        if attempt.calls:  # half-way through a conversation that is paid for
            return None
        gate = self._gates[attempt.tier]
        if gate.is_closed:
            return gate.refusal()
        left = self._caller.hold_left(attempt.tier)
        if left > SHORT_HOLD:
            delay = min(left, _LONGEST_REST) + random.random()  # noqa: S311
            return NotNow(f"the rate-limit group makes no calls for {left:.0f} s", delay)
        return None

    async def _converse(
        self, attempt: Attempt, rendered: Rendered, body: bytes
    ) -> tuple[Answer, Passed]:
        """Call until an answer passes, each round under its own reservation."""
        while True:
            with attempt.stage("throttle"):
                reservation = await self._caller.reserve(attempt, rendered, body)
                if obstacle := self.obstacle(attempt):
                    reservation.cancel()
                    raise obstacle
            with attempt.stage("call"):
                answer = await self._caller.call(attempt, rendered, body, reservation)
            with attempt.stage("validate"):
                verdict = validate(answer, rendered.schema)
                if isinstance(verdict, Passed):
                    return answer, verdict
                rendered = self._next_round(attempt, rendered, answer, verdict)
                body = rendered.bytes()

    def _next_round(
        self, attempt: Attempt, rendered: Rendered, answer: Answer, verdict: Repairable
    ) -> Rendered:
        room = int(rendered.body["max_tokens"])
        if verdict.correction is None:
            room = self._facts[attempt.tier].cap(room * _MORE_ROOM)
        is_hopeless = verdict.correction is None and room == rendered.body["max_tokens"]
        if is_hopeless or attempt.repairs >= self._settings.validation.max_repairs:
            raise verdict.error
        self._reporter.repaired(attempt, verdict.error)
        attempt.repairs += 1
        again = rendered.with_turns(repair_turns(answer, verdict.correction), room)
        again.body.pop(
            "stream", None
        )  # readers have the first round's text; the outcome settles it
        return again

    async def _is_copy(self, attempt: Attempt) -> bool:
        assert attempt.request is not None
        name = Identity(attempt.request.request_id, attempt.generation)
        is_hop = attempt.hop is not None
        claim = await self._claims.claim(attempt.record, name, attempt.digest, is_hop=is_hop)
        if claim is Claim.CONFLICT:
            attempt.is_conflict = True
            raise causes.OTHER_BODY.error(
                f"request_id {name.request_id!r} was used before with another body; ids are unique"
                " for ever"
            )
        return claim is Claim.DUPLICATE

    def _admit(self, attempt: Attempt) -> None:
        assert attempt.request is not None
        size = len(attempt.record.value or b"")
        arrival = Arrival(now=attempt.now, published=attempt.published, size=size)
        check_age(attempt.request, arrival, self._settings.admit)
        if obstacle := self.obstacle(attempt):
            raise obstacle
        self._gates[attempt.tier].enter(attempt)
        attempt.schema = admit(attempt.request, arrival, self._settings.admit)

    async def _render(self, attempt: Attempt) -> tuple[Rendered, bytes]:
        request = attempt.request
        assert request is not None
        model, facts = self._settings.claude.of(attempt.tier), self._facts[attempt.tier]
        rendered = render(request, attempt.schema, self._library, model, facts)
        if request.stream:
            rendered.body["stream"] = True
        attempt.rendered = rendered
        body = rendered.bytes()
        await self._check_window(rendered, len(body), facts)
        return rendered, body

    def _find_cancelled(self, attempt: Attempt) -> Cancelled | None:
        written_ms = attempt.origin.timestamp_ms
        return self._cancelled.find(
            attempt.request_id, generation=attempt.generation, written_ms=written_ms
        )

    async def _check_window(self, rendered: Rendered, size: int, facts: ModelFacts) -> None:
        """Refuse what cannot fit; ask the API only near the window, it costs a round trip."""
        window = facts.max_input_tokens
        if window is None:
            return
        room = window - int(rendered.body["max_tokens"])
        if size / _CHARACTERS_PER_TOKEN < _NEAR * room:
            return
        try:
            counted = await self._count_tokens(rendered.body)
        except SluiceError:
            return  # the API will judge the call itself
        if counted > room:
            raise causes.OVER_THE_WINDOW.error(
                f"{counted} input tokens and max_tokens {rendered.body['max_tokens']} exceed the"
                f" window of {facts.id}, {window} tokens; send less"
            )
