"""A record on a dead-letter topic, read header first: the body is parsed only when asked for."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

from aiokafka.structs import ConsumerRecord
from pydantic_core import from_json

from sluice_contracts import DataClassification, Headers, Tier
from sluice_contracts import headers as h

TENANT: Final = "x-tenant"
PROMPT: Final = "x-prompt"
"""Where a worker repeats these two of the body, filtering by them costs no parsing."""
REASON: Final = "x-failure-reason"
HISTORY: Final = "x-attempt-history"
UNKNOWN: Final = "unknown"


class Place(NamedTuple):
    """Where a dead letter rests; written `haiku/3/1542`."""

    tier: Tier
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.tier}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """Read a place as it is written, or return None where the text is none."""
        parts = text.split("/")
        if len(parts) != 3 or parts[0] not in set(Tier) or not all(map(str.isdigit, parts[1:])):  # noqa: PLR2004
            return None
        return cls(Tier(parts[0]), int(parts[1]), int(parts[2]))


class Letter:
    """What headers, and if need be the body, say about one dead letter."""

    def __init__(self, tier: Tier, record: "ConsumerRecord[bytes | None, bytes | None]") -> None:
        self.tier: Final = tier
        self.record: Final = record
        self._said: dict[str, bytes | None] | None = None

    @property
    def place(self) -> Place:
        """Where it rests."""
        return Place(self.tier, self.record.partition, self.record.offset)

    @property
    def headers(self) -> Headers:
        """All its headers, in order."""
        return tuple(self.record.headers)

    def said(self, name: str) -> str | None:
        """Return a header as text, or None."""
        if self._said is None:
            self._said = dict(self.record.headers)  # the last one counts
        value = self._said.get(name)
        return None if value is None else value.decode(errors="replace")

    def _number(self, name: str) -> int | None:
        text = self.said(name)
        return int(text) if text is not None and text.isascii() and text.isdigit() else None

    @property
    def code(self) -> str:
        """The failure code; `unknown` on a record that a stranger put here."""
        return self.said(h.FAILURE_CODE) or UNKNOWN

    @property
    def detail(self) -> str:
        """The failure for people."""
        return self.said(h.FAILURE_DETAIL) or ""

    @property
    def reason(self) -> str:
        """The failure without what differs between requests: what people group by."""
        return self.said(REASON) or self.code

    @property
    def history(self) -> list[str]:
        """Its attempts, one line each, as far as the worker wrote them down."""
        return [entry for entry in (self.said(HISTORY) or "").split(";") if entry]

    @property
    def is_restricted(self) -> bool:
        """Whether its content must not be shown without being asked for."""
        return self.body.get("data_classification") == DataClassification.RESTRICTED

    @property
    def attempts(self) -> int:
        """Calls that were made before it was given up."""
        return self._number(h.ATTEMPT) or 0

    @property
    def generation(self) -> int:
        """How often it was replayed before."""
        return self._number(h.GENERATION) or 0

    @property
    def request_id(self) -> str:
        """The request's id; of an unreadable request the coordinates of its record."""
        return self.said(h.REQUEST_ID) or str(self.place)

    @property
    def root_id(self) -> str:
        """The id of the first record of this request, whatever was replayed since."""
        return self.said(h.ROOT_ID) or self.request_id

    @property
    def timestamp_ms(self) -> int:
        """When it came to rest, Unix milliseconds."""
        return int(self.record.timestamp)

    @property
    def died_at(self) -> datetime:
        """When it came to rest."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    @property
    def origin(self) -> str | None:
        """Topic, partition and offset of the request record."""
        topic = self.said(h.ORIGIN_TOPIC)
        if topic is None:
            return None
        return f"{topic}/{self.said(h.ORIGIN_PARTITION)}/{self.said(h.ORIGIN_OFFSET)}"

    @property
    def key(self) -> str:
        """The record's key as text."""
        return (self.record.key or b"").decode(errors="replace")

    @cached_property
    def body(self) -> dict[str, Any]:
        """The request as JSON; empty where it is no JSON object."""
        try:
            parsed = from_json(self.record.value or b"")
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @property
    def tenant(self) -> str:
        """Who asked."""
        return self.said(TENANT) or str(self.body.get("tenant") or "default")

    @property
    def prompt(self) -> str:
        """The prompt that was asked for, `-` for bare messages."""
        return self.said(PROMPT) or str(self.body.get("prompt") or "-")

    def facts(self) -> dict[str, Any]:
        """Return what is known of it as JSON, without its content."""
        return {
            "place": str(self.place),
            "tier": str(self.tier),
            "partition": self.record.partition,
            "offset": self.record.offset,
            "request_id": self.request_id,
            "root_id": self.root_id,
            "generation": self.generation,
            "code": self.code,
            "reason": self.reason,
            "detail": self.detail,
            "attempts": self.attempts,
            "died_at": self.died_at.isoformat(),
            "origin": self.origin,
            "key": self.key,
            "tenant": self.tenant,
            "prompt": self.prompt,
            "bytes": len(self.record.value or b""),
        }
