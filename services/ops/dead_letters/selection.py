"""Which dead letters are meant: a filter that can be written down, so that a plan can keep it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict

from services.ops.dead_letters.letter import Letter
from sluice_contracts import Tier


class Selection(BaseModel):
    """Every condition that is given must hold; within one, any of its values will do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiers: tuple[Tier, ...] = ()
    codes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """As a letter's reason has it: the code, and the failure without what varies."""
    prompts: tuple[str, ...] = ()
    """`name` for any version, `name@version` for one."""
    tenants: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    request_ids: tuple[str, ...] = ()
    detail: str | None = None
    """A part of the failure's detail, whatever its case."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    min_attempts: int | None = None
    max_attempts: int | None = None
    min_generation: int | None = None
    max_generation: int | None = None
    """Replayed at most so often: the loop guard."""

    @property
    def scope(self) -> tuple[Tier, ...]:
        """The tiers whose topics must be read."""
        return self.tiers or tuple(Tier)

    @property
    def since_ms(self) -> int | None:
        """Where in time to begin reading."""
        return int(self.since.timestamp() * 1000) if self.since else None

    def test(self) -> Callable[[Letter], bool]:
        """Build the test of a dead letter: only what was asked for, headers first, body last."""
        tests = [*self._of_headers(), *self._of_body()]
        return lambda letter: all(test(letter) for test in tests)

    def _of_headers(self) -> Iterator[Callable[[Letter], bool]]:
        if self.since or self.until:
            since = self.since_ms or 0
            until = self.until.timestamp() * 1000 if self.until else float("inf")
            yield lambda letter: since <= letter.timestamp_ms < until
        if tiers := frozenset(self.tiers):
            yield lambda letter: letter.tier in tiers
        if codes := frozenset(self.codes):
            yield lambda letter: letter.code in codes
        if reasons := frozenset(self.reasons):
            yield lambda letter: letter.reason in reasons
        if keys := frozenset(self.keys):
            yield lambda letter: letter.key in keys
        if request_ids := frozenset(self.request_ids):
            yield lambda letter: letter.request_id in request_ids
        if (self.min_attempts, self.max_attempts) != (None, None):
            yield lambda letter: _within(letter.attempts, self.min_attempts, self.max_attempts)
        if (self.min_generation, self.max_generation) != (None, None):
            low, high = self.min_generation, self.max_generation
            yield lambda letter: _within(letter.generation, low, high)
        if self.detail is not None:
            part = self.detail.lower()
            yield lambda letter: part in letter.detail.lower()

    def _of_body(self) -> Iterator[Callable[[Letter], bool]]:
        if tenants := frozenset(self.tenants):
            yield lambda letter: letter.tenant in tenants
        if prompts := frozenset(self.prompts):
            yield (
                lambda letter: (
                    letter.prompt in prompts or letter.prompt.partition("@")[0] in prompts
                )
            )

    def excludes(self, other: "Selection") -> bool:
        """Whether no dead letter can be meant by both, as far as their lists tell."""
        lists = ("tiers", "codes", "reasons", "tenants", "keys", "request_ids")
        return any(
            (mine := getattr(self, name))
            and (theirs := getattr(other, name))
            and not set(mine) & set(theirs)
            for name in lists
        )

    def describe(self) -> str:
        """Say the filter in words, for tables and audit."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        return (
            ", ".join(
                f"{name} {' or '.join(map(str, value)) if isinstance(value, list) else value}"
                for name, value in said.items()
            )
            or "everything"
        )


def _within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def moment(text: str, *, now: datetime) -> datetime:
    """Read a moment: an ISO 8601 date or time (UTC where it names no zone), or an age like `90m`.

    Raises:
        ValueError: It is neither.
    """
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdigit() and text[-1:] in units:
        return now - timedelta(**{units[text[-1]]: int(text[:-1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no moment; write 2026-11-23T14:00 or an age: 30s, 90m, 12h, 7d"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
