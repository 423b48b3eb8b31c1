"""S1, S2, S7, S8: what subscribers see, against what upstream sent and the API answered."""

import json
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jsonschema import Draft202012Validator

from sluice_contracts import headers as h
from sluice_contracts.topics import FAILED_TYPE, SUCCEEDED_TYPE
from tests.chaos.history import Fate, History, Identity, Input, Written

_SCHEMAS: Final = Path(__file__).parents[3] / "contracts" / "schemas"
_ORIGIN: Final = (h.ORIGIN_TOPIC, h.ORIGIN_PARTITION, h.ORIGIN_OFFSET, h.ORIGIN_TIMESTAMP)
_SPRING: Final = {
    "kafka_dlt-original-topic": (h.ORIGIN_TOPIC, None),
    "kafka_dlt-original-partition": (h.ORIGIN_PARTITION, ">i"),
    "kafka_dlt-original-offset": (h.ORIGIN_OFFSET, ">q"),
    "kafka_dlt-original-timestamp": (h.ORIGIN_TIMESTAMP, ">q"),
}
"""What other Kafka tools read: our header that says the same, and how theirs is packed."""
REQUIRED_OF_DEAD_LETTERS: Final = frozenset(
    {
        h.REQUEST_ID, h.ROOT_ID, h.GENERATION, h.ATTEMPT, h.FAILURE_CODE, h.FAILURE_DETAIL,
        h.FAILURE_REASON, h.ATTEMPT_HISTORY, h.FIRST_TIME, h.LAST_TIME, h.WORKER_VERSION,
        *_ORIGIN, *_SPRING,
    }
)  # fmt: skip


def wanted(history: History) -> dict[Identity, set[str]]:
    """Return what must have outcomes, and the different bodies under each name.

    What upstream sent and the broker acknowledged, what it sent and is there although nobody
    acknowledged it, and what replays sent. The same body published twice is one request; another
    body under a name that was used is refused, which is an outcome of its own.
    """
    bodies: defaultdict[Identity, set[str]] = defaultdict(set)
    for sent in history.sent:
        if sent.place is not None:
            bodies[sent.request_id, 0].add(sent.body)
    indeterminate = _indeterminate(history)
    for record in history.inputs:
        if record.replay is not None or (record.origin is None and record.body in indeterminate):
            bodies[record.identity].add(record.body)
    return bodies


def count(history: History) -> tuple[int, int]:
    """Return how many outcomes are missing, and how many there are too many."""
    found = _results(history)
    lost = duplicates = 0
    for identity, bodies in wanted(history).items():
        excess = len(found.get(identity, ())) - len(bodies)
        lost += max(0, -excess)
        duplicates += max(0, excess)
    return lost, duplicates


def exactly_one(history: History) -> Iterator[str]:
    """S1: one outcome each; a failed one and its dead letter are one transaction."""
    found, required = _results(history), wanted(history)
    for identity, bodies in required.items():
        number = len(found.get(identity, ()))
        if number != len(bodies):
            yield f"S1: {identity} has {number} outcomes of {len(bodies)}"
    letters = Counter(r.identity for r in history.written if r.kind == "dead_letter")
    for identity in found.keys() | letters.keys():
        failed = sum(not record.succeeded for record in found.get(identity, ()))
        if failed != letters[identity]:
            yield f"S1: {identity} has {failed} failed outcomes, {letters[identity]} dead letters"


def no_phantom(history: History) -> Iterator[str]:
    """S2: everything has a parent: inputs a sender, outputs a request, successes a call."""
    yield from _inputs_have_senders(history)
    required = wanted(history)
    firsts = {record.place: record for record in history.inputs if record.origin is None}
    calls = {call.api_request_id: call for call in history.calls}
    for record in history.written:
        if record.identity not in required:
            yield f"S2: {record.place} is of {record.identity}, which nobody sent"
        parent = firsts.get(record.origin) if record.origin else None
        if parent is None or parent.identity != record.identity:
            yield f"S2: {record.place} names {record.origin}, which is not its request"
        if record.kind != "result" or (record.api_request_id is None and not record.succeeded):
            continue
        call = calls.get(record.api_request_id)
        if call is None or call.identity != record.identity:
            yield f"S2: {record.place} names {record.api_request_id}, which is no call of its own"
        elif record.succeeded and not (call.is_answered and call.content == record.content):
            yield f"S2: {record.place} is not what {record.api_request_id} was answered"


