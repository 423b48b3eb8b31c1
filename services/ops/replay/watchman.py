"""Stops a run whose requests fail again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.ops.replay.outcomes import Outcomes
from services.ops.replay.pace import Pace

_LOOK: Final = 0.2
"""Seconds between two looks at the canaries' outcomes."""


@dataclass(frozen=True, slots=True)
class Watchman:
    """Judges a run by what becomes of the requests it sent."""

    outcomes: Outcomes
    pace: Pace
    most_failures: float
    """Part of the outcomes that may fail again."""
    patience: float
    """Seconds to wait for the canaries' outcomes."""
    enough: int = 20
    """Outcomes before the share is judged, canaries aside."""

    async def watch(self, refused: Callable[[], int]) -> None:
        """Let the others follow the canaries, or stop the run; then go on watching.

        Args:
            refused: Dead letters that this run could not send, and that get no outcome.
        """
        await self.pace.canary_sent.wait()
        if self.pace.canaries:
            await self._judge_canaries(refused)
        while True:
            await self.outcomes.changed.wait()
            self.outcomes.changed.clear()
            if self.outcomes.count >= self.enough:
                self._judge()

    async def _judge_canaries(self, refused: Callable[[], int]) -> None:
        try:
            async with asyncio.timeout(self.patience):
                while self.outcomes.count < self.pace.canaries - refused():  # noqa: ASYNC110 -- two
                    await asyncio.sleep(_LOOK)  # counts, and a refusal sets no event
        except TimeoutError:
            self.pace.stop(
                f"only {self.outcomes.count} of {self.pace.canaries} canaries have an outcome "
                f"after {self.patience:.0f} s; see whether workers run, then resume"
            )
            return
        self._judge()
        if self.pace.stopped is None:
            self.pace.pass_canary()

    def _judge(self) -> None:
        if self.outcomes.failed_share > self.most_failures:
            self.pace.stop(
                f"{self.outcomes}, more than {self.most_failures:.0%}; look at them, then resume "
                "or cancel"
            )
