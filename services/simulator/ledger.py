"""Every call, in order of its end: what a checker reads to count paid calls and duplicates.

A line is written and flushed when a call ends, so that a killed simulator loses none that ended. A
call still in flight when it is killed has no line; `begun` counts it.
"""

import hashlib
import io
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import to_json


@dataclass(slots=True)
class Call:
    """One call; `charged` are the tokens that the limits were charged for."""

    n: int
    path: str
    arrived_at: float
    """Wall clock, seconds since 1970."""
    arrived: float
    """The loop's clock."""
    ended_at: float = 0.0
    ended: float = 0.0
    key: str = ""
    model: str = ""
    group: str = ""
    body_sha256: str = ""
    request_id: str = ""
    """Our own answer's request-id."""
    sluice_request_id: str | None = None
    sluice_generation: str | None = None
    sluice_attempt: str | None = None
    sluice_worker: str | None = None
    status: int = 0
    outcome: str = ""
    """`ok`, an error's type, a fault's kind, `outage`, or `client_closed`."""
    fault: str | None = None
    retry_after: str | None = None
    """What an error answer asked the caller to wait."""
    stop_reason: str | None = None
    content_sha256: str | None = None
    """Of the answer's content (`digest_of`): whoever has a result can tell whether it is this."""
    input_tokens: float = 0
    cache_read_tokens: float = 0
    cache_write_tokens: float = 0
    output_tokens: float = 0
    charged_input_tokens: float = 0
    charged_output_tokens: float = 0


_FIELDS = tuple(entry.name for entry in fields(Call))


class Ledger:
    """The log of calls: the latest in memory, all of them in a file if one is given."""

    def __init__(self, file: Path | None, kept: int) -> None:
        self.begun = 0
        self._ended = 0
        self._outcomes: Counter[str] = Counter()
        self._calls: deque[Call] = deque(maxlen=kept)
        self._file: io.TextIOWrapper | None = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("a", encoding="utf-8")

    def begin(self, path: str, headers: dict[str, str], arrived: float) -> Call:
        """Open the record of a call."""
        self.begun += 1
        return Call(
            n=self.begun,
            path=path,
            arrived_at=time.time(),
            arrived=arrived,
            sluice_request_id=headers.get("x-sluice-request-id"),
            sluice_generation=headers.get("x-sluice-generation"),
            sluice_attempt=headers.get("x-sluice-attempt"),
            sluice_worker=headers.get("x-sluice-worker"),
        )

    def end(self, call: Call, now: float) -> None:
        """Close the record of a call and write it."""
        call.ended = now
        call.ended_at = time.time()
        self._ended += 1
        self._outcomes[call.outcome] += 1
        self._calls.append(call)
        if self._file is not None:
            self._file.write(_line(call))
            self._file.flush()

    def lines(self, since: int = 0) -> str:
        """Return the calls that ended, from the `since`-th on and as far as kept, as JSON lines."""
        dropped = self._ended - len(self._calls)
        return "".join(map(_line, islice(self._calls, max(0, since - dropped), None)))

    def summary(self) -> dict[str, object]:
        """Return counts by outcome, of all calls."""
        return {"begun": self.begun, "ended": self._ended, "outcomes": dict(self._outcomes)}

    def forget(self) -> None:
        """Drop the calls held in memory; the file keeps them, and so do the counts."""
        self._calls.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def digest_of(content: list[dict[str, Any]]) -> str:
    """Digest an answer's content blocks; the order of members says nothing."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _line(call: Call) -> str:
    return to_json({name: getattr(call, name) for name in _FIELDS}).decode() + "\n"
