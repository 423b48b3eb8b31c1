"""The exact account of what one rate-limit group used, second by second.

Independent of the buckets on purpose: a checker adds it up and compares it with the allowance
without believing the limiter.
"""

from collections import OrderedDict
from dataclasses import asdict, dataclass, fields
from typing import Literal

KEPT_SECONDS = 7_200

Measure = Literal["requests", "input_tokens", "output_tokens"]


@dataclass(slots=True)
class Use:
    """What was used, and refused, within one second."""

    requests: float = 0
    input_tokens: float = 0
    output_tokens: float = 0
    foreign_requests: float = 0
    foreign_input_tokens: float = 0
    foreign_output_tokens: float = 0
    refused: int = 0
    refused_oversize: int = 0
    refused_ramp: int = 0
    refused_concurrency: int = 0


class Account:
    """Use by whole second of the limiter's clock, for the last two hours, and in all."""

    def __init__(self) -> None:
        self.total = Use()
        self._seconds: OrderedDict[int, Use] = OrderedDict()

    def add(self, at: float, measure: str, amount: float) -> None:
        """Count `amount` of a field of `Use` in the second of `at`."""
        use = self._second(int(at // 1))
        setattr(use, measure, getattr(use, measure) + amount)
        setattr(self.total, measure, getattr(self.total, measure) + amount)

    def spread(self, start: float, end: float, measure: str, amount: float) -> None:
        """Count `amount` evenly between two moments."""
        if int(start // 1) == int(end // 1):
            self.add(start, measure, amount)
            return
        rate = amount / (end - start)
        while start < end:
            border = min(end, float(start // 1 + 1))
            self.add(start, measure, rate * (border - start))
            start = border

    def seconds(self, since: float = 0) -> list[dict[str, float]]:
        """Return the seconds at or after `since` in which anything happened, in order."""
        return [
            {"second": second, **asdict(use)}
            for second, use in sorted(self._seconds.items())
            if second >= since
        ]

    def busiest(self, window: int, measure: Measure) -> float:
        """Return the largest use within any `window` consecutive whole seconds."""
        used = {second: getattr(use, measure) for second, use in self._seconds.items()}
        return max(
            (sum(used.get(at, 0) for at in range(first, first + window)) for first in used),
            default=0.0,
        )

    def _second(self, second: int) -> Use:
        use = self._seconds.get(second)
        if use is None:
            use = self._seconds[second] = Use()
            if len(self._seconds) > KEPT_SECONDS:
                self._seconds.popitem(last=False)
        return use


MEASURES = tuple(entry.name for entry in fields(Use))
