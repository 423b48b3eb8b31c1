"""Which scenarios are run: every combination of any three dimensions at once."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from services.simulator.limiter import Remaining

from .scenario import Scenario

STRENGTH: Final = 3
TRIES: Final = 12

DIMENSIONS: Final[dict[str, tuple[Any, ...]]] = {
    "burst_s": (0.25, 1.0, 10.0, 60.0),
    "replicas": (1, 4, 8),
    "binding": ("requests", "input_tokens", "output_tokens"),
    "remaining": tuple(Remaining),
    "estimate": ("fair", "noisy", "wrong"),
    "is_skewed": (False, True),
    "churns": (False, True),
    "cached": (0, 6_000),
    "lost": ("none", "30%"),
}

_SPECIAL: Final = (
    *(
        Scenario(burst_s=burst, replicas=4, remaining=remaining, foreign=0.1, is_skewed=True)
        for burst in (1.0, 60.0)
        for remaining in Remaining
    ),
    Scenario(burst_s=10.0, replicas=8, changes=True, is_skewed=True),
    Scenario(burst_s=1.0, replicas=4, changes=True),
    Scenario(burst_s=1.0, replicas=4, lost="cut"),
    Scenario(burst_s=60.0, replicas=4, binding="output_tokens", ramps=True),
    Scenario(burst_s=10.0, replicas=8, binding="output_tokens", foreign=0.2),
    Scenario(burst_s=10.0, replicas=32, is_skewed=True, churns=True),
)
SPECIAL: Final = tuple(
    replace(scenario, seed=number) for number, scenario in enumerate(_SPECIAL, start=1)
)
"""Others who use the key, limits that change while running, a replica cut off, a large fleet."""

SHORT: Final = (
    Scenario(burst_s=1.0, replicas=8, is_skewed=True, lost="30%"),
    Scenario(burst_s=10.0, replicas=4, is_skewed=True, churns=True),
    Scenario(burst_s=10.0, replicas=8, binding="input_tokens", cached=6_000, estimate="noisy"),
    Scenario(burst_s=60.0, replicas=1, estimate="wrong", remaining=Remaining.SCALED),
    Scenario(burst_s=10.0, replicas=4, remaining=Remaining.LEVEL, foreign=0.1),
    Scenario(burst_s=10.0, replicas=4, changes=True),
)
"""A small part of all, for CI: each trouble once, at the cheapest limits."""

COMPARED: Final = (
    Scenario(burst_s=1.0, replicas=1),
    Scenario(burst_s=1.0, replicas=4, is_skewed=True),
    Scenario(burst_s=10.0, replicas=8, is_skewed=True, churns=True),
    Scenario(burst_s=60.0, replicas=4, binding="input_tokens", cached=6_000, is_skewed=True),
    Scenario(burst_s=10.0, replicas=4, binding="output_tokens", estimate="wrong"),
)
"""Where the rivals are run too."""


def covering(strength: int = STRENGTH) -> list[Scenario]:
    """Return scenarios that hold every combination of any `strength` dimensions, greedily few."""
    rng = random.Random(7)
    names = list(DIMENSIONS)
    missing = set(_combinations(strength))
    scenarios: list[Scenario] = []
    while missing:
        # Each candidate is grown from a combination that is still missing.
        order = sorted(missing, key=_text)
        candidates = [_grow(rng, names, order, missing, strength) for _ in range(TRIES)]
        best = max(candidates, key=lambda row: len(_held(row, strength) & missing))
        missing -= _held(best, strength)
        scenarios.append(Scenario(**dict(best), seed=len(scenarios) + 1))
    return scenarios


Combination = frozenset[tuple[str, Any]]


def _combinations(strength: int) -> Iterator[Combination]:
    for names in itertools.combinations(DIMENSIONS, strength):
        for values in itertools.product(*(DIMENSIONS[name] for name in names)):
            yield frozenset(zip(names, values, strict=True))


def _grow(
    rng: random.Random,
    names: list[str],
    order: list[Combination],
    missing: set[Combination],
    strength: int,
) -> Combination:
    row = dict(rng.choice(order))
    rest = [name for name in names if name not in row]
    rng.shuffle(rest)
    for name in rest:
        row[name] = max(
            DIMENSIONS[name],
            key=lambda value, name=name: (  # type: ignore[misc]
                len(_held(frozenset({**row, name: value}.items()), strength) & missing),
                rng.random(),
            ),
        )
    return frozenset(row.items())


def _text(combination: Combination) -> str:
    """Order combinations, so that every run draws the same."""
    return str(sorted(combination, key=str))


def _held(row: Combination, strength: int) -> set[Combination]:
    return {frozenset(part) for part in itertools.combinations(row, strength)}
