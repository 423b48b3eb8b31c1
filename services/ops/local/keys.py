"""The API key of a local stack: made valid at the simulator, kept in Secrets Manager, rotated."""

import asyncio
import secrets
from datetime import timedelta
from typing import Final

import aiohttp

from services.runtime.secret import Secret
from services.runtime.secrets import open_vault
from services.runtime.settings import Environment, SecretsSettings, Settings

FIRST_KEY: Final = "sk-ant-api03-simulator-one"
"""Valid at a simulator that was started without keys of its own."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


class KeyRing:
    """The one key in use, at both ends."""

    def __init__(self, simulator: str, secrets_manager: str, *, poll_interval: float) -> None:
        self._simulator: Final = simulator
        self._settings: Final = Settings(
            environment=Environment.DEVELOPMENT,
            secrets=SecretsSettings.model_validate(
                {
                    "endpoint_url": secrets_manager,
                    "poll_interval": poll_interval,
                    # moto loads a service when it is first asked for it, seconds on a busy machine.
                    "timeout": timedelta(seconds=60),
                }
            ),
        )
        self._poll_interval: Final = poll_interval
        self._current = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a room needs to find the key."""
        return {
            "ENVIRONMENT": str(self._settings.environment),
            "SECRETS__ENDPOINT_URL": str(self._settings.secrets.endpoint_url),
            "SECRETS__POLL_INTERVAL": str(self._poll_interval),
        }

    @property
    def key_id(self) -> str:
        """How logs name the key in use."""
        return Secret(self._current, version="").key_id

    async def create(self) -> str:
        """Make the first key and its secret."""
        self._current = await self._allow_new()
        async with open_vault(self._settings) as vault:
            await vault.create(self._current)
        return self._current

    async def rotate(self, *, overlap: float = 0.0) -> str:
        """Replace the key and return the new one.

        Args:
            overlap: Seconds for which the old key stays valid. 0 is the unkind rotation: calls with
                the old key are refused before any worker has looked for the new one.
        """
        old, new = self._current, await self._allow_new()
        async with open_vault(self._settings) as vault:
            await vault.promote(await vault.put_pending(new))
        self._current = new
        await asyncio.sleep(overlap)
        await self._control("DELETE", f"keys/{old}")
        return new

    async def _allow_new(self) -> str:
        key = f"sk-ant-api03-local-{secrets.token_urlsafe(24)}"
        await self._control("POST", "keys", {"key": key})
        return key

    async def _control(self, method: str, path: str, body: object = None) -> None:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
            session.request(method, f"{self._simulator}/_sim/{path}", json=body) as answer,
        ):
            await answer.read()
