"""What can go wrong by our own judgement, as one table: the only place that makes such errors.

`docs/reference/errors.md` is this table and that of `api_errors.py`, which judges what the API and
the network do to a call.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from services.worker.errors import FatalError, Hold, PermanentError, SluiceError, TransientError
from sluice_contracts import FailureCode as F


class Disposition(StrEnum):
    """What becomes of the record."""

    DEAD_LETTER = "dead letter"
    RETRY = "retry"
    STOP = "stop the tier"


DEAD, RETRY, STOP = Disposition.DEAD_LETTER, Disposition.RETRY, Disposition.STOP
BACKOFF: Final = "backoff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A row: when something is the cause of a failure, and what becomes of the request."""

    stage: str
    when: str
    then: Disposition = DEAD
    code: F
    delay: str = ""
    """How long a retry waits, in words."""
    hold: Hold | None = None
    counts: bool = True
    patience: float = 1.0
    possibly_paid: bool = False

    def error(
        self, detail: str, *, delay: float | None = None, said: str | None = None, **about: Any
    ) -> SluiceError:
        """Make the error.

        Args:
            detail: As of every error.
            delay: Seconds that the API asks for.
            said: What the model said.
            about: As of every error.
        """
        if self.then is STOP:
            return FatalError(self.code, detail, **about)
        if self.then is DEAD:
            return PermanentError(self.code, detail, said=said, **about)
        return TransientError(
            self.code,
            detail,
            delay=delay,
            counts=self.counts,
            hold=self.hold,
            patience=self.patience,
            possibly_paid=self.possibly_paid,
            **about,
        )


# fmt: off
NOT_A_REQUEST: Final = Cause(
    stage="decode", code=F.INVALID_EVENT, when="the record is no request")
NOT_A_SCHEMA: Final = Cause(
    stage="admit", code=F.INVALID_EVENT,
    when="`output_schema` is no JSON Schema that every answer can be checked against, or larger"
         " than `ADMIT__MAX_SCHEMA_BYTES`")
OTHER_BODY: Final = Cause(
    stage="admit", code=F.INVALID_EVENT,
    when="another body was published under the same `request_id`")
TOO_LATE: Final = Cause(
    stage="admit", code=F.DEADLINE_PASSED, when="the deadline, or `ADMIT__MAX_AGE`, passed")
TAKEN_BACK: Final = Cause(
    stage="admit, throttle", code=F.CANCELLED, when="cancelled before its next call")
TOO_LARGE: Final = Cause(
    stage="admit", code=F.REQUEST_TOO_LARGE, when="larger than `ADMIT__MAX_REQUEST_BYTES`")
NOT_ALLOWED: Final = Cause(
    stage="admit", code=F.NOT_AUTHORISED, when="a tool or `reply_to` that no setting allows")
NO_TOOLS: Final = Cause(
    stage="admit", code=F.TOOL_FAILED, when="a tool that is allowed: this worker runs none")
NO_SUCH_PROMPT: Final = Cause(
    stage="render", code=F.UNKNOWN_PROMPT, when="no such prompt or version")
NO_VARIABLE: Final = Cause(
    stage="render", code=F.VARIABLES_MISSING, when="a required variable is missing")
ODD_VARIABLE: Final = Cause(
    stage="render", code=F.INVALID_EVENT,
    when="a variable that the prompt does not know, or not of the kind that it needs")
OVER_THE_WINDOW: Final = Cause(
    stage="render", code=F.CONTEXT_TOO_LONG, when="more tokens than the model's window")
TOO_LATE_FOR_THE_LIMIT: Final = Cause(
    stage="throttle", code=F.DEADLINE_PASSED, when="the deadline passed while waiting")
OVER_THE_LIMIT: Final = Cause(
    stage="throttle", code=F.EXCEEDS_RATE_LIMIT,
    when="larger than the whole limit of a minute, as the API told it and counts the tokens")
REFUSED: Final = Cause(
    stage="validate", code=F.REFUSED, when="`stop_reason` is `refusal`")
CUT_OFF: Final = Cause(
    stage="validate", code=F.TRUNCATED,
    when="cut by `max_tokens` or the window, with a schema also with twice the room")
NOT_VALID: Final = Cause(
    stage="validate", code=F.OUTPUT_INVALID,
    when="not JSON or not valid, after `VALIDATION__MAX_REPAIRS` rounds")
NO_END: Final = Cause(
    stage="validate", code=F.UPSTREAM_FAILED, then=RETRY, delay=BACKOFF, possibly_paid=True,
    when="no `stop_reason`")
WANTS_AN_ANSWER: Final = Cause(
    stage="validate", code=F.UPSTREAM_FAILED, when="a `stop_reason` that needs an answer")
TOO_LATE_FOR_A_RETRY: Final = Cause(
    stage="any", code=F.DEADLINE_PASSED, when="the next attempt would come after the deadline")
NOT_PUBLISHED: Final = Cause(
    stage="publish", code=F.INTERNAL_ERROR, when="the broker refuses the outcome for good")
BUG_BEFORE_A_CALL: Final = Cause(
    stage="any", code=F.INTERNAL_ERROR, then=RETRY, delay="5 times the backoff", patience=5,
    when="an exception that nobody foresaw, before a call")
BUG_AFTER_A_CALL: Final = Cause(
    stage="any", code=F.INTERNAL_ERROR, when="an exception that nobody foresaw, after a call")
POISON: Final = Cause(
    stage="any", code=F.INTERNAL_ERROR, when="a record that was in flight at several crashes")
# fmt: on

OWN: Final = tuple(row for row in list(globals().values()) if isinstance(row, Cause))
"""The table."""
