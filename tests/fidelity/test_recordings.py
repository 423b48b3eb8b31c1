"""The simulator against 685 recorded exchanges; `python -m tests.fidelity` says it for people."""

from collections import Counter
from typing import Any

import pytest

from services.simulator.app import Simulator
from services.simulator.sse import PING_FIRST_SHARE, PING_LATER_SHARE
from tests.fidelity.comparing import PINGS, compare
from tests.fidelity.replay import recorded_shape


@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
@pytest.mark.timeout(300)
async def test_recordings(
    recordings: list[dict[str, Any]], simulator: tuple[Simulator, str]
) -> None:
    """Every recorded answer has the simulator's shape, or differs for a known reason."""
    found = await compare(*simulator, recordings)
    print("", *found.lines(), sep="\n")
    assert [] == found.unexplained


def test_pings_come_as_often_as_recorded(recordings: list[dict[str, Any]]) -> None:
    """The shares of streams without a ping, with an early and with a later one are the API's."""
    shapes = [recorded_shape(recording) for recording in recordings]
    places = Counter(shape.ping for shape in shapes if shape.events and shape.ping in PINGS)
    streams = places.total()

    assert places["2"] / streams == pytest.approx(PING_FIRST_SHARE, abs=0.05)
    assert places["4"] / streams == pytest.approx(PING_LATER_SHARE, abs=0.05)
