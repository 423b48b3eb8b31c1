"""What the headers of an answer say."""

from services.worker.throttle.buckets import Amounts
from services.worker.throttle.headers import read

HEADERS = {
    "date": "Sun, 01 Nov 2026 00:00:10 GMT",
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-11-01T00:00:11Z",
    "anthropic-ratelimit-input-tokens-limit": "2000000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-01T00:01:22Z",
    "anthropic-ratelimit-output-tokens-limit": "400000",
    "anthropic-ratelimit-output-tokens-remaining": "399000",
    "anthropic-ratelimit-output-tokens-reset": "1970-01-01T00:00:00Z",
    "anthropic-ratelimit-tokens-limit": "2400000",
    "retry-after": "17",
}


def test_the_three_limits_are_read() -> None:
    """Requests, input and output tokens; the joint limit is not one of ours."""
    reading = read(HEADERS)
    assert reading is not None
    assert Amounts(1_000, 2_000_000, 400_000) == reading.limits
    assert Amounts(999, 0, 399_000) == reading.remaining


def test_a_reset_in_the_past_means_nothing() -> None:
    """The API sends 1970 with some refusals."""
    reading = read(HEADERS)
    assert reading is not None
    assert Amounts(1, 72, 0) == reading.reset_in


def test_an_answer_without_all_limits_says_nothing() -> None:
    """A 529 has none; half of the truth is none."""
    assert read({}) is None
    assert read({**HEADERS, "anthropic-ratelimit-requests-limit": "many"}) is None
    assert read({**HEADERS, "anthropic-ratelimit-requests-limit": "0"}) is None


def test_a_strange_date_or_reset_is_survived() -> None:
    """What cannot be read is left out."""
    reading = read({**HEADERS, "date": "yesterday"})
    assert reading is not None
    assert reading.date is None
    reading = read({**HEADERS, "anthropic-ratelimit-input-tokens-reset": "soon"})
    assert reading is not None
    assert Amounts(1, 0, 0) == reading.reset_in
