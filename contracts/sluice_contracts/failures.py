"""Why a request failed: the stable codes of outcomes, dead letters, metrics and the runbook."""

from enum import StrEnum


class FailureCode(StrEnum):
    """Names one cause of failure; codes are never renamed or reused within a major version."""

    meaning: str
    """One sentence for people: what happened, and what would help."""

    def __new__(cls, code: str, meaning: str = "") -> "FailureCode":  # noqa: PYI034 -- enums are final
        """Make a code that carries its meaning."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    INVALID_EVENT = (
        "invalid_event",
        "The record breaks the contract; correct what publishes it, then publish it anew.",
    )
    UNKNOWN_PROMPT = (
        "unknown_prompt",
        "The prompt library has no such name or version; release it, or name another.",
    )
    VARIABLES_MISSING = (
        "variables_missing",
        "The prompt needs variables that the request does not give; give them.",
    )
    DEADLINE_PASSED = (
        "deadline_passed",
        "The request's own deadline came before its result; replay it with a later one.",
    )
    CONTEXT_TOO_LONG = (
        "context_too_long",
        "Prompt and answer together exceed the model's context window; shorten the input.",
    )
    REQUEST_REJECTED = (
        "request_rejected",
        "The API refused the request as it stands; the detail holds what it said.",
    )
    REQUEST_TOO_LARGE = (
        "request_too_large",
        "The request is larger in bytes than the operator or the API accepts; shorten it.",
    )
    EXCEEDS_RATE_LIMIT = (
        "exceeds_rate_limit",
        "This one request is larger than the whole per-minute limit; no waiting helps.",
    )
    REFUSED = (
        "refused",
        "The model declined to answer; another model or another wording may not.",
    )
    TRUNCATED = (
        "truncated",
        "The answer reached `max_tokens` before its end; raise it.",
    )
    OUTPUT_INVALID = (
        "output_invalid",
        "The answer does not validate against the schema, even after repair rounds.",
    )
    TOOL_FAILED = (
        "tool_failed",
        "A tool that the model called gave no usable answer; see to the tool, then replay.",
    )
    RATE_LIMITED = (
        "rate_limited",
        "The API's rate limit held through every attempt; replay when there is room.",
    )
    OVERLOADED = (
        "overloaded",
        "The API was overloaded through every attempt; replay later.",
    )
    TIMED_OUT = (
        "timed_out",
        "No attempt was answered in time; replay later, or allow more time.",
    )
    UNREACHABLE = (
        "unreachable",
        "The API could not be reached in any attempt; see to the network, then replay.",
    )
    UPSTREAM_FAILED = (
        "upstream_failed",
        "The API answered every attempt with an error of its own; replay later.",
    )
    SPEND_LIMIT_REACHED = (
        "spend_limit_reached",
        "A spend limit forbids further calls; raise it or wait for its reset, then replay.",
    )
    NOT_AUTHORISED = (
        "not_authorised",
        "The request names a tool or `reply_to` that the operator does not allow.",
    )
    CANCELLED = (
        "cancelled",
        "A cancellation came before the next call; what earlier calls cost is on the outcome.",
    )
    INTERNAL_ERROR = (
        "internal_error",
        "Sluice itself failed on this request; the log holds the cause.",
    )
