"""What counts as one outcome for every request."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ops.demo.samples import broken, samples
from services.ops.demo.tally import Found, Tally
from sluice_contracts import Tier, TopicNames, decode
from sluice_contracts import headers as h

NAMES = TopicNames()
NOW = datetime(2026, 11, 23, tzinfo=UTC)
_SAME: dict[str, Any] = {
    "tier": "haiku",
    "timing": {"queued_ms": 1, "throttled_ms": 2, "model_ms": 3, "total_ms": 6},
    "usage": {"input_tokens": 10, "output_tokens": 20},
    "cost": {"amount": "0.0125", "price_table": "m@2026-01-01"},
    "tenant": "demo",
    "data_classification": "internal",
    "completed_at": "2026-11-23T00:00:00Z",
}


def _record(topic: str, request_id: str, said: dict[str, Any], kind: str) -> Found:
    value = json.dumps({"request_id": request_id, **_SAME, **said}).encode()
    headers = (
        (h.CE_TYPE, f"claude.completion.{kind}.v1".encode()),
        (h.CE_SPECVERSION, b"1.0"),
        (h.CE_ID, b"1"),
        (h.CE_SOURCE, b"/t"),
    )
    return Found(topic, 0, 0, value, headers)


def _asked(request_id: str) -> Found:
    said = {"messages": [{"role": "user", "content": "?"}]}
    return _record(NAMES.requests(Tier.HAIKU), request_id, said, "requested")


def _succeeded(request_id: str) -> Found:
    said = {
        "model": "m", "prompt": {"name": "p", "version": 1, "sha256": "0"}, "content": [],
        "text": "", "validation": {"verdict": "valid"}, "stop_reason": "end_turn", "attempts": 1,
    }  # fmt: skip
    return _record(NAMES.results(Tier.HAIKU), request_id, said, "succeeded")


def _failed(request_id: str) -> Found:
    said = {
        "failure": {"code": "refused", "detail": "", "retryable": False},
        "dead_letter": {"topic": NAMES.dead_letters(Tier.HAIKU), "partition": 0},
    }
    return _record(NAMES.results(Tier.HAIKU), request_id, said, "failed")


def _dead(request_id: str) -> Found:
    letter = _asked(request_id)
    return replace(
        letter,
        topic=NAMES.dead_letters(Tier.HAIKU),
        headers=(*letter.headers, (h.FAILURE_CODE, b"refused")),
    )


def _tally(*records: Found) -> Tally:
    tally = Tally(NAMES)
    tally.add_all(records)
    return tally


def test_one_outcome_each_is_what_is_promised() -> None:
    """A success, and a failure with its dead letter, leave nothing to say."""
    tally = _tally(_asked("a"), _asked("b"), _succeeded("a"), _failed("b"), _dead("b"))
    assert [] == tally.problems()
    assert tally.is_complete
    assert {"refused": 1} == tally.failures()


def test_a_request_that_was_put_back_is_one_request() -> None:
    """The relay publishes a delayed request again, under the same id."""
    assert [] == _tally(_asked("a"), _asked("a"), _succeeded("a")).problems()


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ((_asked("a"),), "a has no outcome"),
        ((_asked("a"), _succeeded("a"), _succeeded("a")), "a has 2 outcomes"),
        ((_succeeded("a"),), "a has an outcome and was never asked"),
        ((_asked("a"), _failed("a")), "a failed 1 times, with 0 dead letters"),
        ((_asked("a"), _succeeded("a"), _dead("a")), "a failed 0 times, with 1 dead letters"),
    ],
)
def test_whatever_breaks_the_promise_is_named(records: tuple[Found, ...], problem: str) -> None:
    """Lost, doubled, invented, and a dead letter too few or too many."""
    assert [problem] == _tally(*records).problems()


def test_a_record_without_id_is_known_by_its_place() -> None:
    """Its dead letter says where it came from, so that the two are found to be one."""
    torn = Found(NAMES.requests(Tier.HAIKU), 3, 7, b"{", ())
    origin = ((h.ORIGIN_TOPIC, b"claude.requests.haiku.v1"), (h.ORIGIN_PARTITION, b"3"))
    letter = Found(
        NAMES.dead_letters(Tier.HAIKU), 3, 0, b"{",
        (*origin, (h.ORIGIN_OFFSET, b"7"), (h.FAILURE_CODE, b"invalid_event")),
    )  # fmt: skip
    assert [] == _tally(torn, letter, _failed("claude.requests.haiku.v1/3/7")).problems()


def test_tokens_and_cost_are_summed_exactly() -> None:
    """Money is added as decimals."""
    tally = _tally(_succeeded("a"), _succeeded("b"))
    assert (20, 40) == (tally.usage().input_tokens, tally.usage().output_tokens)
    assert "0.0250" == str(tally.cost())
    assert (3.0, 3.0) == tally.latency()["model"]


def test_the_samples_are_valid_requests_of_all_tiers() -> None:
    """Every sample decodes, ids differ, and each tier gets some."""
    made = samples("run", 64, now=NOW)
    ids = {decode(each.record.value, each.record.headers).request_id for each in made}
    assert 64 == len(ids)
    assert set(Tier) == {each.tier for each in made}


def test_the_broken_samples_are_broken_in_different_ways() -> None:
    """One cannot be read at all; the others name what does not exist or has passed."""
    made = list(broken("run", now=NOW))
    assert 4 == len(made)
    with pytest.raises(ValueError, match="JSON"):
        decode(made[0].record.value, made[0].record.headers)
