"""Counts what is on the topics and says whether every request has exactly one outcome. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import quantiles
from typing import Final

from sluice_contracts import (
    CompletionFailed,
    CompletionSucceeded,
    Headers,
    Tier,
    TokenUsage,
    TopicNames,
    decode,
    identity,
)
from sluice_contracts import headers as h

Asked = tuple[str, int]
"""A request id and its generation: what has exactly one outcome."""
Outcome = CompletionSucceeded | CompletionFailed
_PARTS: Final = ("queued_ms", "throttled_ms", "model_ms", "total_ms")


@dataclass(frozen=True, slots=True)
class Found:
    """A record as a reader hands it over."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: Headers


@dataclass
class Tally:
    """Everything that was found on the request, result and dead-letter topics."""

    names: TopicNames
    asked: dict[Asked, Tier] = field(default_factory=dict)
    outcomes: dict[Asked, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    dead: dict[Asked, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Failure codes by request."""

    def add(self, found: Found) -> None:
        """Count one record; a request that was put back after a delay is still one request."""
        tier = self.names.tier(found.topic)
        if tier is None:
            return
        asked = _asked(found)
        if found.topic == self.names.requests(tier):
            self.asked[asked] = tier
        elif found.topic == self.names.dead_letters(tier):
            self.dead[asked].append(h.find(found.headers, h.FAILURE_CODE) or "unknown")
        else:
            event = decode(found.value, found.headers)
            assert isinstance(event, CompletionSucceeded | CompletionFailed), found.topic
            self.outcomes[event.request_id, event.generation].append(event)

    def add_all(self, records: Iterable[Found]) -> None:
        """Count many."""
        for found in records:
            self.add(found)

    @property
    def is_complete(self) -> bool:
        """True when no request waits for its outcome."""
        return self.asked.keys() <= self.outcomes.keys()

    @property
    def events(self) -> list[Outcome]:
        """Every outcome."""
        return [event for events in self.outcomes.values() for event in events]

    def problems(self) -> list[str]:
        """Say what breaks the promise of one outcome, and of one dead letter for each failure."""
        said = [f"{_name(asked)} has no outcome" for asked in self.asked.keys() - self.outcomes]
        for asked, events in self.outcomes.items():
            if len(events) > 1:
                said.append(f"{_name(asked)} has {len(events)} outcomes")
            if asked not in self.asked:
                said.append(f"{_name(asked)} has an outcome and was never asked")
            failed = sum(isinstance(event, CompletionFailed) for event in events)
            letters = len(self.dead.get(asked, ()))
            if failed != letters:
                said.append(f"{_name(asked)} failed {failed} times, with {letters} dead letters")
        said += [
            f"{_name(asked)} has a dead letter and no outcome"
            for asked in self.dead.keys() - self.outcomes.keys()
        ]
        return sorted(said)

    def failures(self) -> Counter[str]:
        """Count dead letters by cause."""
        return Counter(code for codes in self.dead.values() for code in codes)

    def usage(self) -> TokenUsage:
        """Sum the tokens of all calls."""
        used = [event.usage for event in self.events if event.usage is not None]
        return TokenUsage(
            **{name: sum(getattr(u, name) for u in used) for name in TokenUsage.model_fields}
        )

    def cost(self) -> Decimal:
        """Sum what the calls cost."""
        return sum((Decimal(e.cost.amount) for e in self.events if e.cost is not None), Decimal(0))

    def latency(self) -> dict[str, tuple[float, float]]:
        """Return p50 and p95 in milliseconds of each part of the time, over what succeeded."""
        timings = [e.timing for e in self.events if isinstance(e, CompletionSucceeded)]
        return {
            part.removesuffix("_ms"): _percentiles([getattr(t, part) for t in timings])
            for part in _PARTS
        }


def _asked(found: Found) -> Asked:
    request_id = identity(
        found.value, found.headers,
        topic=h.find(found.headers, h.ORIGIN_TOPIC) or found.topic,
        partition=_origin(found.headers, h.ORIGIN_PARTITION, found.partition),
        offset=_origin(found.headers, h.ORIGIN_OFFSET, found.offset),
    )  # fmt: skip
    return request_id, h.find_int(found.headers, h.GENERATION) or 0


def _origin(headers: Headers, name: str, otherwise: int) -> int:
    number = h.find_int(headers, name)
    return otherwise if number is None else number


def _name(asked: Asked) -> str:
    return asked[0] if asked[1] == 0 else f"{asked[0]} (generation {asked[1]})"


def _percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:  # noqa: PLR2004 - quantiles needs two
        only = values[0] if values else 0.0
        return only, only
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94]
