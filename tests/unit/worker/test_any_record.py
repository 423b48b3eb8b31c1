"""Whatever comes in, a verdict goes out."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.engine.ports import Done, Headers, Park, Partition, Record
from sluice_contracts import Tier
from sluice_contracts import headers as h
from sluice_contracts.carried import digest
from sluice_contracts.topics import TopicNames
from tests.unit.worker.conftest import Standing, Wire, answered, settings_with
from tests.unit.worker.reading import LETTERS, header_of

NAMES = TopicNames()


NUMBERS = st.sampled_from([
    b"", b"0", b"7", b"9" * 19, b"-1", b"x", b"\xff", None, b"2000", b"2020-01-01T00:00:00+00:00",
    NAMES.requests(Tier.HAIKU).encode(), digest(None).encode(), digest(b"").encode(),
])  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([*h.OURS, *h.CLOUDEVENTS, "mine", "kafka_dlt-original-topic"]), NUMBERS
    ),
    max_size=6,
).map(tuple)
TIMES = st.sampled_from([-1, 0, 10**12, 10**15, 2**63 - 1, -(2**63)])
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.fixed_dictionaries(
        {"request_id": st.text(max_size=130)},
        optional={
            "prompt": st.sampled_from(["ticket-triage", "ticket-triage@9", "no@", ""]),
            "variables": st.dictionaries(st.sampled_from(["text", "labels"]), st.text(max_size=9)),
            "messages": st.just([{"role": "user", "content": "x"}]),
            "deadline": st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"]),
            "reply_to": st.text(max_size=5),
            "tools": st.just(["t"]),
            "output_schema": st.sampled_from([
                {"type": "null"}, {"type": "bad"}, {"$ref": "#"}, {"$dynamicRef": "#x"},
                {"$ref": "#/enum/0", "enum": ["x"]}, {"multipleOf": 5e-324},
            ]),
            "tenant": st.text(max_size=5),
        },
    ).map(lambda body: json.dumps(body).encode()),
)  # fmt: skip


Judge = Callable[[Record], Any]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Hand records to one worker, on a loop of its own."""
    loop = looptime.new_event_loop()
    standing = Standing(Wire([answered('"x"')]), settings_with())
    worker = loop.run_until_complete(standing.__aenter__())
    yield lambda record: loop.run_until_complete(worker.handler.handle(record, 0))
    loop.run_until_complete(standing.__aexit__())
    loop.close()


@settings(max_examples=int(os.environ.get("EXAMPLES", "100")), deadline=None)
@given(value=VALUES, headers=HEADERS, at=TIMES, key=st.none() | st.binary(max_size=4))
def test_no_record_ever_raises(
    judge: Judge, value: bytes | None, headers: Any, at: int, key: bytes | None
) -> None:
    """Whatever bytes, headers and times come in, a verdict goes out; letters keep the bytes."""
    verdict = judge(Record(Partition(NAMES.requests(Tier.HAIKU), 1), 5, at, key, value, headers))
    assert isinstance(verdict, Done | Park)
    for output in verdict.outputs if isinstance(verdict, Done) else ():
        # What Kafka's clients take: a key or a value, and headers with names.
        assert output.key is not None or output.value is not None
        assert all(isinstance(name, str) for name, _ in output.headers)
        if output.topic == LETTERS:
            is_ours = header_of(output, h.ORIGINAL_KEY) == "null"
            assert is_ours == (key is None and value is None)
            assert (value, key, 1) == (
                output.value,
                None if is_ours else output.key,
                output.partition,
            )
            assert header_of(output, h.FAILURE_CODE)
            assert set(_mine(headers)) <= set(output.headers)


def _mine(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0] == "mine")
