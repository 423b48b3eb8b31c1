"""Ten thousand records that are no requests: dead letters with the right code and their bytes."""

import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
import structlog

from services.runtime.engine.ports import Done, Headers
from sluice_contracts import CompletionFailed, decode
from sluice_contracts import headers as h
from tests.contracts.malformed import CODE, KINDS, SCHEMAS, samples
from tests.unit.worker.conftest import Build
from tests.unit.worker.reading import LETTERS, RESULTS, header_of, topics_of

pytestmark = pytest.mark.looptime
COUNT = int(os.environ.get("MALFORMED", "10000"))
ALL = {**KINDS, **SCHEMAS}
HOSTILE: tuple[bytes | None, ...] = (
    None, b"", b"\xff\xfe", b"9" * 5_000, b"-1", b"2000", b"foreign.topic", b"x" * 50_000,
    b"\x00", b"2026-11-23T12:00:00+00:00", b"claude.requests.haiku.v1", b"[" * 100,
)  # fmt: skip
NAMES = (*sorted(h.OURS), "mine", "", "\x00", "kafka_dlt-original-topic", "ce_extension")
KEYS = (None, b"", b"key", b"\xff" * 100)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A line for each of them helps nobody."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


async def test_each_is_a_dead_letter_with_its_bytes(build: Build) -> None:
    """Whatever the value, the key and the headers; nothing is called, and nothing stops."""
    worker, dice, met = await build(), Random(7), Counter[str]()
    for kind, value, headers in samples(COUNT, ALL):
        strange: Headers = tuple(
            (dice.choice(NAMES), dice.choice(HOSTILE)) for _ in range(dice.randrange(4))
        )
        record = worker.record(value, headers=strange + headers, key=dice.choice(KEYS))
        verdict = await worker.handler.handle(record, 0)
        assert isinstance(verdict, Done), kind
        assert [RESULTS, LETTERS] == topics_of(verdict), kind
        outcome, letter = verdict.outputs
        event = decode(outcome.value, outcome.headers)
        assert isinstance(event, CompletionFailed)
        assert (CODE, CODE) == (event.failure.code, header_of(letter, h.FAILURE_CODE)), kind
        has_our_key = record.key is None and value is None
        assert has_our_key == (header_of(letter, h.ORIGINAL_KEY) == "null")
        assert (value, event.request_id.encode() if has_our_key else record.key) == (
            letter.value,
            letter.key,
        )
        assert {pair for pair in record.headers if pair[0] == "mine"} <= set(letter.headers)
        met[kind] += 1
    assert set(ALL) == set(met)
    assert ([], {}) == (worker.wire.requests, worker.handler.closed)
