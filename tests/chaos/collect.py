"""Reads what a run left behind, with confluent-kafka: a client that the worker does not use."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from sluice_contracts import Tier, TopicNames, identity
from sluice_contracts import headers as h
from sluice_contracts.topics import RetryDelay
from tests.chaos.asked import schema_of
from tests.chaos.fates import fates
from tests.chaos.history import (
    Call,
    History,
    Input,
    Kind,
    Place,
    Plan,
    Progress,
    Sent,
    Written,
)
from tests.chaos.offsets import OFFSETS_TOPIC
from tests.chaos.offsets import progress as read_progress

WORKERS: Final = "sluice-worker"
RELAYS: Final = "sluice-relay"
_PASSING: Final = frozenset({"ok", "slow", "unknown_block", "stream_unknown_event", "wrong_case"})
_SPOILT: Final = frozenset(
    {
        "scripted", "refusal", "refusal_after_text", "content_empty", "truncated", "thinking_only",
        "window_exceeded", "pause_turn", "schema_violation", "not_json",
    }
)  # fmt: skip
"""What the simulator's log calls answers that arrived whole, fit to pass and not."""
_BROKEN: Final = frozenset(
    {
        "stream_error_first", "stream_error_middle", "stream_cut", "stream_reset", "html",
        "reset_before_headers", "reset_in_body", "cut_in_body", "broken_json",
    }
)  # fmt: skip
"""What makes a caller hang up by itself."""


def history(
    bootstrap: str, names: TopicNames, call_log: Path, *, sent: tuple[Sent, ...], **noted: Any
) -> History:
    """Read everything that a run left, beside what it noted itself."""
    outputs = tuple(written(bootstrap, names))
    return History(
        sent=sent,
        inputs=tuple(inputs(bootstrap, names)),
        written=outputs,
        calls=tuple(calls(call_log)),
        progress=tuple(progress(bootstrap, {WORKERS, RELAYS})),
        fates=fates(bootstrap, [*request_topics(names), *output_topics(names)]),
        plans=tuple(plans(bootstrap, names, outputs)),
        **noted,
    )


def scan(bootstrap: str, topics: Collection[str]) -> Iterator[Message]:
    """Yield every record up to the topics' ends that a `read_committed` reader sees."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    try:
        known = consumer.list_topics(timeout=30).topics
        places = [
            TopicPartition(topic, number, 0)
            for topic in topics
            if topic in known
            for number in known[topic].partitions
        ]
        open_places = {(place.topic, place.partition) for place in places}
        consumer.assign(places)
        while open_places:
            for message in consumer.consume(500, timeout=10):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_places.discard((message.topic(), message.partition()))
                else:
                    raise RuntimeError(f"{message.topic()}: {error}")
    finally:
        consumer.close()


def request_topics(names: TopicNames) -> list[str]:
    """Name the topics that requests are published to."""
    return [names.requests(tier) for tier in Tier]


def output_topics(names: TopicNames) -> dict[str, Kind]:
    """Name the topics that outcomes, dead letters and hops are written to."""
    kinds: dict[str, Kind] = {}
    for tier in Tier:
        kinds[names.results(tier)] = "result"
        kinds[names.dead_letters(tier)] = "dead_letter"
    for delay in RetryDelay:
        kinds[names.retries(delay)] = "retry"
    return kinds


def inputs(bootstrap: str, names: TopicNames) -> Iterator[Input]:
    """Yield every record of the request topics."""
    for message in scan(bootstrap, request_topics(names)):
        headers = _headers(message)
        yield Input(
            request_id=_identity(message),
            generation=h.find_int(headers, h.GENERATION) or 0,
            place=_place(message),
            body=digest(message.value()),
            at=message.timestamp()[1] / 1000,
            headers=_named(headers),
            origin=_origin(headers),
            attempt=h.find_int(headers, h.ATTEMPT),
            not_before=_seconds(h.find_int(headers, h.NOT_BEFORE)),
            replay=h.find(headers, h.REPLAY_ID),
            schema=schema_of(message.value()),
        )


def written(bootstrap: str, names: TopicNames, also: tuple[str, ...] = ()) -> Iterator[Written]:
    """Yield what a reader sees on the output topics (and on `reply_to` topics)."""
    kinds = output_topics(names) | dict.fromkeys(also, "result")
    for message in scan(bootstrap, list(kinds)):
        yield _written(message, kinds[str(message.topic())])


def progress(bootstrap: str, groups: Collection[str]) -> Iterator[Progress]:
    """Yield the groups' committed offsets and offset maps in order."""
    return read_progress(scan(bootstrap, [OFFSETS_TOPIC]), groups)


