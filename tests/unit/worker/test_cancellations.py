"""What is cancelled, and for whom."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from services.worker.cancellations import Cancellations, Cancelled
from sluice_contracts import CancellationRequested, Headers
from sluice_contracts.codec import Encoded, encode

AT = Cancelled(at_ms=1_000, by="ann", reason="wrong batch")


def test_a_cancellation_reaches_its_request_only() -> None:
    """Others are not touched."""
    known = Cancellations(entries=10)
    known.add("a", AT)
    assert AT == known.find("a")
    assert known.find("b") is None


def test_a_replay_written_after_it_is_meant_to_run() -> None:
    """A cancellation reaches a replay only when it is younger than the replay."""
    known = Cancellations(entries=10)
    known.add("a", AT)
    assert known.find("a", generation=1, written_ms=2_000) is None
    assert AT == known.find("a", generation=1, written_ms=500)
    assert AT == known.find("a", generation=0, written_ms=2_000)


def test_the_oldest_are_forgotten_first() -> None:
    """Memory is bounded by number."""
    known = Cancellations(entries=2)
    for name in "abc":
        known.add(name, AT)
    assert [None, AT, AT] == [known.find(name) for name in "abc"]


def _record(value: bytes | None, headers: Headers) -> SimpleNamespace:
    return SimpleNamespace(value=value, headers=headers, timestamp=7, offset=3)


def _event() -> Encoded:
    event = CancellationRequested(request_id="a", reason="late", requested_by="bob")
    return encode(event, source="/test", time=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("bare", [False, True])
def test_records_of_the_topic_are_read(*, bare: bool) -> None:
    """CloudEvents and bare JSON values are both read; the record's timestamp counts."""
    known = Cancellations(entries=10)
    event = _event()
    known.on_record(_record(event.value, () if bare else event.headers))
    assert Cancelled(at_ms=7, by="bob", reason="late") == known.find("a")


def test_a_record_that_is_no_cancellation_is_passed_over() -> None:
    """One bad record does not stop the others."""
    known = Cancellations(entries=10)
    known.on_record(_record(b"{", ()))
    known.on_record(_record(_event().value, ()))
    assert known.find("a") is not None
