"""Whether the topics that a replay sends to, and those of its outcomes, are there and wide enough.

A request keeps its partition number on another tier, and so do its outcome and its dead letter.
Found out before a plan is written: in the middle of a run each would be refused on its own.
"""

from collections import Counter
from collections.abc import Mapping

from services.ops.failure import CommandFailed
from services.runtime.reading import Options, TopicMissing, partitions_of
from sluice_contracts import Tier, TopicNames


async def check_targets(
    options: Options, names: TopicNames, highest: Mapping[Tier, int], *, partitions: int
) -> None:
    """Look at the topics of each tier that requests go to.

    Args:
        options: How to connect.
        names: Topic names.
        highest: The highest partition number of the requests that go to a tier.
        partitions: Of the topics that the dead letters are on: what the others should have.

    Raises:
        CommandFailed: A topic is missing or too narrow; `str()` says which and the remedy.
    """
    for tier, number in highest.items():
        topics = [names.requests(tier), names.results(tier), names.dead_letters(tier)]
        try:
            counts = Counter(tp.topic for tp in await partitions_of(options, topics))
        except TopicMissing as exc:
            raise CommandFailed(f"tier {tier} cannot take the requests: {exc}") from exc
        if narrow := [topic for topic in topics if counts[topic] <= number]:
            has = ", ".join(f"{topic} has {counts[topic]}" for topic in narrow)
            raise CommandFailed(
                f"tier {tier} cannot take the requests: they keep their partition number, up to "
                f"{number}, and of partitions {has}; grow them with "
                f"`sluice topics apply --partitions {partitions}`, or plan for another tier"
            )
