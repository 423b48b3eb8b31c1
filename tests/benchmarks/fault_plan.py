"""What goes wrong with which request, and where the error table says that it must end.

Every row of the table in `services/worker/api_errors.py` is met by a kind here
(`test_fault_plan.py` holds the two together), and so is every cause of our own stages that a
request can bring about.
Not met: a record that is in flight at several crashes, and an exception that nobody foresaw.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sluice_contracts import Tier

Ending = str
"""A failure code, or `succeeded`."""
PARKED_SECONDS: Final = 3
"""What the API asks to wait where the wait is to be held in memory …"""
RESTING_SECONDS: Final = 20
"""… and where it is to be held on a retry topic."""
ALLOWED_TOOL: Final = "allowed-tool"
NARROW_TOPIC: Final = "bench.narrow"
"""A topic that requests may name in `reply_to`, and that is too narrow for any outcome."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that goes wrong."""

    label: str
    ending: Ending
    row: str | None = None
    """The row of the table that decides about the failed call."""
    fault: Mapping[str, Any] | None = None
    """What the simulator does to calls of these requests."""
    is_once: bool = False
    """Whether only the first call meets it."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Members of the request that are other than usual."""
    at_most: int | None = None
    """How many there are, where it would otherwise take too long."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request that something goes wrong with."""

    kind: Kind
    number: int

    @property
    def name(self) -> str:
        """Its request id."""
        return f"case-{self.kind.label}-{self.number}"

    @property
    def mark(self) -> str:
        """Text that only this request's body holds, or only those of its kind."""
        mine = f" {self.number}" if self.kind.is_once else ""
        return f"[case {self.kind.label}{mine}]"

    @property
    def fault(self) -> dict[str, Any] | None:
        """The simulator's fault, None where nothing is wrong with the calls."""
        if self.kind.fault is None:
            return None
        often = {"count": 1} if self.kind.is_once else {"rate": 1.0}
        return {"contains": self.mark, "seconds": 60.0, **self.kind.fault, **often}

    def records(self, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Write the request with what is wrong with it, as one record or several."""
        body = {**body, **self.kind.body, "request_id": self.name}
        if self.kind.label == "unreadable":
            yield b"{" + json.dumps(body).encode()
            return
        yield json.dumps(body).encode()
        if self.kind.label == "twice":
            yield json.dumps(body).encode()
        elif self.kind.label == "conflict":
            yield json.dumps({**body, "tenant": "another"}).encode()


def _error(label: str, row: str, ending: Ending, **fault: Any) -> Kind:
    return Kind(label, ending, row, {"kind": label, **fault})


def _once(label: str, row: str | None, **fault: Any) -> Kind:
    told = {"kind": label.removeprefix("once-"), **fault}
    return Kind(label, "succeeded", row, told, is_once=True)


_answer: Final = partial(_error, kind="error")

DEAD_LETTERS: Final = (
    _error("bad_request", "rejected", "request_rejected"),
    _error("unprocessable", "rejected", "request_rejected"),
    _answer("file_expired", "rejected", "request_rejected", status=404, type="not_found_error",
            code="file_expired"),
    _error("prompt_too_long", "context", "context_too_long"),
    _error("context_exceeded", "context", "context_too_long"),
    _error("edge_too_large", "size", "request_too_large"),
    _error("oversize", "oversize", "exceeds_rate_limit"),
    _error("server_error_final", "hopeless", "upstream_failed"),
    _answer("not_implemented", "not implemented", "upstream_failed", status=501, type="api_error"),
)  # fmt: skip
"""The first answer decides."""

RETRIED: Final = (
    _error("server_error", "server", "upstream_failed"),
    _error("unavailable", "server", "upstream_failed"),
    _error("conflict_answer", "conflict", "upstream_failed", kind="conflict"),
    _answer("closed_request", "closed", "upstream_failed", status=499, type="api_error"),
    _answer("too_early", "told to retry", "upstream_failed", status=425, type="api_error",
            should_retry=True),
    _error("request_timeout", "timeout answer", "timed_out"),
    _error("gateway_timeout", "gateway timeout", "timed_out"),
    Kind("hang", "timed_out", "no answer", {"kind": "hang"}, at_most=6),
    Kind("overloaded", "overloaded", "overloaded", {"kind": "overloaded"}, at_most=4),
    Kind("unexplained_429", "rate_limited", "unexplained 429",
         {"kind": "error", "status": 429, "type": "rate_limit_error"}, at_most=1),
    _error("reset_before_headers", "connection lost", "unreachable"),
    _error("reset_in_body", "cut short", "upstream_failed"),
    _error("cut_in_body", "cut short", "upstream_failed"),
    _error("html", "not an answer", "upstream_failed"),
    _error("broken_json", "not an answer", "upstream_failed"),
    Kind("no_stop_reason", "upstream_failed", None,
         {"kind": "scripted", "content": [{"type": "text", "text": "{}"}], "stop_reason": None}),
)  # fmt: skip
"""Every call fails so, until no attempt is left."""

STREAMED: Final = tuple(
    Kind(label, ending, row, {"kind": label}, body={"stream": True})
    for label, row, ending in (
        ("stream_error_first", "overloaded", "overloaded"),
        ("stream_error_middle", "overloaded", "overloaded"),
        ("stream_cut", "cut short", "upstream_failed"),
        ("stream_reset", "cut short", "upstream_failed"),
        ("stream_unknown_event", None, "succeeded"),
    )
)
"""As above, for requests that ask for a stream."""

JUDGED: Final = tuple(
    Kind(label, ending, None, {"kind": label, "seconds": 2.0})
    for label, ending in (
        ("refusal", "refused"),
        ("refusal_after_text", "refused"),
        ("truncated", "truncated"),
        ("window_exceeded", "truncated"),
        ("thinking_only", "truncated"),
        ("content_empty", "output_invalid"),
        ("schema_violation", "output_invalid"),
        ("not_json", "output_invalid"),
        ("pause_turn", "upstream_failed"),
        ("slow", "succeeded"),
        ("unknown_block", "succeeded"),
        ("wrong_case", "succeeded"),
    )
)
"""The answer arrives, and stage `validate` decides."""

PASSING: Final = (
    _once("once-overloaded", "overloaded"),
    _once("once-server_error", "server"),
    _once("once-unavailable", "server", retry_after=PARKED_SECONDS),
    _once("once-server_error_final", "server", kind="server_error", retry_after=RESTING_SECONDS),
    _once("once-conflict", "conflict"),
    _once("once-request_timeout", "timeout answer"),
    _once("once-gateway_timeout", "gateway timeout"),
    _once("once-html", "not an answer"),
    _once("once-broken_json", "not an answer"),
    _once("once-cut_in_body", "cut short"),
    _once("once-reset_before_headers", "connection lost"),
    _once("once-reset_in_body", "cut short"),
    _once("once-not_json", None),
    _once("once-schema_violation", None),
    Kind("waits_parked", "succeeded", "rate",
         {"kind": "rate_limited", "retry_after": PARKED_SECONDS}, is_once=True, at_most=2),
    Kind("waits_resting", "succeeded", "rate",
         {"kind": "rate_limited", "retry_after": RESTING_SECONDS}, is_once=True, at_most=1),
    Kind("ramp", "succeeded", "ramp", {"kind": "ramp", "retry_after": PARKED_SECONDS},
         is_once=True, at_most=2),
    Kind("concurrency", "succeeded", "concurrency", {"kind": "concurrency"}, is_once=True,
         at_most=2),
)  # fmt: skip
"""Only the first call fails, and the request succeeds after all; what makes the whole group wait
comes a few times only."""

FATAL: Final = tuple(
    Kind(label, ending, row, {"kind": label, **more}, at_most=1)
    for label, row, ending, more in (
        ("spend_cap", "spend cap", "spend_limit_reached", {}),
        ("contract_spend_cap", "spend cap", "spend_limit_reached", {}),
        ("own_spend_limit", "own spend limit", "spend_limit_reached", {}),
        ("workspace_spend_limit", "own spend limit", "spend_limit_reached", {}),
        ("payment_required", "billing", "spend_limit_reached", {}),
        ("unauthorised", "key", "not_authorised", {}),
        ("forbidden", "permission", "not_authorised", {}),
        ("edge_forbidden", "permission", "not_authorised", {}),
        ("on_hold", "organisation", "not_authorised", {}),
        ("cmek_disabled", "organisation", "not_authorised",
         {"kind": "on_hold", "code": "cmek_key_disabled"}),
        ("cmek_blocked", "organisation", "not_authorised",
         {"kind": "on_hold", "code": "cmek_key_network_blocked"}),
        ("model_not_found", "model", "request_rejected", {}),
    )
)  # fmt: skip
"""One request each: the tier stops, canaries pass, and after three times it is the request."""

OUTAGE: Final = Kind("outage", "succeeded", "nobody listens")
"""Called, or held at the gate that the first ones close, while nobody listens."""

OWN: Final = (
    Kind("unreadable", "invalid_event"),
    Kind("no_schema", "invalid_event", body={"output_schema": {"type": "nonsense"}}),
    Kind("conflict", "succeeded"),
    Kind("twice", "succeeded"),
    Kind("unknown_prompt", "unknown_prompt", body={"prompt": "no-such-prompt"}),
    Kind("variables_missing", "variables_missing", body={"variables": {}}),
    Kind("variable_unknown", "invalid_event", body={"variables": {"text": "x", "colour": "red"}}),
    Kind("deadline", "deadline_passed", body={"deadline": "2020-01-01T00:00:00Z"}),
    Kind("reply_to", "not_authorised", body={"reply_to": "somebody.elses.topic"}),
    Kind("reply_narrow", "internal_error", body={"reply_to": NARROW_TOPIC}, at_most=4),
    Kind("tools", "not_authorised", body={"tools": ["rm"]}),
    Kind("tool_allowed", "tool_failed", body={"tools": [ALLOWED_TOOL]}),
    Kind("too_large", "request_too_large", at_most=1,
         body={"variables": {"text": "x" * 3_200_000}}),
    Kind("context", "context_too_long", at_most=1,
         body={"variables": {"text": "x " * 1_350_000}}),
    Kind("cancelled_in_topic", "cancelled"),
)  # fmt: skip
"""What goes wrong without a call; `twice` is published two times and has one outcome, `conflict`
two times with different bodies, of which the second is refused."""

CANCELLED: Final = (
    Kind("cancelled_parked", "cancelled", None,
         {"kind": "unavailable", "retry_after": PARKED_SECONDS}),
    Kind("cancelled_resting", "cancelled", None,
         {"kind": "unavailable", "retry_after": RESTING_SECONDS}),
)  # fmt: skip
"""Cancelled while they wait for another attempt, in memory and on a retry topic."""

THROTTLED: Final = (
    Kind("filler", "succeeded", body={"priority": "standard"}, at_most=12),
    Kind("cancelled_in_throttle", "cancelled", body={"priority": "bulk"}),
    Kind("deadline_in_throttle", "deadline_passed", body={"priority": "bulk"}),
    Kind("over_the_limit", "exceeds_rate_limit", at_most=2,
         body={"variables": {"text": "x " * 200_000}}),
)  # fmt: skip
"""On a tier with few requests a minute; the fillers come first and make the others wait."""
THROTTLED_TIER: Final = Tier.SONNET

MAIN: Final = (*DEAD_LETTERS, *RETRIED, *STREAMED, *JUDGED, *PASSING, *FATAL, *OWN)
"""What is mixed into the stream of tickets."""
KINDS: Final = (*MAIN, OUTAGE, *CANCELLED, *THROTTLED)


def cases(kinds: tuple[Kind, ...], per_kind: int) -> list[Case]:
    """List so many cases of each kind."""
    return [
        Case(kind, number)
        for kind in kinds
        for number in range(min(per_kind, kind.at_most or per_kind))
    ]


def kind_of(request_id: str) -> str:
    """Name the kind of a case by its id; plain tickets are one of their own."""
    return request_id.removeprefix("case-").rpartition("-")[0]
