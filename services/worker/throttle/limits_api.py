"""The Rate Limits API: what an admin key may read of the organisation's limits and groups.

`GET /v1/organizations/rate_limits`; the groups' ids are the same in every organisation, and each
names the models, and their aliases, that share its limits.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp

from services.worker.throttle.buckets import Amounts

PATH: Final = "/v1/organizations/rate_limits"
TIMEOUT: Final = 10.0
_REQUESTS: Final = "requests_per_minute"
_INPUT: Final = ("input_tokens_per_minute_cache_aware", "input_tokens_per_minute")
_OUTPUT: Final = "output_tokens_per_minute"


@dataclass(frozen=True, slots=True)
class GroupLimit:
    """One model group: which models share it and what they may use per minute."""

    group: str
    models: tuple[str, ...]
    limits: Amounts | None
    """None where the API does not name all three."""


class LimitsSource(Protocol):
    """Where limits are read from, beside the headers."""

    async def fetch(self) -> list[GroupLimit]:
        """Return every model group; raises `LimitsUnknown`."""
        ...


class LimitsUnknown(Exception):  # noqa: N818 -- a state of knowledge
    """The API did not say; what was known before holds on."""


def parse(entries: list[dict[str, Any]]) -> list[GroupLimit]:
    """Read the entries of an answer; unknown kinds of groups and limiters are skipped."""
    found: list[GroupLimit] = []
    for entry in entries:
        group = entry.get("group") or {}
        if group.get("type") != "model_group":
            continue
        values = {limit.get("type"): limit.get("value") for limit in entry.get("limits") or ()}
        inputs = [values[name] for name in _INPUT if values.get(name)]
        three = (values.get(_REQUESTS), inputs[0] if inputs else None, values.get(_OUTPUT))
        limits = Amounts(*map(float, three)) if all(three) else None  # type: ignore[arg-type]
        found.append(GroupLimit(str(group["id"]), tuple(entry.get("models") or ()), limits))
    return found


class LimitsApi:
    """Reads the Rate Limits API over plain HTTP.

    Args:
        base_url: Where the API answers.
        admin_key: Returns the admin key at the moment of use.
        version: The API version header.
    """

    def __init__(
        self, base_url: str, admin_key: Callable[[], str], *, version: str = "2026-10-21"
    ) -> None:
        self._url = base_url.rstrip("/") + PATH
        self._admin_key = admin_key
        self._version = version

    async def fetch(self) -> list[GroupLimit]:
        """Return every model group.

        Raises:
            LimitsUnknown: The API could not be asked, or said something else.
        """
        try:
            async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as session:
                return parse(await self._pages(session))
        except (TimeoutError, aiohttp.ClientError, KeyError, TypeError, ValueError) as exc:
            raise LimitsUnknown(f"{self._url}: {type(exc).__name__}: {exc}") from exc

    async def _pages(self, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        page: str | None = None
        while True:
            async with session.get(
                self._url,
                params={} if page is None else {"page": page},
                headers={
                    "x-api-key": self._admin_key(),
                    "anthropic-version": self._version,
                    "accept": "application/json",
                },
                raise_for_status=True,
            ) as answer:
                body = await answer.json()
            entries += body["data"]
            page = body.get("next_page")
            if not page:
                return entries
