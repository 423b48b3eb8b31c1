"""The store's timing and choices, in virtual time, over a scripted vault."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.runtime.metrics import Metrics
from services.runtime.secret import Secret
from services.runtime.secrets import SecretStore, poll_delay
from services.runtime.vault import SecretsUnavailable

pytestmark = pytest.mark.looptime

OLD = Secret("sk-ant-unit-old", version="v1")
NEW = Secret("sk-ant-unit-new", version="v2")
NEWEST = Secret("sk-ant-unit-newest", version="v3")


class ScriptedVault:
    """Answers reads with what it holds, after 20 ms, and remembers when it was asked."""

    def __init__(self, holds: Secret | Exception) -> None:
        self.holds = holds
        self.asked_at: list[float] = []

    async def current(self) -> Secret:
        """Answer a read."""
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)
        if isinstance(self.holds, Exception):
            raise self.holds
        return self.holds


@asynccontextmanager
async def opened(
    vault: ScriptedVault, metrics: Metrics | None = None, poll: float | None = 60
) -> AsyncIterator[SecretStore]:
    """A store that holds the old key."""
    async with SecretStore(
        vault.current,
        OLD,
        poll_interval=poll,
        refresh_interval=1,
        metrics=metrics or Metrics("test"),
    ) as store:
        yield store


@pytest.mark.parametrize(("draw", "delay"), [(0, 48), (0.5, 60), (1, 72)])
def test_the_poll_interval_is_spread_by_a_fifth(draw: float, delay: float) -> None:
    """Polls of replicas that start together drift apart, by 20 % either way."""
    assert delay == pytest.approx(poll_delay(60, draw))


async def test_a_new_version_is_found_by_polling() -> None:
    """A key that is stored while the store is open is in use within one interval and jitter."""
    vault = ScriptedVault(NEW)
    async with opened(vault) as store:
        assert OLD == store.get()

        await asyncio.sleep(73)

        assert NEW == store.get()
        assert OLD == store.previous


async def test_polls_keep_their_distance() -> None:
    """No two polls are closer than 48 s or further than 72 s and a read apart."""
    vault = ScriptedVault(OLD)
    async with opened(vault):
        await asyncio.sleep(3600)

    gaps = [b - a for a, b in zip(vault.asked_at, vault.asked_at[1:], strict=False)]
    assert len(gaps) > 40
    assert min(gaps) >= 48
    assert max(gaps) <= 72.1


async def test_a_thousand_rejections_cost_one_read() -> None:
    """Calls that are rejected together share a single read."""
    vault = ScriptedVault(NEW)
    async with opened(vault) as store:
        given = await asyncio.gather(*(store.refresh(OLD) for _ in range(1000)))

    assert {NEW} == set(given)
    assert len(vault.asked_at) == 1


async def test_a_key_replaced_meanwhile_costs_no_read() -> None:
    """A call that still carried the key before is given the present one at once."""
    vault = ScriptedVault(NEW)
    async with opened(vault) as store:
        await store.refresh(OLD)
        await asyncio.sleep(30)

        assert NEW == await store.refresh(OLD)

    assert len(vault.asked_at) == 1


@pytest.mark.parametrize("holds", [OLD, SecretsUnavailable("down")])
async def test_a_wrong_key_does_not_storm_the_vault(holds: Secret | Exception) -> None:
    """While the vault still names the rejected key, or is away, it is asked once a second."""
    vault = ScriptedVault(holds)
    async with opened(vault, poll=None) as store:
        for _ in range(100):
            given = await asyncio.gather(*(store.refresh(OLD) for _ in range(10)))
            assert {OLD} == set(given)

    assert min(b - a for a, b in zip(vault.asked_at, vault.asked_at[1:], strict=False)) >= 1


async def test_two_rotations_within_a_second_are_followed() -> None:
    """A key that was read a moment ago and is rejected is read again, not replaced by an old one.

    The one before it may be revoked by now: falling back to it would fail the call.
    """
    vault = ScriptedVault(NEW)
    async with opened(vault, poll=None) as store:
        assert NEW == await store.refresh(OLD)
        vault.holds = NEWEST
        await asyncio.sleep(0.3)
        assert NEWEST == await store.refresh(NEW)

    assert [0.0, 1.0] == [round(at, 3) for at in vault.asked_at]


async def test_a_read_that_began_before_the_rejection_decides_nothing() -> None:
    """What it brings may have been replaced while it was under way."""
    vault = ScriptedVault(NEW)
    async with opened(vault, poll=None) as store:
        first = asyncio.create_task(store.refresh(OLD))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(store.refresh())
        await asyncio.gather(first, second)

    assert 2 == len(vault.asked_at)


async def test_a_cancelled_caller_does_not_take_the_read_with_it() -> None:
    """One caller's cancellation leaves the shared read to the others."""
    vault = ScriptedVault(NEW)
    async with opened(vault) as store:
        impatient = asyncio.create_task(store.refresh(OLD))
        patient = asyncio.create_task(store.refresh(OLD))
        await asyncio.sleep(0.01)
        impatient.cancel()

        assert NEW == await patient
        assert impatient.cancelled()


async def test_a_bad_new_key_falls_back_to_the_one_before() -> None:
    """A new key that the API rejects is left for the previous one, and tried again later."""
    vault = ScriptedVault(NEW)
    async with opened(vault) as store:
        await asyncio.sleep(73)
        assert NEW == store.get()

        assert OLD == await store.refresh(NEW)
        assert OLD == store.get()

        await asyncio.sleep(73)
        assert NEW == store.get()


async def test_an_outage_keeps_the_last_good_key() -> None:
    """With the vault down the key in use serves on and the metric says that it is stale."""
    vault = ScriptedVault(SecretsUnavailable("down"))
    metrics = Metrics("test")
    async with opened(vault, metrics) as store:
        await asyncio.sleep(200)
        assert OLD == store.get()
        assert store.facts()["stale"] is True
        assert metrics.registry.get_sample_value("sluice_secret_stale") == 1

        vault.holds = NEW
        await asyncio.sleep(73)
        assert NEW == store.get()
        assert store.facts()["stale"] is False
        assert metrics.registry.get_sample_value("sluice_secret_stale") == 0


async def test_a_rejection_during_an_outage_returns_the_same_key() -> None:
    """A refresh that cannot read gives back what there is instead of raising."""
    vault = ScriptedVault(SecretsUnavailable("down"))
    async with opened(vault) as store:
        assert OLD == await store.refresh(OLD)


async def test_a_fault_of_the_poll_is_not_swallowed() -> None:
    """A poll that ends by anything but an unavailable vault shows when the store is left."""
    vault = ScriptedVault(RuntimeError("a fault of ours"))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        async with opened(vault):
            await asyncio.sleep(100)
