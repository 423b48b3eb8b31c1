"""A key is rotated while calls carry the old one."""

import asyncio
import json
from datetime import timedelta

from services.runtime.metrics import Metrics
from services.runtime.secrets import SecretStore, open_vault
from services.runtime.settings import Settings

OLD = "sk-ant-it-old-000000"
NEW = "sk-ant-it-new-111111"
_HOUR = timedelta(hours=1)


async def test_polling_finds_the_promoted_version(settings: Settings) -> None:
    """A pending version changes nothing; once promoted it is in use within an interval."""
    async with open_vault(settings) as vault:
        await vault.create(OLD)
        async with SecretStore.open(settings, Metrics("test")) as store:
            pending = await vault.put_pending(NEW)
            await asyncio.sleep(0.5)
            assert store.get().reveal() == OLD

            await vault.promote(pending)
            async with asyncio.timeout(30):
                while store.get().reveal() == OLD:  # noqa: ASYNC110 -- the store has no event
                    await asyncio.sleep(0.02)

            assert store.get().reveal() == NEW
            assert store.get().version == pending.version
            assert store.previous is not None
            assert store.previous.reveal() == OLD


async def test_a_rejected_key_is_replaced_at_once(settings: Settings) -> None:
    """A 401 reads the new key without waiting for the poll."""
    slow = settings.model_copy(
        update={"secrets": settings.secrets.model_copy(update={"poll_interval": _HOUR})}
    )
    async with open_vault(settings) as vault:
        await vault.create(OLD)
        async with SecretStore.open(slow, Metrics("test")) as store:
            rejected = store.get()
            await vault.promote(await vault.put_pending(NEW))

            given = await asyncio.gather(*(store.refresh(rejected) for _ in range(50)))

            assert {NEW} == {secret.reveal() for secret in given}


async def test_the_versions_carry_their_stages(settings: Settings) -> None:
    """After a promotion the versions say which is current and which was before."""
    async with open_vault(settings) as vault:
        first = await vault.create(OLD)
        second = await vault.put_pending(NEW)
        await vault.promote(second)

        stages = {row.version: row.stages for row in await vault.versions()}

    assert {first.version: ("AWSPREVIOUS",), second.version: ("AWSCURRENT",)} == stages


async def test_a_json_secret_keeps_its_form(settings: Settings) -> None:
    """A secret that is stored as a JSON object is read and rotated as one."""
    async with open_vault(settings) as vault:
        await vault._client.create_secret(
            Name=settings.secret_name, SecretString=json.dumps({"api_key": OLD, "owner": "team"})
        )
        await vault.promote(await vault.put_pending(NEW))
        stored = await vault._client.get_secret_value(
            SecretId=settings.secret_name, VersionStage="AWSCURRENT"
        )

        assert (await vault.current()).reveal() == NEW
        assert {"api_key": NEW, "owner": "team"} == json.loads(stored["SecretString"])
