"""Stage `admit`: may this request be served at all, before anything is spent on it."""

from dataclasses import dataclass
from datetime import datetime

from pydantic_core import to_json

from services.worker import causes
from services.worker.schemas import OutputSchema
from services.worker.settings import AdmitSettings
from sluice_contracts import CompletionRequested


@dataclass(frozen=True, slots=True)
class Arrival:
    """What admission needs to know of the record beside the request in it."""

    now: datetime
    published: datetime
    size: int


def check_age(request: CompletionRequested, arrival: Arrival, rules: AdmitSettings) -> None:
    """Let a request pass that somebody still waits for.

    Raises:
        SluiceError: `deadline_passed`.
    """
    if request.deadline is not None and request.deadline <= arrival.now:
        late = (arrival.now - request.deadline).total_seconds()
        raise causes.TOO_LATE.error(
            f"deadline {request.deadline.isoformat()} passed {late:.1f} s before the call"
        )
    if rules.max_age is not None and arrival.now - arrival.published > rules.max_age:
        raise causes.TOO_LATE.error(
            f"published {arrival.published.isoformat()}, older than ADMIT__MAX_AGE {rules.max_age}"
        )


def admit(
    request: CompletionRequested, arrival: Arrival, rules: AdmitSettings
) -> OutputSchema | None:
    """Let a request pass, with the schema that it brings, or say why not.

    Raises:
        SluiceError: `request_too_large`, `not_authorised`, `tool_failed`, `invalid_event`.
    """
    if arrival.size > rules.max_request_bytes:
        raise causes.TOO_LARGE.error(
            f"the request has {arrival.size} bytes, the API takes {rules.max_request_bytes};"
            " send less"
        )
    if request.reply_to is not None and request.reply_to not in rules.reply_to:
        raise causes.NOT_ALLOWED.error(
            "ADMIT__REPLY_TO does not allow this reply_to",
            quoted=repr(request.reply_to[:100]),
        )
    refused = [name for name in request.tools if name not in rules.tools]
    if refused:
        raise causes.NOT_ALLOWED.error(
            "ADMIT__TOOLS does not allow this tool",
            quoted=repr(refused[0][:100]),
        )
    if request.tools:
        # The seam for a tools loop: until one exists, an answer without the tools that were asked
        # for would look like one with them.
        raise causes.NO_TOOLS.error(
            "the tools are allowed, but this worker runs none; send the request without 'tools'"
        )
    if request.output_schema is None:
        return None
    return _schema(to_json(request.output_schema), rules.max_schema_bytes)


def _schema(text: bytes, limit: int) -> OutputSchema:
    if len(text) > limit:
        raise causes.NOT_A_SCHEMA.error(
            f"output_schema: {len(text)} bytes of JSON, at most {limit} are taken; simplify it"
        )
    return OutputSchema.compile(text)
