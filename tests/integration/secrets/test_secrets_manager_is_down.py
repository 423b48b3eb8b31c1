"""Secrets Manager is missing at start, or goes away and comes back later."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import AnyHttpUrl, SecretStr

from services.ops.local.ports import free_ports
from services.ops.local.servers import Server
from services.runtime import logging
from services.runtime.metrics import Metrics
from services.runtime.secret import SecretInvalid
from services.runtime.secrets import SecretStore, open_vault
from services.runtime.settings import (
    Environment,
    LogFormat,
    LogLevel,
    LogSettings,
    SecretsSettings,
    Settings,
)
from services.runtime.vault import SecretsUnavailable

KEY = "sk-ant-it-outage-2222"
NEXT = "sk-ant-it-outage-3333"


def moved(settings: Settings, url: str) -> Settings:
    """The same settings with another endpoint."""
    secrets = settings.secrets.model_copy(update={"endpoint_url": AnyHttpUrl(url)})
    return settings.model_copy(update={"secrets": secrets})


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A TCP line to a local port that is cut while its event is cleared."""
    is_up = asyncio.Event()
    is_up.set()
    open_ends: set[asyncio.StreamWriter] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while is_up.is_set() and (piece := await reader.read(65536)):
                if not is_up.is_set():
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not is_up.is_set():
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        open_ends.update((writer, far_writer))
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", is_up
    finally:
        server.close()
        for end in open_ends:
            end.close()
        await asyncio.sleep(0.05)


async def test_no_answer_at_start_is_explained(settings: Settings) -> None:
    """The error names the endpoint, the secret and what to look at."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(SecretsUnavailable) as caught:
        async with SecretStore.open(moved(settings, url), Metrics("test")):
            pass

    for said in (url, settings.secret_name, "SECRETS__ENDPOINT_URL"):
        assert said in str(caught.value)


async def test_a_missing_secret_is_explained(settings: Settings) -> None:
    """The error names the secret and how to create it."""
    with pytest.raises(SecretsUnavailable, match="there is no secret") as caught:
        async with SecretStore.open(settings, Metrics("test")):
            pass

    assert settings.secret_name in str(caught.value)
    assert "sluice secrets rotate --create" in str(caught.value)


async def test_an_unusable_secret_at_start_is_explained(settings: Settings) -> None:
    """A JSON secret without the field is refused at start."""
    async with open_vault(settings) as vault:
        await vault._client.create_secret(Name=settings.secret_name, SecretString='{"key": 1}')
        with pytest.raises(SecretInvalid, match="api_key"):
            async with SecretStore.open(settings, Metrics("test")):
                pass


async def test_an_outage_is_survived_and_told_once(settings: Settings, moto: Server) -> None:
    """The last good key serves on through an outage; the log says when it began and ended."""
    lines = io.StringIO()
    logging.configure(
        LogSettings(level=LogLevel.DEBUG, format=LogFormat.JSON),
        Environment.DEVELOPMENT,
        room="test",
        stream=lines,
    )
    metrics = Metrics("test")
    async with open_vault(settings) as vault, line_to(moto.port) as (url, is_up):
        await vault.create(KEY)
        async with SecretStore.open(moved(settings, url), metrics) as store:
            is_up.clear()
            await asyncio.sleep(1.5)
            assert store.get().reveal() == KEY
            assert store.facts()["stale"] is True

            await vault.promote(await vault.put_pending(NEXT))
            is_up.set()
            async with asyncio.timeout(60):
                while store.get().reveal() == KEY:  # noqa: ASYNC110 -- the store has no event
                    await asyncio.sleep(0.02)
            assert store.facts()["stale"] is False

    text = lines.getvalue()
    assert text.count("secret.unavailable") == 1
    assert text.count("secret.recovered") == 1
    assert text.count("secret.rotated") == 1
    assert "sk-ant" not in text


@pytest.mark.parametrize(
    ("environment", "warnings"), [(Environment.DEVELOPMENT, 0), (Environment.PRODUCTION, 1)]
)
async def test_a_key_from_the_environment_is_for_development(
    environment: Environment, warnings: int
) -> None:
    """A key in a variable works everywhere, and warns everywhere but in development."""
    lines = io.StringIO()
    logging.configure(LogSettings(format=LogFormat.JSON), environment, room="test", stream=lines)
    given = Settings(environment=environment, secrets=SecretsSettings(api_key=SecretStr(KEY)))

    async with SecretStore.open(given, Metrics("test")) as store:
        assert store.get().reveal() == KEY
        assert store.get() == await store.refresh(store.get())

    assert warnings == lines.getvalue().count("secret.taken_from_environment")
    assert KEY not in lines.getvalue()
