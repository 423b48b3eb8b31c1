"""Follows what became of replayed requests, so that a run that fails again can be stopped."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from services.runtime.reading import Follower, Options
from sluice_contracts import CompletionFailed, InvalidEvent, Tier, TopicNames, decode
from sluice_contracts import headers as h
from sluice_contracts.topics import FAILED_TYPE


class Outcomes:
    """Counts the outcomes of one plan from now on; enter it to follow the result topics.

    Args:
        plan_id: Whose outcomes.
        options: How to connect.
        topics: The result topics where they will come.
        since_ms: From when on; a little before the first request is sent.
    """

    def __init__(self, plan_id: str, options: Options, topics: list[str], *, since_ms: int) -> None:
        self._plan_id = plan_id
        self._followers = [
            Follower(options, topic, self._on_record, since_ms=since_ms) for topic in topics
        ]
        self._stack = AsyncExitStack()
        self.succeeded = 0
        self.failures: Final[Counter[str]] = Counter()
        """Failed again, by code."""
        self.changed = asyncio.Event()
        """Set with each outcome; whoever waits for it clears it."""

    @property
    def count(self) -> int:
        """Outcomes so far."""
        return self.succeeded + self.failures.total()

    @property
    def failed_share(self) -> float:
        """Which part of the outcomes failed again."""
        return self.failures.total() / self.count if self.count else 0.0

    def __str__(self) -> str:
        codes = ", ".join(f"{count} {code}" for code, count in self.failures.most_common(3))
        return f"{self.failures.total()} of {self.count} failed again ({codes})"

    async def __aenter__(self) -> Self:
        """Follow the topics; returns once everything that comes later will be seen."""
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        for follower in self._followers:
            task = group.create_task(follower.run())
            self._stack.callback(task.cancel)
        for follower in self._followers:
            await follower.caught_up.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop following."""
        await self._stack.aclose()

    def _on_record(self, record: Any) -> None:
        headers = tuple(record.headers)
        if h.find(headers, h.REPLAY_ID) != self._plan_id:
            return
        if h.find(headers, h.CE_TYPE) == FAILED_TYPE:
            self.failures[_code(record.value, headers)] += 1
        else:
            self.succeeded += 1
        self.changed.set()


def topics_for(names: TopicNames, tiers: Iterable[Tier]) -> list[str]:
    """Name the topics where outcomes of these tiers' requests come, `reply_to` aside."""
    return [names.results(tier) for tier in sorted(tiers)]


def _code(value: bytes | None, headers: Any) -> str:
    try:
        event = decode(value, headers)
    except InvalidEvent:
        return "unreadable"
    return event.failure.code if isinstance(event, CompletionFailed) else "unreadable"