def _inputs_have_senders(history: History) -> Iterator[str]:
    acknowledged = {sent.place: sent for sent in history.sent if sent.place is not None}
    indeterminate = _indeterminate(history)
    plans = {plan.plan_id for plan in history.plans}
    places = set()
    for record in history.inputs:
        places.add(record.place)
        sent = acknowledged.get(record.place)
        if sent is not None:
            if (sent.request_id, sent.body) != (record.request_id, record.body):
                yield f"S2: {record.place} is not what upstream sent"
        elif record.replay is not None:
            if record.replay not in plans:
                yield f"S2: {record.place} is of {record.replay}, which nobody planned"
        elif record.origin is None and record.body not in indeterminate:
            yield f"S2: {record.place} was sent by nobody"
    for place in acknowledged.keys() - places:
        yield f"S1: {place} was acknowledged to upstream and is not there"


def aborted_stay_hidden(history: History) -> Iterator[str]:
    """S7: readers see all that was committed, nothing else, and outputs only by transactions."""
    if not history.fates:
        return
    allowed = {record.place: {Fate.COMMITTED, Fate.PLAIN} for record in history.inputs}
    allowed |= {record.place: {Fate.COMMITTED} for record in history.written}
    for place, fates in allowed.items():
        fate = history.fates.get(place)
        if fate not in fates:
            yield f"S7: {place} is read and is {fate.value if fate else 'not in the log'}"
    for place, fate in history.fates.items():
        if fate is Fate.COMMITTED and place not in allowed:
            yield f"S7: {place} is committed and nobody can read it"


def whole(history: History) -> Iterator[str]:
    """S8: events keep the contract, outputs their schema, dead letters everything about them."""
    firsts = {record.place: record for record in history.inputs if record.origin is None}
    for record in history.written:
        parent = firsts.get(record.origin) if record.origin else None
        if parent is None:
            continue  # S2's business
        if record.kind == "result":
            yield from _event_is_whole(record, parent)
        elif record.kind == "dead_letter":
            yield from _dead_letter_is_whole(record, parent)
        lacking = [
            name
            for name, value in _of_the_caller(parent.headers)
            if record.headers.get(name) != value
        ]
        if lacking:
            yield f"S8: {record.place} lacks the caller's {sorted(lacking)}"


def _event_is_whole(record: Written, parent: Input) -> Iterator[str]:
    contract = _contract(SUCCEEDED_TYPE if record.succeeded else FAILED_TYPE)
    for problem in contract.iter_errors(record.event):
        yield f"S8: {record.place} breaks its contract at {problem.json_path}"
    if record.succeeded and parent.schema is not None:
        for problem in _compiled(parent.schema).iter_errors(record.event.get("output")):
            yield f"S8: the output of {record.place} breaks its schema at {problem.json_path}"


def _dead_letter_is_whole(record: Written, parent: Input) -> Iterator[str]:
    missing = REQUIRED_OF_DEAD_LETTERS - record.headers.keys()
    if missing:
        yield f"S8: dead letter {record.place} lacks {sorted(missing)}"
        return
    if record.body != parent.body:
        yield f"S8: dead letter {record.place} is not the bytes of {record.origin}"
    for name, (ours, form) in _SPRING.items():
        said = record.headers[ours]
        if record.headers[name] != (said if form is None else struct.pack(form, int(said))):
            yield f"S8: dead letter {record.place} says another {name} than {ours}"
    if record.headers[h.REQUEST_ID] != record.request_id.encode():
        yield f"S8: dead letter {record.place} names another request"


def _of_the_caller(headers: Mapping[str, bytes]) -> Iterable[tuple[str, bytes]]:
    return (
        (name, value)
        for name, value in headers.items()
        if name not in h.OURS and name not in h.CLOUDEVENTS
    )


def _results(history: History) -> dict[Identity, list[Written]]:
    found: defaultdict[Identity, list[Written]] = defaultdict(list)
    for record in history.written:
        if record.kind == "result":
            found[record.identity].append(record)
    return found


def _indeterminate(history: History) -> frozenset[str]:
    return frozenset(sent.body for sent in history.sent if sent.place is None)


@cache
def _contract(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((_SCHEMAS / f"{name}.json").read_text()))


@cache
def _compiled(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))
