"""Engine, lanes and publication, all together, in a few simulated worlds.

`tests/simulation` has thousands of them, and shows that they would notice a mistake.
"""

import pytest

from tests.simulation.__main__ import simulate
from tests.simulation.world import Report


@pytest.mark.parametrize("seed", range(1, 13))
def test_every_promise_is_kept(seed: int) -> None:
    """One visible outcome each, progress that never goes back, no innocent condemned."""
    assert isinstance(simulate(seed), Report)


def test_a_seed_is_the_same_world_every_time() -> None:
    """A failing seed can be looked at."""
    assert simulate(28) == simulate(28)
