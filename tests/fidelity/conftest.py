"""The recordings, and a simulator in this process to replay them against."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.simulator.app import Simulator, build
from services.simulator.settings import (
    AnswerSettings,
    LatencySettings,
    LimiterSettings,
    LimitsPerMinute,
    SimulatorSettings,
)
from tests.fidelity import comparing
from tests.fidelity.comparing import KEY, RECORDINGS


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Simulator, str]]:
    """Serve without waits, with limits out of the way; yield the simulator and its address."""
    plenty = LimitsPerMinute(requests=10**8, input_tokens=10**11, output_tokens=10**10)
    built = build(
        SimulatorSettings(
            keys=(KEY,),
            latency=LatencySettings(scale=0),
            answers=AnswerSettings(gzip_share=1, retry_after_share=1),
            limits=LimiterSettings(default=plenty),
            retired_models=True,
        )
    )
    listener = await built.listen("127.0.0.1", 0)
    try:
        yield built, f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.close()


@pytest.fixture(scope="session")
def recordings() -> list[dict[str, Any]]:
    """Real exchanges with the API, recorded by public projects."""
    if not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS.name} beside the checkout (../shared/data)")
    return comparing.recordings()


@pytest.fixture
async def simulator() -> AsyncIterator[tuple[Simulator, str]]:
    """A simulator of its own for each test, and its address."""
    async with serving() as served:
        yield served
