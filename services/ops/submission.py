"""From flags and the rows of a file to requests that are known to be valid. Pure.

Ids are derived from what is asked, so that the same row asked twice is the same request, whoever
submits the file again and whenever.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from services.ops.audit import SOURCE
from services.ops.failure import CommandFailed
from services.ops.prompt_check import PromptCheck
from services.ops.rows import Mapped, body_of_row
from sluice_contracts import (
    CompletionRequested,
    Encoded,
    InvalidEvent,
    Tier,
    decode_request,
    encode,
)
from sluice_contracts.topics import REQUEST_BYTES

ROOM_FOR_HEADERS: Final = 2048
"""The broker's limit counts the record's frame and headers too."""
_UNHASHED: Final = frozenset({"request_id", "deadline"})
_OWN_FIELDS: Final = frozenset({"tier", "key", "message"})
_DURATION: Final = re.compile(r"\+?(\d+)([smhd])")
_MOST_TOLD: Final = 10
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Submission:
    """One request, ready to publish."""

    tier: Tier
    request: CompletionRequested
    record: Encoded


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Read `name=value` options.

    Raises:
        CommandFailed: One of them has no `=`.
    """
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise CommandFailed(f"{option} {one!r} is not name=value; write {option} text=…")
        found[name] = value
    return found


def deadline_from(text: str, now: datetime) -> str:
    """Read a deadline: `10m` from now, or a date of RFC 3339, which is passed on."""
    return (now + duration_from(text)).isoformat() if _DURATION.fullmatch(text) else text


def duration_from(text: str) -> timedelta:
    """Read `30s`, `10m`, `2h` or `1d`.

    Raises:
        CommandFailed: The text is none of these.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandFailed(f"{text!r} is no duration; write 30s, 10m, 2h or 1d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


class BadRows(CommandFailed):
    """Rows of a file are no requests; `str()` says which, why, and what to do."""


class Submitter:
    """Builds submissions from bodies; remembers what it built, to tell equal rows apart.

    Args:
        flags: Fields that every request has unless its row says otherwise.
        tier: The tier, unless the row says otherwise.
        key: The ordering key, unless the row says otherwise.
        now: The date of the events, and what a relative deadline counts from.
        prompts: What prompts and variables are held against; None checks neither.
    """

    def __init__(
        self,
        flags: Mapping[str, Any],
        *,
        tier: Tier | None,
        key: str | None,
        now: datetime,
        prompts: PromptCheck | None = None,
    ) -> None:
        self._prompts = prompts
        self._flags = flags
        self._tier = tier
        self._key = key
        self._now = now
        self._seen: Counter[str] = Counter()

    def build(self, row: Mapping[str, Any]) -> Submission:
        """Build and check one request.

        Raises:
            CommandFailed: The request is not valid; nothing of it may be sent.
        """
        body = {**self._flags, **row}
        body["variables"] = {**self._flags.get("variables", {}), **row.get("variables", {})}
        own = {name: body.pop(name, None) for name in _OWN_FIELDS}
        if own["message"] is not None:
            body["messages"] = [
                *body.get("messages", ()),
                {"role": "user", "content": own["message"]},
            ]
        if isinstance(body.get("deadline"), str):
            body["deadline"] = deadline_from(body["deadline"], self._now)
        tier = self._tier_of(own["tier"])
        body.setdefault("request_id", self._derived_id(tier, body))
        try:
            request = decode_request(json.dumps(body, allow_nan=False, default=str).encode())
            record = encode(
                request, source=SOURCE, time=self._now, key=own["key"] or self._key,
                event_id=request.request_id,
            )  # fmt: skip
            decode_request(record.value, record.headers)
        except (InvalidEvent, ValueError) as exc:
            raise CommandFailed(str(exc)) from None
        if len(record.value) > REQUEST_BYTES - ROOM_FOR_HEADERS:
            raise CommandFailed(
                f"the request is {len(record.value)} bytes, a request topic takes {REQUEST_BYTES}; "
                "send less"
            )
        if self._prompts is not None:
            self._prompts.check(request)
        return Submission(tier, request, record)

    def _tier_of(self, said: Any) -> Tier:
        given = said or self._tier
        if given is None:
            raise CommandFailed("no tier is given; say --tier haiku, sonnet or opus")
        try:
            return Tier(given)
        except ValueError:
            known = ", ".join(Tier)
            raise CommandFailed(f"there is no tier {given!r}; there are: {known}") from None

    def _derived_id(self, tier: Tier, body: Mapping[str, Any]) -> str:
        asked = {name: value for name, value in body.items() if name not in _UNHASHED}
        text = json.dumps([tier, asked], sort_keys=True, default=str)
        digest = sha256(text.encode()).hexdigest()[:32]
        self._seen[digest] += 1
        # The second of two equal rows of one file is a request of its own, the same on every run.
        return digest if self._seen[digest] == 1 else f"{digest}-{self._seen[digest]}"


def check_all(
    rows: Iterable[dict[str, Any]], submitter: Submitter, mapped: Mapped, *, is_table: bool
) -> Iterator[Submission]:
    """Build the submissions of a file's rows; from the first bad one on, only look for others.

    Raises:
        BadRows: Rows are not valid, or carry the id of an earlier one; the header is no row.
    """
    first_row: dict[str, int] = {}
    bad: list[str] = []
    number = count = 0
    for number, row in enumerate(rows, 1):
        try:
            built = submitter.build(body_of_row(row, mapped, is_table=is_table))
            _take_id(built.request.request_id, number, first_row)
        except CommandFailed as exc:
            count += 1
            if count <= _MOST_TOLD:
                bad.append(f"row {number}: {exc}")
            continue
        if not count:
            yield built
    if count:
        more = [f"and {count - len(bad)} more"] if count > len(bad) else []
        raise BadRows("\n  ".join([f"{count} of {number} rows are bad:", *bad, *more]))


def _take_id(request_id: str, number: int, first_row: dict[str, int]) -> None:
    first = first_row.setdefault(request_id, number)
    if first != number:
        raise CommandFailed(
            f"request id {request_id!r} is that of row {first} too; ids are unique for ever, so "
            "give each row its own"
        )


def utc_now() -> datetime:
    """Return the date, with its zone."""
    return datetime.now(UTC)
