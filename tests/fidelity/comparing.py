"""The recordings replayed through the official SDK: how many agree, and why the others do not."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic

from services.simulator.app import Simulator
from tests.fidelity.reasons import Facts, Nature, Reason, reason_for
from tests.fidelity.replay import provoke, recorded_shape, replay
from tests.fidelity.shapes import Shape

RECORDINGS = (
    Path(__file__).parents[2].parent / "shared" / "data" / "recorded" / "exchanges.jsonl.gz"
)
KEY = "sk-ant-api03-fidelity"
PINGS = (None, "2", "4")
"""Where a ping comes here: nowhere, behind the first block's start, or two events later."""


@dataclass(slots=True)
class Comparison:
    """What became of each recording."""

    reasons: dict[str, set[Reason]] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)

    @property
    def agreeing(self) -> int:
        """How many agree in everything that the recording can tell of the API of today."""
        return sum(
            all(reason.nature is not Nature.LACKING for reason in reasons)
            for reasons in self.reasons.values()
        )

    def lines(self) -> Iterator[str]:
        """Say it for people."""
        for name, reasons in self.reasons.items():
            lacking = sorted(r.text for r in reasons if r.nature is Nature.LACKING)
            if lacking:
                yield f"{name}: {'; '.join(lacking)}"
        yield ""
        yield f"{self.agreeing} of {len(self.reasons)} recordings agree; each difference:"
        texts = {(r.nature, r.text) for reasons in self.reasons.values() for r in reasons}
        counts = Counter(
            text
            for reasons in self.reasons.values()
            for text in {(reason.nature, reason.text) for reason in reasons}
        )
        for nature in Nature:
            yield f"  {nature.value}"
            for text in sorted(t for t in texts if t[0] is nature):
                yield f"    {counts[text]:4} {text[1]}"
        exact = sum(not reasons for reasons in self.reasons.values())
        yield f"{exact} show no difference at all; unexplained: {len(self.unexplained)}"


def recordings() -> list[dict[str, Any]]:
    """Read the recorded exchanges."""
    with gzip.open(RECORDINGS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


async def compare(
    simulator: Simulator, address: str, recorded: Sequence[dict[str, Any]]
) -> Comparison:
    """Replay every recording and explain every difference."""
    shapes = [recorded_shape(recording) for recording in recorded]
    facts, found = Facts(list(zip(recorded, shapes, strict=True))), Comparison()
    async with anthropic.AsyncAnthropic(
        api_key=KEY, base_url=address, max_retries=0, timeout=20
    ) as client:
        for recording, expected in zip(recorded, shapes, strict=True):
            provoke(simulator, recording, expected)
            actual = await replay(client, recording, expected.status)
            reasons = found.reasons[recording["id"]] = set()
            for difference in differences(expected, actual):
                reason = reason_for(difference, recording, facts)
                if reason is None:
                    found.unexplained.append(f"{recording['id']}: {difference}")
                else:
                    reasons.add(reason)
    return found


def differences(expected: Shape, actual: Shape) -> Iterator[str]:
    """Yield what only one of the two shows, and what both show in different ways."""
    if expected.status != actual.status:
        yield f"status {expected.status} is {actual.status}: {actual.error}"
        return
    for name, recorded, here in (
        ("header", expected.headers, actual.headers),
        ("member", expected.body, actual.body),
    ):
        yield from (f"{name} {each} is missing" for each in sorted(recorded - here))
        yield from (f"{name} {each} is extra" for each in sorted(here - recorded))
    if expected.error != actual.error:
        yield f"error {expected.error} is {actual.error}"
    if expected.events != actual.events:
        yield f"events {expected.events} are {actual.events}"
    if expected.ping not in PINGS:
        yield f"ping {expected.ping} is where none comes here"
    if actual.ping not in PINGS:
        yield f"ping {actual.ping} is where none is recorded"
