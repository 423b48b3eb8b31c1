"""Why the simulator's answer may differ from a recording: an explicit table, each row counted.

A difference without a row fails the suite. What the recordings themselves show decides whether a
header is one that a project's recorder never keeps, and whether a member is younger than a
recording: neither is written down by hand.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from statistics import median
from typing import Any

from tests.fidelity.replay import SCRUBBED
from tests.fidelity.shapes import Shape

Recording = dict[str, Any]
_DAWN = datetime(2024, 1, 1, tzinfo=UTC)


class Nature(Enum):
    """What kind of difference it is."""

    RECORDER = "the recorder's doing"
    TIME = "the API was or is another then"
    CHANCE = "by chance, at the API as here"
    LACKING = "not imitated"


class Facts:
    """What all recordings together say."""

    def __init__(self, recordings: Sequence[tuple[Recording, Shape]]) -> None:
        self._since: dict[str, datetime] = {}
        for recording, shape in recordings:
            made = made_at(recording)
            if made is not None:
                for name in (*shape.headers, *shape.body):
                    self._since[name] = min(self._since.get(name, made), made)
        self._kept: dict[str, Counter[str]] = defaultdict(Counter)
        self._made: dict[str, list[datetime]] = defaultdict(list)
        self._sizes: dict[str, list[int]] = defaultdict(list)
        for recording, shape in recordings:
            self._kept[recording["repo"]].update(shape.headers)
            self._made[recording["repo"]].append(made_at(recording) or _DAWN)
            self._sizes[recording["repo"]].append(len(shape.headers))

    def keeps(self, recording: Recording, header: str) -> bool:
        """Whether this project's recorder keeps the header more often than not."""
        since = self._since.get(header, _DAWN)
        could = sum(made >= since for made in self._made[recording["repo"]])
        return self._kept[recording["repo"]][header] * 2 > could

    def is_meagre(self, recording: Recording) -> bool:
        """Whether this recording kept less than half of what its project usually keeps."""
        sizes = self._sizes[recording["repo"]]
        return len(recording["response"]["headers"]) * 2 < median(sizes)

    def is_younger(self, recording: Recording, name: str) -> bool:
        """Whether a header or member came up after this recording, or may have: it has no date."""
        since = self._since.get(name)
        return since is None or (made_at(recording) or _DAWN) < since


def made_at(recording: Recording) -> datetime | None:
    """Read when a recording was made, from its own `date` header, where that was kept."""
    kept: Mapping[str, Any] = recording["response"]["headers"]
    said = next((value for name, value in kept.items() if name.lower() == "date"), "")
    try:
        return parsedate_to_datetime(said[0] if isinstance(said, list) else said)
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Reason:
    """One known difference."""

    text: str
    nature: Nature
    difference: str
    """A regular expression for the difference, for example `header via is missing`."""
    applies: Callable[[Recording, Facts, str], bool] = lambda _recording, _facts, _name: True
    """Told the recording, what all of them say, and what the expression's group found."""


def _path(prefix: str) -> Callable[[Recording, Facts, str], bool]:
    return lambda recording, _, __: recording["request"]["path"].startswith(prefix)


def _before(year: int, month: int, day: int = 1) -> Callable[[Recording, Facts, str], bool]:
    moment = datetime(year, month, day, tzinfo=UTC)
    return lambda recording, _, __: (made_at(recording) or _DAWN) < moment


def _used_server_tools(recording: Recording, _: Facts, __: str) -> bool:
    tags = recording["tags"]
    return any(
        tag.startswith(("srvtool:", "block:server", "block:web", "req:mcp", "block:code"))
        for tag in tags
    )


def _text_scrubbed(recording: Recording, _: Facts, __: str) -> bool:
    return SCRUBBED in str(recording["request"]["body"])


def _not_kept(recording: Recording, facts: Facts, header: str) -> bool:
    return not facts.keeps(recording, header)


def _younger(recording: Recording, facts: Facts, name: str) -> bool:
    return facts.is_younger(recording, name)


def _is_error(recording: Recording, _: Facts, __: str) -> bool:
    return bool(recording["response"]["status"] != 200)


