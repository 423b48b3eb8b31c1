"""What a call will use, learned from what calls of the same prompt version used.

Input is the *charged* input: uncached tokens and cache writes. It is learned as a line over the
characters, so that a prompt whose fixed part is cached, and so free, is seen for what it is. Output
is a quantile of what the prompt produced before, thinking included; `max_tokens` says nothing.
"""

from bisect import insort
from collections import OrderedDict, deque
from typing import Final

from sluice_contracts import TokenUsage

CHARACTERS_PER_TOKEN: Final = 3.0
"""Recordings show 2.4 to 6.1; begun low because an estimate too high only waits a little."""
START_OUTPUT: Final = 500
"""Output tokens of a prompt that was never called."""
REMEMBERED: Final = 128
"""Answers that the output quantile is taken from."""
FORGET: Final = 0.98
"""Weight of the past when an answer comes in: the last fifty or so decide."""
PROMPTS: Final = 4_096
"""Prompt versions remembered; the one unused for longest is forgotten first."""


class Line:
    """A least-squares line through recent points that never leaves what is plausible."""

    __slots__ = ("n", "x", "xx", "xy", "y")

    def __init__(self) -> None:
        self.n = self.x = self.y = self.xx = self.xy = 0.0

    def add(self, x: float, y: float) -> None:
        """Learn a point; older ones fade."""
        self.n = self.n * FORGET + 1.0
        self.x = self.x * FORGET + x
        self.y = self.y * FORGET + y
        self.xx = self.xx * FORGET + x * x
        self.xy = self.xy * FORGET + x * y

    def at(self, x: float) -> float:
        """Read the line; through the origin while the points do not tell a slope."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        spread = self.xx / self.n - mean_x * mean_x
        if self.n < 4.0 or spread < 1e-3 * mean_x * mean_x:  # noqa: PLR2004 -- points for a slope
            return mean_y * x / mean_x if mean_x > 0 else mean_y
        slope = (self.xy / self.n - mean_x * mean_y) / spread
        return mean_y + max(slope, 0.0) * (x - mean_x)


class Seen:
    """What was learned of one prompt version."""

    __slots__ = ("_order", "_sorted", "line")

    def __init__(self) -> None:
        self.line = Line()
        self._order: deque[int] = deque()
        self._sorted: list[int] = []

    def add(self, characters: int, usage: TokenUsage) -> None:
        """Learn an answer."""
        self.line.add(characters, usage.input_tokens + usage.cache_creation_input_tokens)
        self._order.append(usage.output_tokens)
        insort(self._sorted, usage.output_tokens)
        if len(self._order) > REMEMBERED:
            self._sorted.remove(self._order.popleft())

    def output(self, quantile: float) -> int:
        """Read the quantile of the remembered outputs."""
        return self._sorted[min(int(quantile * len(self._sorted)), len(self._sorted) - 1)]


class Estimator:
    """Estimates per prompt version; a new one begins with what all the others taught."""

    def __init__(self, output_quantile: float) -> None:
        self._quantile = output_quantile
        self._all = Seen()
        self._prompts: OrderedDict[str, Seen] = OrderedDict()

    def estimate(self, prompt: str, characters: int) -> tuple[int, int]:
        """Return the expected charged input tokens and the output tokens to reserve."""
        seen = self._prompts.get(prompt)
        if seen is not None:
            self._prompts.move_to_end(prompt)
            likely = seen.line.at(characters)
            return max(1, round(min(likely, characters))), max(1, seen.output(self._quantile))
        likely = characters / CHARACTERS_PER_TOKEN
        output = START_OUTPUT
        if self._all.line.n >= 1.0:
            # Another prompt's cache hits say nothing of this one: half the plain ratio at least.
            likely = max(self._all.line.y / max(self._all.line.x, 1.0) * characters, likely / 2)
            output = max(1, self._all.output(self._quantile))
        return max(1, round(likely)), output

    def learn(self, prompt: str, characters: int, usage: TokenUsage) -> None:
        """Take in what a finished call used."""
        seen = self._prompts.get(prompt)
        if seen is None:
            seen = self._prompts[prompt] = Seen()
            if len(self._prompts) > PROMPTS:
                self._prompts.popitem(last=False)
        seen.add(characters, usage)
        self._all.add(characters, usage)
