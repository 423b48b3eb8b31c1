"""A steady stream of real requests, and when each of them got its outcome.

Nine in ten are support tickets, the others opening turns of conversations, which take longer; one
in ten wants its answer streamed, each carries a header of its caller's, and now and then comes a
record that is no request at all and must end as a dead letter.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from services.ops.demo.samples import samples
from sluice_contracts import CompletionRequested, Tier, TopicNames, encode
from tests.benchmarks import inputs
from tests.benchmarks.inputs import Input
from tests.benchmarks.traffic import Downstream
from tests.chaos.history import Sent
from tests.chaos.upstream import AccountingUpstream

_TICKETS: Final = 1000
_TURN_SHARE: Final = 0.1
_UNREADABLE_SHARE: Final = 0.005
_STREAMED_SHARE: Final = 0.1
_MAY_REST: Final = 0.01
_LOOK_AGAIN: Final = 0.5
_CALLERS: Final = (("shop", b"bern"),)


class Stream:
    """Upstream and downstream of a run; clients that reach the brokers without proxies."""

    def __init__(self, bootstrap: str, topics: TopicNames, *, rate: float, random: Random) -> None:
        self._topics = topics
        self._upstream = AccountingUpstream(bootstrap, topics)
        self._downstream = Downstream.of(bootstrap, topics, self._note)
        self._rate = rate
        self._random = random
        self._inputs = _endless(random)
        self._flows = asyncio.Event()
        self._flows.set()
        self.published_at: dict[str, float] = {}
        """Wall clock by request id; unreadable records have none that upstream knows."""
        self.seen_at: dict[str, float] = {}
        """When the first outcome was seen."""

    @classmethod
    @asynccontextmanager
    async def running(
        cls, bootstrap: str, topics: TopicNames, *, rate: float, random: Random
    ) -> AsyncIterator["Stream"]:
        """Publish so many a second for as long as it is entered, or until `end`."""
        stream = cls(bootstrap, topics, rate=rate, random=random)
        with stream._downstream:
            publishing = asyncio.create_task(stream._publish())
            try:
                yield stream
            finally:
                publishing.cancel()

    @property
    def published(self) -> int:
        """How many records were handed over."""
        return self._upstream.published

    @property
    def sent(self) -> tuple[Sent, ...]:
        """What the broker said of them."""
        return tuple(self._upstream.sent)

    @property
    def finished(self) -> int:
        """How many of them have an outcome."""
        return self._downstream.count

    @property
    def failed(self) -> dict[str, int]:
        """How many failed, by code."""
        return self._downstream.failed

    def pause(self) -> None:
        """Publish nothing for now."""
        self._flows.clear()

    def resume(self) -> None:
        """Go on publishing."""
        self._flows.set()

    async def end(self) -> None:
        """Publish nothing more, and wait until the broker has everything."""
        self.pause()
        await asyncio.to_thread(self._upstream.flush)

    async def settled(self, within: float) -> bool:
        """Wait until everything has its outcome; False where that takes longer (seconds)."""
        return await self._downstream.until(self.published, within)

    async def recovered(self, before: float, within: float) -> None:
        """Wait until nearly everything published before has its outcome; some may rest a minute."""
        waited = [name for name, at in self.published_at.items() if at < before]
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if sum(name not in self.seen_at for name in waited) <= len(waited) * _MAY_REST:
                return
            await asyncio.sleep(_LOOK_AGAIN)

    async def _publish(self) -> None:
        due = time.monotonic()
        for each in self._inputs:
            await self._flows.wait()
            if self._random.random() < _UNREADABLE_SHARE:
                topic = self._topics.requests(Tier.HAIKU)
                self._upstream.publish_raw(topic, None, b'{"text": "Where is my card')
            else:
                self.published_at[each.request.request_id] = time.time()
                said = encode(each.request, source="/chaos", time=datetime.now(UTC), extra=_CALLERS)
                topic = self._topics.requests(each.tier)
                self._upstream.publish_raw(topic, said.key, said.value, list(said.headers))
            # What was missed in a pause is not made up for.
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _note(self, outcome: dict[str, Any]) -> None:
        self.seen_at.setdefault(outcome["request_id"], time.time())


def _endless(random: Random) -> Iterator[Input]:
    """Yield the same inputs again and again, with request ids of their own."""
    tickets, turns = _known()
    for number in itertools.count():
        chosen = random.choice(turns if random.random() < _TURN_SHARE else tickets)
        changes = {
            "request_id": f"{chosen.request.request_id}-{number}",
            "stream": random.random() < _STREAMED_SHARE,
        }
        yield Input(chosen.tier, chosen.request.model_copy(update=changes))


def _known() -> tuple[list[Input], list[Input]]:
    """Read the real inputs; where they are not on the machine, the demo's take their place."""
    try:
        return list(inputs.tickets(_TICKETS)), list(inputs.first_turns())
    except inputs.DataMissingError:
        made = [
            Input(sample.tier, CompletionRequested.model_validate_json(sample.record.value))
            for sample in samples("made", 64)
        ]
    short = [each for each in made if each.tier is Tier.HAIKU]
    return short, [each for each in made if each.tier is not Tier.HAIKU]
