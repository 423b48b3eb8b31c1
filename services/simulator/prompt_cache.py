"""Prompt caching: prefixes up to a `cache_control` mark, per workspace and model.

An entry is readable once the answer that wrote it has begun, is refreshed by each read and dies
after its lifetime. Order is tools, system, messages; a mark also finds an entry that ends up to 20
blocks before it. Not imitated: what invalidates an entry besides its content and thinking, effort
and schema; automatic (top-level) marks are put on the last block, as the API does it.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from services.simulator.tokens import TOOLS_OVERHEAD, block_tokens, blocks_of, json_tokens

LOOKBACK = 20


@dataclass(frozen=True, slots=True)
class Boundary:
    """The end of a block: the digest of everything up to it and its tokens."""

    digest: bytes
    tokens: int
    ttl: str | None
    """`5m` or `1h` where a mark stands."""


@dataclass(frozen=True, slots=True)
class Caching:
    """What a request reads from the cache and writes to it."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0
    entries: tuple[tuple[bytes, str], ...] = ()
    """Digest and lifetime of what is stored or refreshed."""

    @property
    def written(self) -> int:
        """Tokens written, whatever their lifetime."""
        return self.written_5m + self.written_1h


@dataclass(slots=True)
class _Entry:
    readable_at: float
    expires_at: float


class PromptCache:
    """All cached prefixes."""

    def __init__(
        self, min_tokens: int, ttl_s: float, ttl_long_s: float, clock: Callable[[], float]
    ) -> None:
        self._min_tokens = min_tokens
        self._ttl = {"5m": ttl_s, "1h": ttl_long_s}
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def look_up(self, body: dict[str, Any], workspace: str) -> Caching:
        """Say what a request would read and write; `store` makes it so."""
        boundaries = list(_boundaries(body, workspace))
        marks = [
            index
            for index, boundary in enumerate(boundaries)
            if boundary.ttl is not None and boundary.tokens >= self._min_tokens
        ]
        if not marks:
            return Caching()
        now = self._clock()
        read = 0
        entries: list[tuple[bytes, str]] = []
        for mark in reversed(marks):
            for index in range(mark, max(-1, mark - LOOKBACK), -1):
                entry = self._entries.get(boundaries[index].digest)
                if entry is not None and entry.readable_at <= now < entry.expires_at:
                    read = boundaries[index].tokens
                    entries.append((boundaries[index].digest, boundaries[mark].ttl or "5m"))
                    break
            if read:
                break
        written = {"5m": 0, "1h": 0}
        done = read
        for mark in marks:
            boundary = boundaries[mark]
            if boundary.tokens > done:
                written[boundary.ttl or "5m"] += boundary.tokens - done
                done = boundary.tokens
                entries.append((boundary.digest, boundary.ttl or "5m"))
        return Caching(read, written["5m"], written["1h"], tuple(entries))

    def store(self, caching: Caching, readable_in: float) -> None:
        """Store or refresh entries; new ones are readable when the answer begins."""
        now = self._clock()
        for digest, ttl in caching.entries:
            known = self._entries.get(digest)
            alive = known is not None and known.expires_at > now
            readable_at = known.readable_at if known is not None and alive else now + readable_in
            self._entries[digest] = _Entry(readable_at, now + self._ttl[ttl])

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _boundaries(body: dict[str, Any], workspace: str) -> Iterator[Boundary]:
    thinking = body.get("thinking")
    config = body.get("output_config")
    digest = hashlib.sha256(
        to_json([workspace, body.get("model"), body.get("tool_choice"), thinking, config])
    )
    tokens = TOOLS_OVERHEAD if body.get("tools") else 0
    parts = list(_parts(body))
    marks = [block.get("cache_control") if isinstance(block, dict) else None for _, block in parts]
    if parts and marks[-1] is None:
        marks[-1] = body.get("cache_control")
    while marks and marks[-1] is None:
        marks.pop()  # nothing after the last mark is ever looked up
    for (place, block), mark in zip(parts, marks, strict=False):
        digest.update(place.encode())
        plain = block
        if isinstance(block, dict):
            plain = {name: value for name, value in block.items() if name != "cache_control"}
        digest.update(to_json(plain))
        tokens += json_tokens(plain) if place == "tool" else block_tokens(plain)
        ttl = None if mark is None else mark.get("ttl", "5m")
        yield Boundary(digest.digest(), tokens, ttl)


def _parts(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for tool in body.get("tools") or []:
        yield "tool", tool
    for block in blocks_of(body.get("system")):
        yield "system", block
    for message in body.get("messages", []):
        for block in blocks_of(message.get("content")):
            yield message.get("role", ""), block
