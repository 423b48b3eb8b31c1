"""The request body as JSON, with the API's messages where it is none."""

from typing import Any

from pydantic_core import from_json

from services.simulator.errors import ErrorAnswer, invalid, too_large

MESSAGES_LIMIT = 32 * 1024 * 1024
BATCH_LIMIT = 256 * 1024 * 1024


def parsed_body(body: bytes, limit: int = MESSAGES_LIMIT) -> dict[str, Any]:
    """Return the body, or raise the API's 400 or the edge's 413."""
    if len(body) > limit:
        raise too_large()
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _not_json(str(error)) from error
    if not isinstance(parsed, dict):
        raise invalid("Input should be a valid dictionary or object to extract fields from")
    return parsed


def _not_json(reason: str) -> ErrorAnswer:
    if "surrogate" in reason or "unexpected end of hex escape" in reason:
        # Our parser's words for it differ from the API's.
        reason = "no low surrogate in string"
    return invalid(f"The request body is not valid JSON: {reason}")
