"""A history in which every promise was kept, small enough to be read; mutated by `test_checker`.

Ten records: one plain and published twice, one failed and replayed, one sent to rest, one repeated
by a kill, one told to wait, one repaired, one whose send was never acknowledged.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.chaos.history import (
    Call,
    Fate,
    Fault,
    History,
    Input,
    Kind,
    Place,
    Plan,
    Progress,
    Sent,
    Written,
)

REQUESTS, RESULTS, LETTERS, RETRIES = "requests", "results", "dead-letters", "retries"
WORKER, OTHER = "worker-1.100", "worker-2.200"
WORKERS, RELAYS = "workers", "relays"
SCHEMA: Final = json.dumps({"type": "object", "required": ["intent"]})
CALLERS: Final = {"shop": b"bern"}
"""A header of the caller's own."""
_EXAMPLES: Final = Path(__file__).parents[2] / "contracts" / "examples"


def good() -> History:
    """Return the history."""
    inputs = (
        request("plain", 0, 0.0),
        request("failed", 1, 1.0),
        request("hopped", 2, 2.0),
        request("killed", 3, 3.0),
        request("waited", 4, 4.0),
        request("plain", 5, 5.0),
        request("repaired", 6, 6.0),
        request("maybe", 7, 7.0),
        replace(request("hopped", 8, 73.0), origin=(REQUESTS, 0, 2), attempt=1, not_before=72.0),
        replace(request("failed", 9, 80.0), generation=1, replay="plan-1"),
    )
    written = (
        result("plain", 0, 12.0, "c0", origin=0),
        failure("failed", 1, 12.0, "c1", origin=1),
        letter("failed", 0, 12.0, origin=1),
        replace(
            record("retry", "hopped", (RETRIES, 0, 0), 12.0, origin=2),
            attempt=1, not_before=72.0, code="overloaded",
        ),
        result("waited", 2, 16.0, "c7", origin=4),
        result("repaired", 3, 17.0, "c9", origin=6),
        result("maybe", 4, 18.0, "c10", origin=7),
        replace(result("hopped", 5, 82.0, "c3", origin=2), attempt=2),
        result("failed", 6, 85.0, "c11", origin=9, generation=1),
        result("killed", 7, 92.0, "c5", origin=3),
    )  # fmt: skip
    calls = (
        call("c0", "plain", 10.0, 11.0),
        failed_call("c1", "failed", 10.0, 11.0, 400),
        failed_call("c2", "hopped", 10.0, 11.0, 529),
        call("c3", "hopped", 80.0, 81.0),
        replace(failed_call("c4", "killed", 80.0, 85.0, 0), is_cut=True),
        replace(call("c5", "killed", 90.0, 91.0), worker=OTHER),
        replace(failed_call("c6", "waited", 10.0, 11.0, 429), retry_after=3.0),
        call("c7", "waited", 14.5, 15.5),
        replace(call("c8", "repaired", 14.0, 15.0), content="spoilt"),
        replace(call("c9", "repaired", 15.5, 16.5), body="repaired, again"),
        call("c10", "maybe", 16.0, 17.0),
        replace(call("c11", "failed", 83.0, 84.0), generation=1),
    )
    return History(
        sent=(
            *(
                Sent(r.request_id, r.body, r.place)
                for r in inputs
                if r.origin is None and r.replay is None and r.request_id != "maybe"
            ),
            Sent("maybe", "body of maybe", None),
            Sent("never", "body of never", None),
        ),
        inputs=inputs,
        written=written,
        calls=calls,
        faults=(Fault("kill", 85.0, 85.0, worker=WORKER, recovers_within=10.0),),
        progress=(
            step(2, 13.0),
            step(2, 18.5, {2, 4, 5, 6, 7}),
            step(3, 82.5, {4, 5, 6, 7, 8}),
            step(3, 85.5, {4, 5, 6, 7, 8, 9}),
            step(10, 93.0),
            Progress(RELAYS, (RETRIES, 0), 1, 73.5),
        ),
        fates={
            **{record.place: Fate.PLAIN for record in inputs},
            **{record.place: Fate.COMMITTED for record in written},
            (RESULTS, 0, 99): Fate.ABORTED,
        },
        seen={"plain": 12.5, "killed": 92.5},
        plans=(Plan("plan-1", frozenset({(LETTERS, 0, 0)}), audited=(("failed", 1),)),),
    )


