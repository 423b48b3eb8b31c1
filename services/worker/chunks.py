"""Publishes an answer while it is written, a few times a second rather than once a token."""

import asyncio
from collections.abc import Awaitable, Callable

from services.runtime.engine.ports import Output
from services.worker.attempt import Attempt
from services.worker.publish import Publisher

Send = Callable[[Output], Awaitable[None]]
"""Sends a record outside any transaction; must not raise: the outcome does not depend on it."""


class ChunkWriter:
    """Gathers the text of one answer into chunks.

    Args:
        attempt: Whose answer.
        publisher: Writes the records.
        send: Sends them.
        interval: Seconds of text in one chunk.
    """

    def __init__(self, attempt: Attempt, publisher: Publisher, send: Send, interval: float) -> None:
        self._attempt = attempt
        self._publisher = publisher
        self._send = send
        self._interval = interval
        self._clock = asyncio.get_running_loop().time
        self._due = self._clock()  # the first words at once: somebody is waiting for them
        self._text: list[str] = []
        self._sequence = 0

    async def write(self, text: str) -> None:
        """Take in text; send what has gathered when its time has come."""
        self._text.append(text)
        if self._clock() >= self._due:
            self._due = self._clock() + self._interval
            await self._flush(is_last=False)

    async def close(self) -> None:
        """Send the rest and say that it is the last."""
        await self._flush(is_last=True)

    async def _flush(self, *, is_last: bool) -> None:
        text = "".join(self._text)
        self._text.clear()
        output = self._publisher.chunk(self._attempt, self._sequence, text, is_last=is_last)
        self._sequence += 1
        await self._send(output)
