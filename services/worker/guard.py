"""Notices a run of dead letters with one cause, before it drains a topic into the dead letters.

Pure: it is told every outcome and says when to close the gate; who closes the gate, and whose
canary opens it again, is the handler's business.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from sluice_contracts import FailureCode

LIES_IN_THE_REQUEST: Final = frozenset(
    {
        FailureCode.CANCELLED,
        FailureCode.DEADLINE_PASSED,
        FailureCode.EXCEEDS_RATE_LIMIT,
        FailureCode.REQUEST_TOO_LARGE,
    }
)
"""Causes that waiting does not mend and that say nothing about us: they never close a gate."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why a tier should stop."""

    code: FailureCode
    count: int
    """Dead letters of this cause among the last `among` outcomes."""
    among: int

    def __str__(self) -> str:
        return (
            f"{self.count} of the last {self.among} outcomes are dead letters with code "
            f"{self.code}; the tier stops until a canary passes "
            f"(docs/operations.md, {self.code})"
        )


class DeadLetterGuard:
    """Watches the outcomes of one tier.

    A tier stops after `run` dead letters of one cause with no other outcome between them, or when
    the last `window` outcomes hold more than `share` of one cause. The first rule catches a quiet
    topic early, the second a busy one where a few requests still pass.

    Args:
        run: Dead letters of one cause in a row; 0 turns the guard off.
        window: Outcomes to look back on.
        share: Of the window, above which one cause stops the tier.
    """

    def __init__(self, *, run: int, window: int, share: float) -> None:
        self._run = run
        self._share = share
        self._last: deque[FailureCode | None] = deque(maxlen=window)
        self._counts: Counter[FailureCode | None] = Counter()
        self._in_a_row = 0
        self._row: FailureCode | None = None

    def observe(self, code: FailureCode | None, *, generation: int = 0) -> Alarm | None:
        """Note an outcome, `None` for a success; an alarm comes once and forgets the past.

        Replays are not counted: a person looks at them, and `sluice replay` has its own stop.
        """
        if not self._run or generation or code in LIES_IN_THE_REQUEST:
            return None
        self._note(code)
        if code is None:
            return None
        alarm = self._judge(code)
        if alarm is not None:
            self.reset()
        return alarm

    def reset(self) -> None:
        """Forget the past: the gate closed, or a canary passed."""
        self._last.clear()
        self._counts.clear()
        self._in_a_row, self._row = 0, None

    def _note(self, code: FailureCode | None) -> None:
        if len(self._last) == self._last.maxlen:
            self._counts[self._last[0]] -= 1
        self._last.append(code)
        self._counts[code] += 1
        self._in_a_row = self._in_a_row + 1 if code == self._row else 1
        self._row = code

    def _judge(self, code: FailureCode) -> Alarm | None:
        if self._in_a_row >= self._run:
            return Alarm(code, self._in_a_row, self._in_a_row)
        count, among = self._counts[code], len(self._last)
        if among == self._last.maxlen and count > self._share * among:
            return Alarm(code, count, among)
        return None
