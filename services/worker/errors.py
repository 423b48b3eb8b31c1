"""What can go wrong between a record and its outcome, in three dispositions.

    SluiceError                     code, detail, API error type and request id
    ├── PermanentError              → dead letter: the same request will fail again
    ├── TransientError              → the same request again, after a delay
    └── FatalError                  → the tier stops; no record is spent on it

    NotNow                          nothing failed: something else has to come first

A new failure is a new `FailureCode`, never a new base. Errors are made from the tables of
`causes.py` and `api_errors.py`, which say the disposition of each.
"""

from enum import StrEnum
from typing import Any

from sluice_contracts import FailureCode
from sluice_contracts.failing import NOTHING_TO_REPLAY


class Hold(StrEnum):
    """Why a whole rate-limit group has to wait, not only this request."""

    RATE = "rate"
    RAMP = "ramp"
    CONCURRENCY = "concurrency"
    OVERLOADED = "overloaded"


class NotNow(Exception):  # noqa: N818 -- no error
    """The request cannot go on now, for a cause outside it: no attempt, and nothing to report.

    Args:
        why: For people.
        delay: Seconds after which to look again.
    """

    def __init__(self, why: str, delay: float) -> None:
        super().__init__(why)
        self.delay = delay


class SluiceError(Exception):
    """A failure whose code, and what a person may read of it, are known.

    Args:
        code: The stable code of outcomes, dead letters and metrics.
        detail: For people: names the thing, the value and the remedy; never content or secrets.
        quoted: Words of the caller, the model or the API, which may be content: shown to people,
            except of restricted data, and never logged.
        api_error_type: The API's own word for it, where the API said one.
        api_request_id: Where the API can find the call again.
        key_id: Which API key the call was made with.
        rule: The row of the error table that decided, for grouping.
    """

    def __init__(
        self,
        code: FailureCode,
        detail: str,
        *,
        quoted: str | None = None,
        api_error_type: str | None = None,
        api_request_id: str | None = None,
        key_id: str | None = None,
        rule: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.quoted = quoted
        self.api_error_type = api_error_type
        self.api_request_id = api_request_id
        self.key_id = key_id
        self.rule = rule

    @property
    def is_replayable(self) -> bool:
        """Whether the same request may succeed later, so that a replay is worth a try."""
        return self.code not in NOTHING_TO_REPLAY


class PermanentError(SluiceError):
    """The same request will fail again: dead letter.

    Args:
        code: As of every error.
        detail: As of every error.
        said: What the model said, where its answer does not pass.
        about: As of every error.
    """

    def __init__(
        self, code: FailureCode, detail: str, *, said: str | None = None, **about: Any
    ) -> None:
        super().__init__(code, detail, **about)
        self.said = said


class TransientError(SluiceError):
    """The same request may succeed after a delay.

    Args:
        code: As of every error.
        detail: As of every error.
        delay: Seconds that the API asks for, a floor; None leaves it to our own backoff.
        counts: Whether this was an attempt; being told to wait is none.
        hold: Set where the whole group has to wait.
        patience: Multiplies our own backoff; an overload passes slowly.
        possibly_paid: Whether the lost answer may be on the bill.
        about: As of every error.
    """

    def __init__(
        self,
        code: FailureCode,
        detail: str,
        *,
        delay: float | None = None,
        counts: bool = True,
        hold: Hold | None = None,
        patience: float = 1.0,
        possibly_paid: bool = False,
        **about: Any,
    ) -> None:
        super().__init__(code, detail, **about)
        self.delay = delay
        self.counts = counts
        self.hold = hold
        self.patience = patience
        self.possibly_paid = possibly_paid


class FatalError(SluiceError):
    """A wrong key, an empty wallet, a retired model: nothing of this tier can succeed now."""
