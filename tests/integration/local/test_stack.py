"""A stack's worker is killed and comes back, and its key is replaced under it."""

import secrets

import pytest

from services.ops.local.stack import Stack, StackPlan
from tests.conftest import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


async def test_a_killed_worker_comes_back_with_the_new_key(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9, rotate, restart: the worker is ready again where it was, with the key in use now.

    What a developer's shell says of other systems is not heard: with this value none would start.
    """
    monkeypatch.setenv("THROTTLE__SAFETY", "not a number")
    plan = StackPlan(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=f"it-{secrets.token_hex(4)}.",
        partitions=1,
        relay=False,
        # A killed member holds the others up for as long as its session lasts.
        environment={"ENGINE__SESSION_TIMEOUT": "8s", "ENGINE__TRANSACTION_TIMEOUT": "5s"},
    )
    async with Stack.running(plan) as stack:
        (worker,) = stack.workers
        pids = {worker.child.pid}
        await worker.kill()
        assert -9 == worker.child.exit_code
        assert await worker.facts() is None
        first = stack.keys.key_id
        await stack.keys.rotate()
        await worker.restart()
        await worker.ready()
        facts = await worker.facts()
        assert facts is not None
        assert first != stack.keys.key_id
        assert stack.keys.key_id == facts["secret"]["key_id"]
        assert worker.child.pid not in pids
    assert not worker.child.is_running
    assert not (stack.run.directory / "data").exists()
