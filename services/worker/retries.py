"""Chooses between another attempt and a dead letter: the only place that does.

Pure: the time, the attempt and the dice are arguments. A 429 that says when to come back is not an
attempt; only a deadline and the age bound it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.worker.causes import TOO_LATE_FOR_A_RETRY
from services.worker.errors import SluiceError, TransientError
from services.worker.settings import RetrySettings
from sluice_contracts import RetryDelay

_GROWN: Final = 64
"""Attempts after which the backoff grows no more: any bound is reached by then."""


@dataclass(frozen=True, slots=True)
class Chances:
    """What has been spent of a request's chances."""

    attempt: int
    """The number of this attempt, from 1."""
    now: datetime
    failing_since: datetime
    """When the first attempt failed; a long wait in a backlog is no failure."""
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class ParkFor:
    """Hold the record in memory for so many seconds."""

    delay: float
    counts: bool


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Send the record to a retry topic; it comes back no earlier than it is due."""

    topic: RetryDelay
    due: datetime
    counts: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Dead letter, for this reason."""

    error: SluiceError


Decision = ParkFor | RetryLater | GiveUp


class _Wait(NamedTuple):
    """Seconds: what is wanted, and what the API asks for."""

    wanted: float
    floor: float


def decide(error: SluiceError, chances: Chances, settings: RetrySettings, draw: float) -> Decision:
    """Decide what becomes of a failed attempt.

    Args:
        error: Why it failed.
        chances: What has been spent.
        settings: The bounds.
        draw: A number from [0, 1) for the jitter.
    """
    if not isinstance(error, TransientError):
        return GiveUp(error)
    if error.counts and chances.attempt >= settings.max_attempts:
        return GiveUp(error)
    wait = _wait(error, chances.attempt, settings, draw)
    due = chances.now
    for choice, due in _choices(wait, chances.now, error, settings):
        is_too_old = due - chances.failing_since > settings.max_age
        if not is_too_old and (chances.deadline is None or due < chances.deadline):
            return choice
    if chances.deadline is None or due < chances.deadline:
        return GiveUp(error)
    return GiveUp(
        TOO_LATE_FOR_A_RETRY.error(
            f"the next attempt is due {due.isoformat(timespec='seconds')}, after the deadline"
            f" {chances.deadline.isoformat()}; the last one: {error.detail}",
            api_error_type=error.api_error_type,
            api_request_id=error.api_request_id,
            key_id=error.key_id,
            rule=error.rule,
        )
    )


def ceiling(attempt: int, settings: RetrySettings, patience: float = 1.0) -> float:
    """Return the longest backoff, in seconds, after an attempt: it grows with each."""
    base = settings.base_delay.total_seconds() * patience
    grown = base * settings.growth ** min(attempt - 1, _GROWN)
    return min(grown, settings.max_delay.total_seconds())


def _wait(error: TransientError, attempt: int, settings: RetrySettings, draw: float) -> _Wait:
    """Say how long to wait: what the API asks for is a floor, the rest is backoff.

    A wait in memory has full jitter, so that calls that failed together do not come back together.
    One on a topic has none: it is there to outlast an outage, and the throttle paces what returns.
    """
    park = settings.park_limit.total_seconds()
    backoff = ceiling(attempt, settings, error.patience)
    if backoff <= park:
        backoff *= draw
    if error.delay is None:
        return _Wait(backoff, 0.0)
    if error.counts:
        return _Wait(error.delay + backoff, error.delay)
    # A whole group waits for the same moment: spread its return over a tenth of the wait, but send
    # nobody to a topic for the sake of it.
    spread = min(error.delay * (1 + 0.1 * draw), park)
    return _Wait(max(error.delay, spread), error.delay)


def _choices(
    wait: _Wait, now: datetime, error: TransientError, settings: RetrySettings
) -> Iterator[tuple[ParkFor | RetryLater, datetime]]:
    """Offer ways to wait and when each is over, the best first, then shorter ones."""
    if wait.wanted <= settings.park_limit.total_seconds():
        yield ParkFor(wait.wanted, error.counts), now + timedelta(seconds=wait.wanted)
        return
    longest = RetryDelay.nearest(timedelta(seconds=wait.wanted))
    asked = now + timedelta(seconds=wait.floor)
    for topic in reversed(RetryDelay):
        if topic.duration <= longest.duration:
            due = max(now + topic.duration, asked)
            yield RetryLater(topic, due, error.counts), due
