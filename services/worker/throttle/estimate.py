"""What a call will use, learned from what calls of the same prompt version used.

Input is the *charged* input: uncached tokens and cache writes. It is learned as a line over the
characters, so that a prompt whose fixed part is cached, and so free, is seen for what it is. Output
is a quantile of what the prompt produced before, thinking included; `max_tokens` says nothing.

Short answers end first: of calls that began together, the first to end say too little of the rest.
An estimate that follows them lets too many calls go, and the surge is refused seconds later. So the
quantile is taken from many more answers than are in flight, begins with what was assumed, and
replicas tell each other what they learned: a new one starts where the others are.
"""

from array import array
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple

from sluice_contracts import TokenUsage

CHARACTERS_PER_TOKEN: Final = 3.0
"""Recordings show 2.4 to 6.1; begun low because an estimate too high only waits a little."""
START_OUTPUT: Final = 500
"""Output tokens of a prompt that was never called."""
REMEMBERED: Final = 512
"""Answers that the output quantile is taken from."""
ASSUMED: Final = 32
"""Answers that an assumption counts for, until as many more have come in."""
TAUGHT: Final = 16
"""Prompt versions that a replica tells the others of: those used last."""
FORGET: Final = 0.98
"""Weight of the past when an answer comes in: the last fifty or so decide."""
PROMPTS: Final = 4_096
"""Prompt versions remembered; the one unused for longest is forgotten first."""


class Moments(NamedTuple):
    """What a line is read from: of x the characters, of y the charged input tokens."""

    mean_x: float
    mean_y: float
    variance_x: float
    covariance: float


class Lesson(NamedTuple):
    """What a replica learned of one prompt version, as it tells the others."""

    inputs: Moments
    output: int
    """Output tokens to reserve."""


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

    @property
    def moments(self) -> Moments:
        """Means, variance and covariance of the points; there is one at least."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        return Moments(
            mean_x,
            mean_y,
            self.xx / self.n - mean_x * mean_x,
            self.xy / self.n - mean_x * mean_y,
        )

    def begin(self, moments: Moments, points: float) -> None:
        """Begin as a line that learned so many points with these moments."""
        mean_x, mean_y, variance_x, covariance = moments
        self.n, self.x, self.y = points, points * mean_x, points * mean_y
        self.xx = points * (variance_x + mean_x * mean_x)
        self.xy = points * (covariance + mean_x * mean_y)

    def at(self, x: float) -> float:
        """Read the line; through the origin while the points do not tell a slope."""
        mean_x, mean_y, variance_x, covariance = self.moments
        if self.n < 4.0 or variance_x < 1e-3 * mean_x * mean_x:  # noqa: PLR2004 -- for a slope
            return mean_y * x / mean_x if mean_x > 0 else mean_y
        return mean_y + max(covariance / variance_x, 0.0) * (x - mean_x)


class Seen:
    """What was learned of one prompt version, begun with an output that was assumed or told."""

    __slots__ = ("_order", "_sorted", "answers", "line")

    def __init__(self, output: int) -> None:
        self.line = Line()
        self.answers = 0
        self._order = deque([output] * ASSUMED)
        self._sorted = array("Q", self._order)

    @classmethod
    def of(cls, lesson: Lesson) -> "Seen":
        """Begin where another replica is."""
        seen = cls(lesson.output)
        seen.line.begin(lesson.inputs, float(ASSUMED))
        return seen

    def add(self, characters: int, usage: TokenUsage) -> None:
        """Learn an answer."""
        self.answers += 1
        self.line.add(characters, usage.input_tokens + usage.cache_creation_input_tokens)
        self._order.append(usage.output_tokens)
        insort(self._sorted, usage.output_tokens)
        if len(self._order) > REMEMBERED:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]

    def lesson(self, quantile: float) -> Lesson:
        """Return what others can begin with."""
        return Lesson(self.line.moments, self.output(quantile))

    def output(self, quantile: float) -> int:
        """Read the quantile of the remembered outputs."""
        return self._sorted[min(int(quantile * len(self._sorted)), len(self._sorted) - 1)]


class Estimator:
    """Estimates per prompt version; a new one begins with what all the others taught."""

    def __init__(self, output_quantile: float) -> None:
        self._quantile = output_quantile
        self._all = Seen(START_OUTPUT)
        self._prompts: OrderedDict[str, Seen] = OrderedDict()

    def estimate(self, prompt: str, characters: int) -> tuple[int, int]:
        """Return the expected charged input tokens and the output tokens to reserve."""
        seen = self._prompts.get(prompt)
        if seen is not None:
            self._prompts.move_to_end(prompt)
            likely = seen.line.at(characters)
            return max(1, round(min(likely, characters))), max(1, seen.output(self._quantile))
        likely = characters / CHARACTERS_PER_TOKEN
        if self._all.answers:
            # Another prompt's cache hits say nothing of this one: half the plain ratio at least.
            likely = max(self._all.line.y / max(self._all.line.x, 1.0) * characters, likely / 2)
        return max(1, round(likely)), max(1, self._all.output(self._quantile))

    def learn(self, prompt: str, characters: int, usage: TokenUsage) -> None:
        """Take in what a finished call used."""
        seen = self._prompts.get(prompt)
        if seen is None:
            seen = self._begin(prompt, Seen(self._all.output(self._quantile)))
        seen.add(characters, usage)
        self._all.add(characters, usage)

    def lessons(self) -> dict[str, Lesson]:
        """Return what was learned here of the prompt versions used last, to tell the others."""
        known = (
            (prompt, seen)
            for prompt, seen in reversed(self._prompts.items())
            if seen.answers >= ASSUMED
        )
        return {prompt: seen.lesson(self._quantile) for prompt, seen in islice(known, TAUGHT)}

    def adopt(self, lessons: Mapping[str, Lesson]) -> None:
        """Begin where another replica is with prompt versions that were not called here yet."""
        for prompt, lesson in lessons.items():
            if prompt not in self._prompts and len(self._prompts) < PROMPTS:
                self._begin(prompt, Seen.of(lesson))
                self._prompts.move_to_end(prompt, last=False)  # it was not used here

    def _begin(self, prompt: str, seen: Seen) -> Seen:
        self._prompts[prompt] = seen
        if len(self._prompts) > PROMPTS:
            self._prompts.popitem(last=False)
        return seen
