"""Replicas divide one allowance over the real topic, without knowing of each other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from services.runtime.metrics import Metrics
from services.runtime.settings import KafkaSettings
from services.worker.throttle import Ask, GroupLimits, RateTopic, Throttle, ThrottleSettings
from services.worker.throttle.sharing import MOST_SAVED, REPAID
from sluice_contracts import TopicNames

GROUP = "model"
SETTINGS = ThrottleSettings(
    start=GroupLimits(requests=600, input_tokens=600_000, output_tokens=600_000),
    slow_start=1.0,
    exchange_interval=timedelta(milliseconds=200),
    lease=timedelta(seconds=2),
)


@asynccontextmanager
async def _replica(servers: str, topic: str) -> AsyncIterator[Throttle]:
    """Run a throttle whose callers always wait."""
    kafka = KafkaSettings(bootstrap_servers=servers)
    throttle = Throttle(SETTINGS, metrics=Metrics("test"), exchange=RateTopic(kafka, topic))

    async def ask() -> None:
        while True:
            with await throttle.reserve(Ask(GROUP, 100, 100)):
                pass

    tasks = [asyncio.create_task(throttle.run())]
    tasks += [asyncio.create_task(ask()) for _ in range(50)]
    try:
        yield throttle
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def _group(throttle: Throttle) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = throttle.snapshot()["groups"]
    return groups.get(GROUP, {"replicas": 0, "share": (0.0,)})


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- another process decides
            await asyncio.sleep(0.05)


@pytest.mark.kafka
async def test_two_replicas_share_and_one_inherits(kafka: Any, topics: TopicNames) -> None:
    """Two busy replicas get equal parts of all; the one that stays gets it all."""
    async with _replica(kafka.bootstrap_servers, topics.rate) as first:
        await _until(lambda: _group(first)["replicas"] == 1)
        async with _replica(kafka.bootstrap_servers, topics.rate) as second:
            await _until(lambda: _group(second)["replicas"] == 2)
            await _until(lambda: _group(second)["share"][0] > 250)
            shares = [_group(throttle)["share"][0] for throttle in (first, second)]
            assert 600 * (1 + MOST_SAVED / REPAID) >= sum(shares)
            assert pytest.approx(shares[0], rel=0.2) == shares[1]
        await _until(lambda: _group(first)["share"][0] > 550)
        assert 1 == _group(first)["replicas"]


@pytest.mark.kafka
async def test_a_replica_without_the_topic_uses_a_safe_share(kafka: Any) -> None:
    """A topic that is not there leaves a small share, not the whole allowance and not none."""
    async with _replica(kafka.bootstrap_servers, "it-absent.claude.rate.v1") as throttle:
        await asyncio.sleep(1.0)
        assert 0 < _group(throttle)["share"][0] <= 300
        assert throttle.snapshot()["is_lost"]
