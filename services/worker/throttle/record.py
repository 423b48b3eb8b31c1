"""The payload of `claude.rate.v1`: what one replica says twice a second (`docs/throttle.md`).

Internal to the workers; the one reader beside them, `sluice rate`, bears new fields. Three numbers
in a row always stand for requests, input tokens and output tokens.
"""

from pydantic import BaseModel, ConfigDict, Field

from services.worker.throttle.buckets import Amounts
from services.worker.throttle.estimate import Lesson
from services.worker.throttle.levels import NONE_READ, UNSET, Course, Readings
from services.worker.throttle.standing import Standing

Three = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class GroupPosted(_Part):
    """One replica's part of one rate-limit group; rates are per second."""

    wants: Three
    used: Three
    claim: Three
    holds: Three
    total: Three = (0.0, 0.0, 0.0)
    """What this replica used since it started."""
    limits: Three | None = None
    """Per minute."""
    limits_age: float = 0.0
    readings: tuple[Readings, Readings, Readings] = (NONE_READ, NONE_READ, NONE_READ)
    """Count, sum, lowest and highest of what answers showed, in seconds of refill."""
    factor: Three = (1.0, 1.0, 1.0)
    """What the API's levels leave of each limit in the long run, for people to read."""
    courses: tuple[Course, Course, Course] = (UNSET, UNSET, UNSET)
    saved: Three = (0.0, 0.0, 0.0)
    quiet: float = 0.0
    refused: int = 0
    bound: float = 0.0
    too_sharp: int = 0
    held: float = 0.0
    """Seconds that the group is still held, because the API said so."""
    held_for: str | None = None
    fill: Three = (0.0, 0.0, 0.0)
    waits_for: int | None = None
    """Place of the limit that most callers waited for lately."""
    waiting: int = 0
    longest_wait: float = 0.0
    in_flight: int = 0
    concurrency: int = 0
    binding: str | None = None

    @property
    def standing(self) -> Standing:
        """What the division is folded from."""
        return Standing(
            wants=Amounts(*self.wants),
            used=Amounts(*self.used),
            claim=Amounts(*self.claim),
            holds=Amounts(*self.holds),
            total=Amounts(*self.total),
            limits=None if self.limits is None else Amounts(*self.limits),
            limits_age=self.limits_age,
            readings=self.readings,
            courses=self.courses,
            saved=Amounts(*self.saved),
            quiet=self.quiet,
            refused=self.refused,
            bound=self.bound,
            waits_for=self.waits_for,
            too_sharp=self.too_sharp,
        )


class RatePosted(_Part):
    """One replica's record; a null value in its place says that it left."""

    replica: str
    number: int
    """Counts the records of this replica, so that it knows its own again."""
    groups: dict[str, GroupPosted]
    lessons: dict[str, Lesson] = Field(default_factory=dict)
    """What the prompt versions that it called last use, so that a new replica need not learn it."""