def calls(log: Path) -> Iterator[Call]:
    """Yield the Messages calls of the API simulator's log file that were made for a request."""
    with log.open() as lines:
        for said in map(json.loads, lines):
            if said["path"] != "/v1/messages" or said["sluice_request_id"] is None:
                continue
            asked = said["retry_after"]
            yield Call(
                request_id=said["sluice_request_id"],
                generation=int(said["sluice_generation"] or 0),
                attempt=said["sluice_attempt"],
                started=said["arrived_at"],
                ended=said["ended_at"],
                status=said["status"],
                worker=said["sluice_worker"] or "",
                body=said["body_sha256"],
                api_request_id=said["request_id"],
                is_answered=said["outcome"] in _PASSING | _SPOILT
                and said["stop_reason"] is not None,
                needs_another=said["outcome"] in _SPOILT or said["stop_reason"] == "max_tokens",
                is_cut=said["outcome"] == "client_closed" and said["fault"] not in _BROKEN,
                content=said["content_sha256"],
                retry_after=None if asked is None else float(asked),
            )


def plans(bootstrap: str, names: TopicNames, letters: Collection[Written]) -> Iterator[Plan]:
    """Yield every replay plan, what it selects found out anew from its pinned ranges.

    Raises:
        ValueError: A plan selects by anything but codes and tiers.
    """
    standing: dict[str, Any] = {}
    for message in scan(bootstrap, [names.replays]):
        said = json.loads(message.value() or b"{}")
        standing[said["plan"]["plan_id"]] = said
    sent = {plan_id: list[tuple[str, int]]() for plan_id in standing}
    for message in scan(bootstrap, [names.audit]):
        said = json.loads(message.value() or b"{}")
        if said.get("action") == "replay.sent":
            sent[said["subject"]] += [(name, number) for _, name, number in said["details"]["sent"]]
    for plan_id, said in standing.items():
        selection = {name: found for name, found in said["plan"]["selection"].items() if found}
        if selection.keys() - {"codes", "tiers"}:
            raise ValueError(f"{plan_id} selects by {sorted(selection)}, more than is judged here")
        yield Plan(
            plan_id=plan_id,
            selected=frozenset(
                letter.place
                for letter in letters
                if letter.kind == "dead_letter"
                and _lies_in(letter.place, said["plan"]["ranges"])
                and letter.code in selection.get("codes", (letter.code,))
            ),
            audited=tuple(sent[plan_id]),
            is_finished=said["phase"] == "finished",
        )


def digest(value: bytes | None) -> str:
    """Digest a record's value."""
    return "" if value is None else hashlib.sha256(value).hexdigest()


def _lies_in(place: Place, ranges: Mapping[str, Mapping[str, Any]]) -> bool:
    topic, number, offset = place
    start, end = ranges.get(topic, {}).get(str(number), (0, 0))
    return bool(start <= offset < end)


def _written(message: Message, kind: Kind) -> Written:
    headers = _headers(message)
    event: dict[str, Any] = json.loads(message.value() or b"") if kind == "result" else {}
    failure = event.get("failure") or {}
    is_success = kind == "result" and not failure
    return Written(
        kind=kind,
        request_id=event.get("request_id") or h.find(headers, h.REQUEST_ID) or "",
        generation=event.get("generation") or h.find_int(headers, h.GENERATION) or 0,
        attempt=h.find_int(headers, h.ATTEMPT) or 0,
        place=_place(message),
        origin=_origin(headers),
        at=message.timestamp()[1] / 1000,
        body=digest(message.value()),
        headers=_named(headers),
        code=failure.get("code") or h.find(headers, h.FAILURE_CODE),
        not_before=_seconds(h.find_int(headers, h.NOT_BEFORE)),
        event=event,
        api_request_id=failure.get("api_request_id") or event.get("api_request_id"),
        content=_content(event["content"]) if is_success else None,
    )


def _content(blocks: Any) -> str:
    """Digest content as the simulator's log does."""
    return hashlib.sha256(
        json.dumps(blocks, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _origin(headers: h.Headers) -> Place | None:
    topic = h.find(headers, h.ORIGIN_TOPIC)
    number, offset = (h.find_int(headers, name) for name in (h.ORIGIN_PARTITION, h.ORIGIN_OFFSET))
    if topic is None or number is None or offset is None:
        return None
    return topic, number, offset


def _headers(message: Message) -> h.Headers:
    found: list[tuple[str, bytes]] = message.headers() or []  # type: ignore[assignment]
    return tuple((name, value or b"") for name, value in found)


def _named(headers: h.Headers) -> Mapping[str, bytes]:
    return {name: value or b"" for name, value in headers}


def _identity(message: Message) -> str:
    topic, number, offset = _place(message)
    return identity(
        message.value(), _headers(message), topic=topic, partition=number, offset=offset
    )


def _place(message: Message) -> Place:
    return str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
