"""The payload of every record that others read or write: frozen pydantic models.

Readers ignore unknown fields; within v1 only optional fields with defaults are added.
"""

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from sluice_contracts.topics import Tier
from sluice_contracts.values import (
    Cost,
    DataClassification,
    DeadLetterPlace,
    Effort,
    Failure,
    JsonObject,
    ListOf,
    Message,
    Metadata,
    Moment,
    Payload,
    Priority,
    PromptUsed,
    RequestId,
    ShortText,
    Timing,
    TokenUsage,
    Validation,
)


class CompletionRequested(Payload):
    """Asks for one completion; published by upstream to `claude.requests.<tier>.v1`."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["prompt"]}, {"required": ["messages"]}]}
    )

    request_id: RequestId
    """The caller's own id, unique for ever."""
    prompt: ShortText | None = None
    """`name` or `name@version` from the prompt library."""
    variables: JsonObject = Field(default_factory=dict)
    """Fills the prompt's variables."""
    messages: ListOf[Message] = Field(default_factory=list)
    """Appended after the rendered prompt; one of `prompt` and `messages` is required."""
    system: str | None = None
    """A literal system prompt, for callers without a library prompt; never together with one."""
    max_tokens: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Longest answer, in tokens; default: the prompt's, else the tier's."""
    stop_sequences: ListOf[str] | None = None
    """Texts at which the model stops."""
    thinking: JsonObject | None = None
    """Passed on as it is, where the model takes it."""
    effort: Effort | None = None
    """Passed on as it is, where the model takes it."""
    output_schema: JsonObject | None = None
    """JSON Schema that the result must validate against; default: the prompt's."""
    tools: ListOf[ShortText] = Field(default_factory=list)
    """Names of MCP servers or tools that the operator allows."""
    deadline: Moment | None = None
    """After it the request fails, unpaid."""
    priority: Priority = Priority.STANDARD
    """Who goes first where requests wait."""
    stream: bool = False
    """Also publish `CompletionChunk`s."""
    tenant: ShortText = "default"
    """Whom to treat fairly, and whom to bill."""
    user: ShortText | None = None
    """On whose behalf; for audit only."""
    data_classification: DataClassification = DataClassification.INTERNAL
    """How far the content may travel."""
    conversation_id: ShortText | None = None
    """Joins the requests of one conversation in traces; not a memory."""
    reply_to: ShortText | None = None
    """Another output topic; only topics that the operator allows are accepted."""
    metadata: Metadata = Field(default_factory=dict)
    """Returned unchanged on the outcome."""

    @model_validator(mode="after")
    def _asks_something(self) -> "CompletionRequested":
        if self.prompt is None and not self.messages:
            raise ValueError("one of 'prompt' and 'messages' is required; give either")
        if self.prompt is not None and self.system is not None:
            raise ValueError("'system' cannot join a library 'prompt', which has its own; drop one")
        return self


class CompletionSucceeded(Payload):
    """A validated result; published to `claude.results.<tier>.v1` or the request's `reply_to`."""

    request_id: str
    """The request's own."""
    generation: int = 0
    """0, then one more with each replay; subscribers keep the highest."""
    tier: Tier
    """The tier that was asked."""
    model: str
    """The model id that answered."""
    prompt: PromptUsed
    """What was asked, by name, version and hash."""
    content: ListOf[JsonObject]
    """Content blocks as the API gave them; may be empty."""
    text: str
    """The text blocks, joined."""
    output: Any = None
    """Parsed and validated, when a schema was given."""
    validation: Validation
    """How the answer fared against the schema."""
    stop_reason: str
    """The API's word for why the answer ended."""
    usage: TokenUsage
    """Tokens over all calls."""
    cost: Cost
    """Money over all calls."""
    attempts: int
    """How often the request was tried, this time included."""
    timing: Timing
    """Where the time went."""
    api_request_id: str | None = None
    """Of the call that gave the answer."""
    tenant: str
    """The request's."""
    user: str | None = None
    """The request's."""
    data_classification: DataClassification
    """The request's; the answer is to be treated alike."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """The request's, unchanged."""
    completed_at: Moment
    """When the outcome was decided."""


class CompletionFailed(Payload):
    """A request that will not succeed as it is; its dead letter is written with it."""

    request_id: str
    """The request's; where it could not be read, `<topic>/<partition>/<offset>` of the record."""
    generation: int = 0
    """0, then one more with each replay; subscribers keep the highest."""
    tier: Tier
    """The tier that was asked."""
    model: str | None = None
    """Null where no call was made."""
    prompt: PromptUsed | None = None
    """Null where no call was made."""
    failure: Failure
    """Why."""
    text: str | None = None
    """What the model said, where it said something that did not pass."""
    usage: TokenUsage | None = None
    """Tokens over all calls; null where no call was made."""
    cost: Cost | None = None
    """Money over all calls; null where no call was made."""
    attempts: int = 0
    """How often the request was tried."""
    timing: Timing
    """Where the time went."""
    dead_letter: DeadLetterPlace
    """Where the original record rests, for a replay."""
    tenant: str | None = None
    """The request's, where it could be read."""
    user: str | None = None
    """The request's, where it could be read."""
    data_classification: DataClassification | None = None
    """The request's, where it could be read."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """The request's, where it could be read."""
    completed_at: Moment
    """When the outcome was decided."""


class CompletionChunk(Payload):
    """A piece of an answer while it is written, in order of `sequence`."""

    request_id: str
    """The request's own."""
    generation: int = 0
    """0, then one more with each replay."""
    attempt: int
    """A retry starts again from sequence 0; readers drop what an earlier attempt said."""
    sequence: int
    """0, then one more with each chunk."""
    text: str = ""
    """What to append."""
    is_last: bool = False
    """True on the chunk that ends the attempt; the outcome tells how."""


class CancellationRequested(Payload):
    """Asks to fail as `cancelled` what has not been called yet."""

    request_id: RequestId
    """What to cancel."""
    reason: ShortText
    """For people; goes into the failure's detail."""
    requested_by: ShortText
    """A person or a system, for audit."""


Event = (
    CompletionRequested
    | CompletionSucceeded
    | CompletionFailed
    | CompletionChunk
    | CancellationRequested
)
