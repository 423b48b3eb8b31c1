"""Error answers, exactly as the API and its edge send them."""

import json
from dataclasses import dataclass, field


@dataclass(eq=False)
class ErrorAnswer(Exception):  # noqa: N818 it is an answer of the API, not a failure of ours
    """An answer other than 200.

    Raised anywhere on the way of a request and written by `app.py`.
    """

    status: int
    type: str
    message: str
    details: dict[str, object] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    should_retry: bool | None = None
    from_edge: bool = False
    """The edge answers without a top-level type and without ids."""
    plain: bool = False
    """text/plain instead of JSON."""
    with_limits: bool = False
    """Carry the rate-limit headers of the group."""
    limits_full: bool = False
    """… as if nothing had been used."""

    def body(self, request_id: str) -> bytes:
        """Return the body."""
        if self.plain:
            return self.message.encode()
        error: dict[str, object] = {"type": self.type, "message": self.message}
        if self.from_edge:
            return json.dumps({"error": error}).encode()
        if self.details is not None:
            error["details"] = self.details
        whole = {"type": "error", "error": error, "request_id": request_id}
        return json.dumps(whole, separators=(",", ":")).encode()


def invalid(message: str, *, code: str | None = None) -> ErrorAnswer:
    """Return the 400 for a request that the API does not take."""
    details: dict[str, object] | None = None if code is None else {"error_code": code}
    return ErrorAnswer(400, "invalid_request_error", message, details, should_retry=False)


def unauthorised() -> ErrorAnswer:
    """Return the 401 for an unknown, revoked or expired key."""
    return ErrorAnswer(401, "authentication_error", "invalid x-api-key", should_retry=False)


def not_found(message: str) -> ErrorAnswer:
    """Return a 404."""
    return ErrorAnswer(404, "not_found_error", message, should_retry=False)


def too_large() -> ErrorAnswer:
    """Return the edge's 413."""
    return ErrorAnswer(413, "request_too_large", "Request exceeds the maximum size", from_edge=True)


def overloaded() -> ErrorAnswer:
    """Return the 529, which says nothing about anybody's limits."""
    return ErrorAnswer(529, "overloaded_error", "Overloaded", should_retry=True)


RATE_LIMIT_HINT = (
    "For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response "
    "headers for current usage. Reduce the prompt length or the maximum tokens requested, or try "
    "again later. View your current limits at https://console.anthropic.com/settings/limits. To "
    "raise this limit, purchase credits to advance to the next usage tier at "
    "https://console.anthropic.com/settings/billing."
)


def rate_limited(
    *, limit: int, measure: str, organization: str, model: str, retry_after: int | None
) -> ErrorAnswer:
    """Return the 429 of a bucket; without `retry_after` the request never fits."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return ErrorAnswer(
        429,
        "rate_limit_error",
        f"This request would exceed your organization's rate limit of {limit:,} {measure} per "
        f"minute (org: {organization}, model: {model}). {RATE_LIMIT_HINT}",
        headers=headers,
        should_retry=retry_after is not None,
        with_limits=True,
        limits_full=retry_after is None,
    )


def ramp_limited(retry_after: int) -> ErrorAnswer:
    """Return the 429 of the acceleration limit."""
    return ErrorAnswer(
        429,
        "rate_limit_error",
        "Your organization's usage is growing too fast (acceleration limit). Ramp up your traffic "
        "gradually and keep usage patterns consistent.",
        {"error_code": "ramp_limit_exceeded"},
        {"retry-after": str(retry_after)},
        should_retry=True,
        with_limits=True,
    )


def too_many_connections() -> ErrorAnswer:
    """Return the 429 of the concurrency limit: no retry-after, no limits."""
    return ErrorAnswer(
        429,
        "rate_limit_error",
        "Number of concurrent connections has exceeded your rate limit. Please try again later or "
        "contact sales at https://www.anthropic.com/contact-sales to discuss your options for a "
        "rate limit increase.",
        should_retry=True,
    )
