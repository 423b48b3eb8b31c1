"""Learns what requests use and cost from the outcomes they had lately.

Prices are the worker's; what a prompt costs, cache hits, repairs and all, stands on its results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from services.ops.replay.allowance import Allowance
from services.ops.replay.plan import Estimate
from services.runtime.reading import (
    Options,
    Range,
    open_reader,
    partitions_of,
    ranges_of,
    read_ranges,
)
from sluice_contracts import (
    CompletionFailed,
    CompletionSucceeded,
    InvalidEvent,
    Tier,
    TopicNames,
    decode,
)

RECENT: Final = 100
"""Outcomes of each result partition that are looked at, the youngest."""
_CHARACTERS_PER_TOKEN: Final = 4
"""For a tier without any outcome to learn from: rough, and said to be."""


@dataclass(slots=True)
class _Sum:
    count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)


@dataclass(slots=True)
class Usual:
    """What outcomes of a tier used, in all and by prompt name."""

    whole: _Sum = field(default_factory=_Sum)
    by_prompt: dict[str, _Sum] = field(default_factory=dict)

    def add(self, event: CompletionSucceeded | CompletionFailed) -> None:
        """Count an outcome that was called."""
        if event.usage is None or event.cost is None:
            return
        name = event.prompt.name if event.prompt else "-"
        for each in (self.whole, self.by_prompt.setdefault(name, _Sum())):
            each.count += 1
            # What counts against the limit: cache reads are free of it.
            each.input_tokens += event.usage.input_tokens + event.usage.cache_creation_input_tokens
            each.output_tokens += event.usage.output_tokens
            each.cost += Decimal(event.cost.amount)

    def of(self, prompt: str) -> _Sum:
        """Return the sums of a prompt, else those of the tier."""
        return self.by_prompt.get(prompt.partition("@")[0], self.whole)


async def learn(options: Options, names: TopicNames, tiers: Iterable[Tier]) -> dict[Tier, Usual]:
    """Read the youngest outcomes of some tiers."""
    found: dict[Tier, Usual] = {tier: Usual() for tier in tiers}
    partitions = await partitions_of(options, [names.results(tier) for tier in found])
    async with open_reader(options) as reader:
        ranges = await ranges_of(reader, partitions)
        recent = {tp: Range(max(start, end - RECENT), end) for tp, (start, end) in ranges.items()}
        async for tp, records in read_ranges(reader, recent):
            tier = names.tier(tp.topic)
            assert tier is not None
            for record in records:
                try:
                    event = decode(record.value, tuple(record.headers))
                except InvalidEvent:
                    continue
                if isinstance(event, CompletionSucceeded | CompletionFailed):
                    found[tier].add(event)
    return found


def estimate(
    counts: Mapping[tuple[Tier, str], int],
    characters: Mapping[Tier, int],
    usual: Mapping[Tier, Usual],
    allowances: Mapping[Tier, Allowance | None],
) -> Estimate | None:
    """Estimate what sending would use.

    Args:
        counts: Requests by the tier that they go to, and prompt.
        characters: Bytes of their bodies, for tiers of which nothing is known.
        usual: What outcomes used lately.
        allowances: The limits, where workers tell of them.
    """
    if not counts:
        return None
    learnt = 0
    cost: Decimal | None = Decimal(0)
    output: dict[Tier, float | None] = {}
    input_: dict[Tier, float] = {}
    for tier in {tier for tier, _ in counts}:
        known = usual[tier]
        learnt += known.whole.count
        if not known.whole.count:
            input_[tier], output[tier], cost = characters[tier] / _CHARACTERS_PER_TOKEN, None, None
            continue
        shares = [(count, known.of(prompt)) for (of, prompt), count in counts.items() if of is tier]
        input_[tier] = sum(n * each.input_tokens / each.count for n, each in shares)
        output[tier] = sum(n * each.output_tokens / each.count for n, each in shares)
        if cost is not None:
            cost += sum((n * each.cost / each.count for n, each in shares), Decimal(0))
    outputs = [tokens for tokens in output.values() if tokens is not None]
    drain = _drain(counts, input_, output, allowances)
    return Estimate(
        input_tokens=round(sum(input_.values())),
        output_tokens=round(sum(outputs)) if len(outputs) == len(output) else None,
        cost=None if cost is None else f"{cost:.4f}",
        learnt_from=learnt,
        drain_seconds=drain[0] if drain else None,
        binding=drain[1] if drain else None,
    )


def _drain(
    counts: Mapping[tuple[Tier, str], int],
    input_tokens: Mapping[Tier, float],
    output_tokens: Mapping[Tier, float | None],
    allowances: Mapping[Tier, Allowance | None],
) -> tuple[float, str] | None:
    """Return how long the slowest tier takes at its whole limit, and what binds it."""
    times = []
    for tier, tokens in input_tokens.items():
        requests = sum(count for (of, _), count in counts.items() if of is tier)
        allowance = allowances.get(tier)
        if allowance is None:
            return None
        time = allowance.drain(requests, round(tokens), round(output_tokens[tier] or 0))
        if time is None:
            return None
        times.append((time[0], f"{tier} {time[1]}"))
    return max(times, default=None)
