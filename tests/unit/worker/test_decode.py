"""A record becomes a request, or is none."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.engine.ports import Partition, Record
from services.worker.decode import decode
from services.worker.errors import PermanentError
from sluice_contracts import FailureCode

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(["request_id", "prompt", "messages", "output_schema", "max_tokens", "x"]), JSON
)


def _decode(value: bytes | None) -> Any:
    record = Record(Partition("claude.requests.haiku.v1", 0), 0, 0, None, value)
    return decode(record)


def _ask(**fields: Any) -> bytes:
    return json.dumps({"request_id": "r", "prompt": "p", **fields}).encode()


def test_a_request_is_read() -> None:
    """With its schema, where it has one."""
    assert {"type": "object"} == _decode(_ask(output_schema={"type": "object"})).output_schema


@given(st.one_of(st.none(), st.binary(max_size=60), FIELDS.map(lambda f: json.dumps(f).encode())))
def test_any_bytes_are_a_request_or_an_invalid_event(value: bytes | None) -> None:
    """Nothing else ever comes out."""
    try:
        request = _decode(value)
    except PermanentError as exc:
        refusal = exc
    else:
        assert 1 <= len(request.request_id) <= 128
        return
    assert FailureCode.INVALID_EVENT == refusal.code
