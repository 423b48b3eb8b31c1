"""The API key of this process: read from AWS Secrets Manager, kept fresh, never written down."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from services.runtime.metrics import Metrics
from services.runtime.secret import Secret, SecretInvalid, parse
from services.runtime.settings import Environment, Settings
from services.runtime.vault import SecretsUnavailable, Vault, explained

_log = structlog.get_logger()
_JITTER: Final = 0.2


def poll_delay(interval: float, draw: float) -> float:
    """Return the seconds to the next poll: the interval ± 20 %, by a draw from [0, 1)."""
    return interval * (1 - _JITTER + 2 * _JITTER * draw)


@asynccontextmanager
async def open_vault(settings: Settings, name: str | None = None) -> AsyncIterator[Vault]:
    """Hold a client of Secrets Manager for as long as it is entered; nothing is sent yet.

    Args:
        settings: Where Secrets Manager is.
        name: Which secret; default: that of the API key in this environment.
    """
    secrets = settings.secrets
    wait = secrets.timeout.total_seconds()
    options: dict[str, Any] = {
        "region_name": secrets.region,
        # Polling is the retry; the second attempt is for a kept-alive connection that died.
        "config": AioConfig(
            connect_timeout=wait, read_timeout=wait, retries={"total_max_attempts": 2}
        ),
    }
    if secrets.endpoint_url is not None:
        options["endpoint_url"] = str(secrets.endpoint_url)
        if settings.environment is Environment.DEVELOPMENT:
            # A stand-in checks no signature, and looking for real credentials takes seconds.
            options |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    name = name or settings.secret_name
    async with AsyncExitStack() as stack:
        with explained(settings, name):
            session = get_session().create_client("secretsmanager", **options)
            client = await stack.enter_async_context(session)
        yield Vault(client, settings, name)


class SecretStore:
    """Holds the key in use, looks for a newer one, and replaces it under running calls.

    Args:
        read: Reads the current secret; raises `SecretsUnavailable` or `SecretInvalid`.
        first: The secret read at start.
        poll_interval: Seconds between two looks for a new version; None: it never changes.
        refresh_interval: Seconds between two reads because of rejected keys.
        metrics: Where reads and changes are counted.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Secret]],
        first: Secret,
        *,
        poll_interval: float | None,
        refresh_interval: float,
        metrics: Metrics,
    ) -> None:
        self._fetch = read
        self._current = first
        self._previous: Secret | None = None
        self._poll_interval = poll_interval
        self._refresh_interval = refresh_interval
        self._metrics = metrics
        self._reading: asyncio.Task[None] | None = None
        self._tried_at = float("-inf")
        """When the last read began."""
        self._read_at = float("-inf")
        """When the last read began that brought a key."""
        self._stale_since: float | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, metrics: Metrics) -> AsyncIterator[Self]:
        """Read the secret and keep it fresh for as long as it is entered.

        Raises:
            SecretsUnavailable: It cannot be read at start.
            SecretInvalid: It was read and holds no key.
        """
        given = settings.secrets.api_key
        refresh = settings.secrets.refresh_interval.total_seconds()
        if given is not None:
            if settings.environment is not Environment.DEVELOPMENT:
                _log.warning(
                    "secret.taken_from_environment",
                    variable="SECRETS__API_KEY",
                    remedy=f"store it as '{settings.secret_name}'; a variable cannot be rotated",
                )
            fixed = Secret(parse(given.get_secret_value()), version="environment")

            async def read() -> Secret:
                return fixed

            async with cls(
                read, fixed, poll_interval=None, refresh_interval=refresh, metrics=metrics
            ) as store:
                yield store
            return
        async with open_vault(settings) as vault:
            first = await vault.current()
            metrics.secret_reads.labels("start", "ok").inc()
            _log.info("secret.loaded", name=settings.secret_name, version=first.version,
                      key_id=first.key_id)  # fmt: skip
            async with cls(
                vault.current,
                first,
                poll_interval=settings.secrets.poll_interval.total_seconds(),
                refresh_interval=refresh,
                metrics=metrics,
            ) as store:
                yield store

    async def __aenter__(self) -> Self:
        """Start polling."""
        self._polling = asyncio.create_task(self._poll(), name="secret-poll")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop polling; whatever ended it before is raised here."""
        for task in (self._polling, self._reading):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def get(self) -> Secret:
        """Return the key in use; ask anew for each call and do not keep it."""
        return self._current

    @property
    def previous(self) -> Secret | None:
        """The key before the one in use; calls in flight may still carry it."""
        return self._previous

    def facts(self) -> dict[str, Any]:
        """Describe the key in use for readiness and doctor; holds no value."""
        return {
            "key_id": self._current.key_id,
            "version": self._current.version,
            "stale": self._stale_since is not None,
        }

    async def refresh(self, bad: Secret | None = None) -> Secret:
        """Return another key than the rejected one where there is one, else the same.

        Many callers share one read, and reads keep their distance: who comes too early waits. A key
        that was replaced meanwhile costs no read. Only where a read that began after the rejection
        still names the rejected key, the one before it serves until the next poll: a mistyped new
        key is then an alarm and not an outage.
        """
        asked = asyncio.get_running_loop().time()
        while self._read_at < asked and (bad is None or self._current == bad):
            if self._reading is None:
                self._reading = asyncio.create_task(self._refresh(), name="secret-refresh")
                self._reading.add_done_callback(self._end_refresh)
            await asyncio.shield(self._reading)  # one caller's cancellation is not the others'
            if self._stale_since is not None:
                return self._current  # nobody knows whether there is another
        if bad is not None and self._current == bad and self._previous not in (None, bad):
            assert self._previous is not None
            _log.error("secret.rejected", key_id=bad.key_id, version=bad.version,
                       served_by=self._previous.key_id,
                       remedy="store a key that works: sluice secrets rotate")  # fmt: skip
            self._current, self._previous = self._previous, self._current
        return self._current

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._tried_at + self._refresh_interval - loop.time()))
        await self._read("rejected")

    def _end_refresh(self, _: asyncio.Task[None]) -> None:
        self._reading = None

    async def _poll(self) -> None:
        while self._poll_interval is not None:
            # Replicas that start together would ask together for ever without the jitter.
            await asyncio.sleep(poll_delay(self._poll_interval, random.random()))  # noqa: S311
            await self._read("poll")

    async def _read(self, reason: str) -> None:
        now = asyncio.get_running_loop().time
        began = self._tried_at = now()
        try:
            fresh = await self._fetch()
        except (SecretsUnavailable, SecretInvalid) as exc:
            self._metrics.secret_reads.labels(reason, "failed").inc()
            self._metrics.secret_stale.set(1)
            if self._stale_since is None:
                self._stale_since = now()
                _log.warning("secret.unavailable", reason=str(exc), key_id=self._current.key_id)
            return
        self._metrics.secret_reads.labels(reason, "ok").inc()
        self._read_at = began
        if self._stale_since is not None:
            _log.info("secret.recovered", after_s=round(now() - self._stale_since, 1))
            self._stale_since = None
            self._metrics.secret_stale.set(0)
        if fresh != self._current:
            self._previous, self._current = self._current, fresh
            self._metrics.secret_changes.inc()
            _log.info("secret.rotated", version=fresh.version, key_id=fresh.key_id,
                      previous_key_id=self._previous.key_id)  # fmt: skip