def request(name: str, offset: int, at: float) -> Input:
    """Make the first record of a request."""
    place = (REQUESTS, 0, offset)
    return Input(name, 0, place, f"body of {name}", at, headers=CALLERS, schema=SCHEMA)


def step(offset: int, at: float, complete: set[int] | None = None) -> Progress:
    """Make a commit of the workers' group."""
    return Progress(WORKERS, (REQUESTS, 0), offset, at, frozenset(complete or ()))


def call(name: str, request_id: str, started: float, ended: float) -> Call:
    """Make a call that was answered."""
    return Call(
        request_id, 0, "1.1", started, ended, 200, WORKER, request_id, name,
        is_answered=True, content=f"content of {name}",
    )  # fmt: skip


def failed_call(name: str, request_id: str, started: float, ended: float, status: int) -> Call:
    """Make a call that was answered by an error, or not at all."""
    return Call(request_id, 0, "1.1", started, ended, status, WORKER, request_id, name)


def record(kind: Kind, name: str, place: Place, at: float, *, origin: int) -> Written:
    """Make a record on an output topic."""
    return Written(
        kind, name, 0, 1, place, (REQUESTS, 0, origin), at,
        body=f"body of {name}", headers=CALLERS,
    )  # fmt: skip


def result(
    name: str, offset: int, at: float, called: str, *, origin: int, generation: int = 0
) -> Written:
    """Make a success."""
    made = record("result", name, (RESULTS, 0, offset), at, origin=origin)
    event = {**_example("succeeded"), "output": {"intent": "card_arrival"}}
    return replace(
        made, generation=generation, event=event, api_request_id=called,
        content=f"content of {called}",
    )  # fmt: skip


def failure(name: str, offset: int, at: float, called: str, *, origin: int) -> Written:
    """Make a failed outcome."""
    made = record("result", name, (RESULTS, 0, offset), at, origin=origin)
    code = "request_rejected"
    return replace(made, event=_example("failed"), api_request_id=called, code=code)


def letter(name: str, offset: int, at: float, *, origin: int) -> Written:
    """Make a dead letter with all its headers."""
    made = record("dead_letter", name, (LETTERS, 0, offset), at, origin=origin)
    headers = {
        "x-request-id": name.encode(),
        "x-root-id": name.encode(),
        "x-generation": b"0",
        "x-attempt": b"1",
        "x-failure-code": b"request_rejected",
        "x-failure-detail": b"API answered 400",
        "x-failure-reason": b"request_rejected: rejected",
        "x-attempt-history": b"1 request_rejected 2026-11-23T09:30:00+00:00",
        "x-first-time": b"2026-11-23T09:30:00+00:00",
        "x-last-time": b"2026-11-23T09:30:01+00:00",
        "x-worker-version": b"0.1.0",
        "x-origin-topic": REQUESTS.encode(),
        "x-origin-partition": b"0",
        "x-origin-offset": str(origin).encode(),
        "x-origin-timestamp": b"1000",
        "kafka_dlt-original-topic": REQUESTS.encode(),
        "kafka_dlt-original-partition": struct.pack(">i", 0),
        "kafka_dlt-original-offset": struct.pack(">q", origin),
        "kafka_dlt-original-timestamp": struct.pack(">q", 1000),
    }
    return replace(made, headers={**CALLERS, **headers}, code="request_rejected")


def _example(ending: str) -> Mapping[str, Any]:
    file = _EXAMPLES / f"claude.completion.{ending}.v1" / "minimal.json"
    found: Mapping[str, Any] = json.loads(file.read_text())
    return found
