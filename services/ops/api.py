"""One cheap question to the Claude API over plain HTTP: is the key good, and what time is it there?

Lists models: free, and needs a valid key. The worker's own calls are not made here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from services.runtime.secret import Secret

_VERSION: Final = "2026-10-21"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said; `status` 0 where it said nothing, and `problem` why."""

    status: int
    models: tuple[str, ...] = ()
    problem: str = ""
    date: datetime | None = None
    took: timedelta = timedelta()


async def ask_models(base_url: str, key: Secret, *, clock: Callable[[], float]) -> Answer:
    """List the models with a key.

    Args:
        base_url: Address of the API.
        key: The key to try.
        clock: Returns seconds; the event loop's `time`.
    """
    # As the SDK sends it, so that a proxy in between is tried as well.
    headers = {"authorization": f"Bearer {key.reveal()}", "anthropic-version": _VERSION}
    began = clock()
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(
                f"{base_url.rstrip('/')}/v1/models", params={"limit": "100"}, headers=headers
            ) as answer,
        ):
            body: Any = await answer.json(content_type=None) if answer.ok else await answer.text()
            return Answer(
                status=answer.status,
                models=tuple(row["id"] for row in body["data"]) if answer.ok else (),
                problem="" if answer.ok else body[:200],
                date=_date(answer.headers),
                took=timedelta(seconds=clock() - began),
            )
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as exc:
        return Answer(status=0, problem=f"{type(exc).__name__}: {exc}"[:200])


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError):
        return None
