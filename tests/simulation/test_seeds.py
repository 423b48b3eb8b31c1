"""Thousands of simulated worlds, and the mistakes that they must notice; `make simulate` has more.

The seeds are the same each time, so a failure here is a change's own; other ones are for
`make simulate SEEDS=…`.
"""

import pytest

from tests.simulation.__main__ import run, silence
from tests.simulation.mutants import MUTANTS, find

SEEDS = range(1, 2001)


def test_every_promise_is_kept_in_thousands_of_worlds() -> None:
    """One visible outcome each, progress that never goes back, nothing repeated when planned."""
    silence()
    failures = {seed: found for seed, found in run(SEEDS, 2) if isinstance(found, str)}
    assert {} == failures


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_is_noticed(mutant: str) -> None:
    """The promises are really checked: each mistake is one that somebody made elsewhere."""
    silence()
    assert find(mutant, 500) is not None
