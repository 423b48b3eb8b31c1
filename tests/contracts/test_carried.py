"""What a retry carries, and who is believed about it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_contracts import headers as h
from sluice_contracts.carried import (
    MOST_ATTEMPTS,
    Hop,
    Origin,
    digest,
    milliseconds,
    of_the_caller,
    on_outcome,
)
from sluice_contracts.headers import Headers, find, with_headers

BODY = b'{"request_id": "r"}'
SINCE = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)
HOP = Hop(
    return_topic="claude.requests.haiku.v1",
    origin=Origin("claude.requests.haiku.v1", 3, 99, 1_795_435_200_000),
    attempts=4,
    not_before_ms=1_795_435_260_000,
    failing_since=SINCE,
    history=("1 overloaded x", "2 timed_out y"),
    outcome_topic="team.answers.v1",
)
MINE: Headers = (("mine", b"\xff"), ("traceparent", b"00-1"), ("mine", None))


def test_a_hop_is_read_as_it_was_written() -> None:
    """Whatever the caller had written in its place is gone, and what is the caller's own stays."""
    forged = tuple((name, b"forged") for name in h.OURS)
    headers = HOP.on((*MINE, *forged), BODY, {h.FAILURE_CODE: "timed_out"})
    assert HOP == Hop.read(headers, BODY)
    assert headers[:3] == MINE
    assert "timed_out" == find(headers, h.FAILURE_CODE)


@pytest.mark.parametrize(
    "changes",
    [
        {h.RETURN_TOPIC: None},
        {h.RETURN_TOPIC: ""},
        {h.NOT_BEFORE: "soon"},
        {h.FAILING_SINCE: "long ago"},
        {h.FAILING_SINCE: "2026-11-23T12:00:00"},
        {h.REQUEST_DIGEST: digest(b"another body")},
        {h.ORIGIN_TOPIC: None},
        {h.ORIGIN_PARTITION: str(2**31)},
        {h.ORIGIN_OFFSET: str(2**63)},
        {h.ORIGIN_TIMESTAMP: "-1"},
    ],
)
def test_headers_that_no_worker_writes_are_no_hop(changes: dict[str, str | None]) -> None:
    """All of them together on this body, or none is believed."""
    assert Hop.read(with_headers(HOP.on((), BODY, {}), changes), BODY) is None


def test_a_number_of_attempts_is_bounded() -> None:
    """A stranger's number must not be counted on from."""
    headers = with_headers(HOP.on((), BODY, {}), {h.ATTEMPT: "9" * 19})
    hop = Hop.read(headers, BODY)
    assert hop is not None
    assert MOST_ATTEMPTS == hop.attempts


def test_the_history_is_short() -> None:
    """The last twenty attempts are kept, however many there were."""
    many = replace(HOP, history=tuple(str(n) for n in range(50)))
    hop = Hop.read(many.on((), BODY, {}), BODY)
    assert hop is not None
    assert tuple(str(n) for n in range(30, 50)) == hop.history


@given(st.floats(1.6e9, 4.1e9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_a_due_time_is_never_rounded_to_be_early(moment: datetime) -> None:
    """Milliseconds are coarser than moments."""
    written = datetime.fromtimestamp(milliseconds(moment) / 1000, UTC)
    assert timedelta(0) <= written - moment <= timedelta(milliseconds=1.001)


def test_an_outcome_carries_the_callers_headers_and_its_own_origin() -> None:
    """CloudEvents of the request, other tools' notes and ours do not travel on as the caller's."""
    past: Headers = (
        ("ce_id", b"1"), ("content-type", b"x"), (h.ATTEMPT_HISTORY, b"x"), (h.ROOT_ID, b"root"),
        ("kafka_dlt-original-topic", b"x"), (h.REQUEST_DIGEST, b"x"),
    )  # fmt: skip
    headers = on_outcome((*MINE, *past), HOP.origin, generation=2, attempts=3, body=digest(BODY))
    assert (
        *MINE, (h.ROOT_ID, b"root"),
        (h.ORIGIN_TOPIC, b"claude.requests.haiku.v1"), (h.ORIGIN_PARTITION, b"3"),
        (h.ORIGIN_OFFSET, b"99"), (h.ORIGIN_TIMESTAMP, b"1795435200000"),
        (h.GENERATION, b"2"), (h.ATTEMPT, b"3"), (h.REQUEST_DIGEST, digest(BODY).encode()),
    ) == headers  # fmt: skip
    assert (*MINE, (h.ROOT_ID, b"root")) == of_the_caller(headers)
