"""How fast reservations are given where nobody has to wait."""

import asyncio
import time
from typing import Final

from services.runtime.metrics import Metrics
from services.worker.throttle import Ask, GroupLimits, Throttle, ThrottleSettings
from sluice_contracts import TokenUsage

COUNT: Final = 50_000
MINUTE: Final = 10_000_000_000
"""A limit that is never reached."""


def reservations_per_second() -> int:
    """Reserve and settle one call after the other, and return how many a second of CPU."""
    return asyncio.run(_measure())


async def _measure() -> int:
    plenty = GroupLimits(requests=MINUTE, input_tokens=MINUTE**2, output_tokens=MINUTE**2)
    settings = ThrottleSettings(start=plenty, slow_start=1.0)
    throttle = Throttle(settings, metrics=Metrics("bench"))
    ask = Ask("model", 1_500, 300, prompt_key="prompt@1", characters=5_000)
    usage = TokenUsage(input_tokens=1_400, output_tokens=280)
    (await throttle.reserve(ask)).settle(usage)
    await asyncio.sleep(0.1)
    began = time.process_time()
    for _ in range(COUNT):
        (await throttle.reserve(ask)).settle(usage)
    return round(COUNT / (time.process_time() - began))
