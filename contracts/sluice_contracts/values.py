"""What events are made of: ids, dates, choices, and the groups of fields that several share."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from sluice_contracts.failures import FailureCode

REQUEST_ID_LENGTH: Final = 128
METADATA_ENTRIES: Final = 32


def _dated(moment: object) -> object:
    # pydantic would also read numbers, and digits in a string, as seconds or milliseconds.
    if isinstance(moment, datetime):
        return moment
    try:
        return datetime.fromisoformat(cast("str", moment))
    except (TypeError, ValueError):
        raise ValueError("not RFC 3339; send, for example, 2026-01-31T12:00:00Z") from None


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the date lies outside the years 1 to 9999 in UTC") from None


def _few(entries: object) -> object:
    # pydantic counts a mapping only after checking each entry, and lists every bad one.
    if isinstance(entries, dict) and len(entries) > METADATA_ENTRIES:
        raise ValueError(f"{len(entries)} entries; at most {METADATA_ENTRIES} are carried")
    return entries


_T = TypeVar("_T")
ListOf = Annotated[list[_T], Field(fail_fast=True)]  # to list a megabyte of bad ones takes seconds
RequestId = Annotated[str, StringConstraints(min_length=1, max_length=REQUEST_ID_LENGTH)]
ShortText = Annotated[str, StringConstraints(max_length=512)]
JsonObject = dict[str, Any]
Moment = Annotated[AwareDatetime, BeforeValidator(_dated), AfterValidator(_in_utc)]
Metadata = Annotated[dict[str, str], Field(max_length=METADATA_ENTRIES), BeforeValidator(_few)]


class Payload(BaseModel):
    """Immutable; readers ignore what they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Priority(StrEnum):
    """How urgent a request is against others of its tier."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BULK = "bulk"


class DataClassification(StrEnum):
    """How far the content of a request may travel; `restricted` never reaches a log."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class Effort(StrEnum):
    """How hard a model thinks, where it takes the setting."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Block(Payload):
    """A Messages API content block: `type` is ours to check, the rest is the API's."""

    model_config = ConfigDict(extra="allow")

    type: str
    """For example `text`, `image`, `tool_use` or `tool_result`."""


class Message(Payload):
    """A turn of the Messages API."""

    role: Literal["user", "assistant", "system"]
    """Who speaks; only some models take a `system` turn."""
    content: str | ListOf[Block]
    """Text, or content blocks as the Messages API takes them."""


class PromptUsed(Payload):
    """Which prompt produced an answer."""

    name: str
    """The library's name; `system` or `messages` where the request brought its own words."""
    version: int | None
    """Null where the request brought its own words."""
    sha256: str
    """Of the rendered system prompt, hex."""
    variant: str | None = None
    """The arm of an experiment, where one runs."""


class Validation(Payload):
    """What became of the check against the schema."""

    verdict: Literal["valid", "repaired", "not_requested"]
    """`repaired`: valid after a round that told the model what was wrong."""
    repairs: int = 0
    """Extra paid rounds that told the model what was wrong."""


class TokenUsage(Payload):
    """Tokens over all calls of a request."""

    input_tokens: int = 0
    """Uncached input only."""
    output_tokens: int = 0
    """Thinking included."""
    cache_read_input_tokens: int = 0
    """Input read from the API's prompt cache."""
    cache_creation_input_tokens: int = 0
    """Input written to the API's prompt cache."""


class Cost(Payload):
    """What the calls of a request cost."""

    amount: str
    """Decimal, as a string."""
    currency: str = "USD"
    """ISO 4217."""
    price_table: str
    """The row that priced it: model and the date it is valid from."""


class Timing(Payload):
    """Where the time went, in milliseconds."""

    queued_ms: int
    """From the record's timestamp to the first stage."""
    throttled_ms: int
    """Waiting for the rate limit."""
    model_ms: int
    """Waiting for the model, over all calls."""
    total_ms: int
    """From the record's timestamp to the outcome."""


def _known(code: object) -> object:
    if not isinstance(code, str):
        return code
    try:
        return FailureCode(code)
    except ValueError:
        return FailureCode.INTERNAL_ERROR


class Failure(Payload):
    """Why a request failed."""

    # Open for readers, so that a code can be added within a major version.
    code: Annotated[
        FailureCode,
        BeforeValidator(_known),
        WithJsonSchema(
            {"type": "string", "x-extensible-enum": [code.value for code in FailureCode]}
        ),
    ]
    """Stable; readers take one that they do not know for `internal_error`."""
    detail: str
    """For people; never holds a secret or restricted content."""
    retryable: bool
    """Whether the same request may succeed later (a replay is worth a try)."""
    api_error_type: str | None = None
    """The API's own word, where it refused."""
    api_request_id: str | None = None
    """What Anthropic's support asks for."""


class DeadLetterPlace(Payload):
    """Where the original record rests."""

    topic: str
    """The dead-letter topic of the tier."""
    partition: int
    """The partition number of the request."""
