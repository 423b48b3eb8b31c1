"""What one replica says about one group: all that the division is folded from."""

from dataclasses import dataclass

from services.worker.throttle.buckets import ZERO, Amounts
from services.worker.throttle.levels import NONE_READ, UNSET, Course, Readings


@dataclass(frozen=True, slots=True)
class Standing:
    """What one replica says about one group, in units per second."""

    wants: Amounts
    used: Amounts
    claim: Amounts
    total: Amounts = ZERO
    """What it used since it started."""
    waits_for: int | None = None
    """Which of the three its callers wait for, where they do."""
    limits: Amounts | None = None
    """Per minute, as an answer to the call that was sent last showed them."""
    limits_age: float = 0.0
    """Seconds since that call was sent."""
    readings: tuple[Readings, Readings, Readings] = (NONE_READ, NONE_READ, NONE_READ)
    """What answers showed of the API's levels since this replica's last record."""
    refused: int = 0
    """How often this replica was refused for the rate."""
    too_sharp: int = 0
    """How often this replica was told that use grows too sharply."""

    # The rest is what all know alike, as this replica knows it: how a newcomer learns it.

    holds: Amounts = ZERO
    """What the log had left it of its last claim."""
    bound: float = 0.0
    """The slow-start bound, a part of the limits."""
    courses: tuple[Course, Course, Course] = (UNSET, UNSET, UNSET)
    """Where the controllers of the API's levels stand."""
    saved: Amounts = ZERO
    """What was left unused and may be lent out."""
    quiet: float = 0.0
    """Seconds for which nothing is lent out yet."""