REASONS: tuple[Reason, ...] = (
    # What the recording shows and the simulator does not.
    Reason(
        "Google's load balancer, gone since late 2025",
        Nature.TIME,
        r"header (via|x-cloud-trace-context) is missing",
    ),
    Reason(
        "Envoy's timing, gone since mid-2026",
        Nature.TIME,
        r"header x-envoy-upstream-service-time is missing",
    ),
    Reason(
        "caching headers on plain answers, 2024 only",
        Nature.TIME,
        r"header cache-control is missing",
    ),
    Reason(
        "before mid-March 2026 an oversize refusal showed every limit",
        Nature.TIME,
        r"header anthropic-ratelimit-(?:output-)?tokens-\w+ is missing",
        _before(2026, 3, 10),
    ),
    Reason(
        "before mid-February 2026 an oversize request was told to wait",
        Nature.TIME,
        r"header retry-after is missing",
        _before(2026, 2, 15),
    ),
    Reason(
        "a recorder that unpacked the body and counted it anew",
        Nature.RECORDER,
        r"header content-length is missing",
    ),
    Reason(
        "the edge times some answers only",
        Nature.CHANCE,
        r"header server-timing is (?:missing|extra)",
    ),
    Reason(
        "input counts are repeated in message_delta in about four streams of five",
        Nature.CHANCE,
        r"member message_delta\.usage\.(?:input_tokens|cache_\w+_input_tokens) is",
    ),
    Reason(
        "the request was not recorded, and may have asked for thinking",
        Nature.RECORDER,
        r"member message_delta\.usage\.output_tokens_details",
        lambda recording, _, __: not isinstance(recording["request"]["body"], dict),
    ),
    Reason(
        "server tools, containers and MCP servers are not imitated",
        Nature.LACKING,
        r"member (?:message_delta\.|message_start\.message\.)?(?:delta\.)?"
        r"(?:usage\.server_tool_use|container)",
    ),
    Reason(
        "server tools, containers and MCP servers are not imitated",
        Nature.LACKING,
        r"(?:events|ping) ",
        _used_server_tools,
    ),
    Reason(
        "context editing and compaction are not imitated",
        Nature.LACKING,
        r"member (?:message_delta\.)?(?:context_management|usage\.iterations)",
    ),
    Reason(
        "the Files API is not imitated", Nature.LACKING, r"status \d+ is 404", _path("/v1/files")
    ),
    Reason(
        "the legacy Text Completions API is not imitated",
        Nature.LACKING,
        r"status 200",
        _path("/v1/complete"),
    ),
    Reason(
        "in eight of 230 streams pings come elsewhere or several times",
        Nature.LACKING,
        r"ping (?:3|\d+ and .*) is where none comes here",
    ),
    Reason(
        "what is no path of the API is refused at the edge, here by the API",
        Nature.LACKING,
        r"header \S+ is extra",
        lambda recording, _, __: recording["request"]["path"] == "/",
    ),
    Reason(
        "the request's text was removed from the recording, so it is not too long any more",
        Nature.RECORDER,
        r"status 400 is 200",
        _text_scrubbed,
    ),
    Reason(
        "in 2024 the API took a tool result for another tool use's id",
        Nature.TIME,
        r"status 200 is 400: .*tool_use` ids were found",
    ),
    Reason(
        "wording before June 2026",
        Nature.TIME,
        r"error rate_limit_error: .*(?:Please reduce the prompt|the rate limit for your"
        r" organization|your per-minute rate limit).* is rate_limit_error: ",
    ),
    # What the simulator shows and the recording does not.
    Reason(
        "the project's recorder keeps this header now and then at most",
        Nature.RECORDER,
        r"header (\S+) is extra",
        _not_kept,
    ),
    Reason(
        "the header is younger than the recording",
        Nature.TIME,
        r"header (\S+) is extra",
        _younger,
    ),
    Reason(
        "the member is younger than the recording, or the recording has no date",
        Nature.TIME,
        r"member (\S+) is extra",
        _younger,
    ),
    Reason(
        "a recorder that kept few of the headers this once",
        Nature.RECORDER,
        r"header \S+ is extra",
        lambda recording, facts, _: facts.is_meagre(recording),
    ),
    Reason(
        "recorders remove cookies and rays",
        Nature.RECORDER,
        r"header (?:set-cookie|cf-ray) is extra",
    ),
    Reason(
        "until April 2026 errors came with a length",
        Nature.TIME,
        r"header transfer-encoding is extra",
        lambda *of: _is_error(*of) and _before(2026, 4, 10)(*of),
    ),
    Reason(
        "until February 2026 Sonnet 4 showed no limit of requests",
        Nature.TIME,
        r"header anthropic-ratelimit-requests-\w+ is extra",
        _before(2026, 2),
    ),
    Reason(
        "two answers name no organisation, a 500 among them",
        Nature.CHANCE,
        r"header anthropic-organization-id is extra",
    ),
    Reason(
        "the edge says what its answer varies by now and then",
        Nature.CHANCE,
        r"header vary is extra",
    ),
    Reason(
        "few answers carry a retry-after that means nothing, here all do",
        Nature.CHANCE,
        r"header retry-after is extra",
    ),
    Reason(
        "the edge compresses some answers only, here all",
        Nature.CHANCE,
        r"header content-encoding is extra",
    ),
)


def reason_for(difference: str, recording: Recording, facts: Facts) -> Reason | None:
    """Return why a recording differs, or None."""
    for reason in REASONS:
        found = re.match(reason.difference, difference)
        if found and reason.applies(recording, facts, next(iter(found.groups()), "")):
            return reason
    return None
