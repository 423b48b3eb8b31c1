"""The payloads of the audit topic: one for each call, one for each thing that a person did."""

from pydantic import Field

from sluice_contracts.failures import FailureCode
from sluice_contracts.topics import Tier
from sluice_contracts.values import (
    Cost,
    DataClassification,
    JsonObject,
    Moment,
    Payload,
    PromptUsed,
)


class CallAudited(Payload):
    """Who asked what of which model with which key, what it cost and how it ended; no content."""

    request_id: str
    """The request's own."""
    generation: int = 0
    """0, then one more with each replay."""
    attempt: int
    """The attempt that made the call."""
    call: int
    """1, then one more with each call of the attempt."""
    tier: Tier
    """The tier that was asked."""
    tenant: str
    """The request's; the record's key."""
    user: str | None = None
    """The request's."""
    data_classification: DataClassification
    """The request's."""
    prompt: PromptUsed
    """What was asked, by name, version and hash."""
    model_asked: str
    """The model id that was asked."""
    model: str | None = None
    """The model id that answered."""
    stop_reason: str | None = None
    """Why the answer ended; null where none came."""
    usage: JsonObject | None = None
    """Tokens, as the API counts them; null where no answer came."""
    cost: Cost | None = None
    """Money; null where no answer came."""
    possibly_paid: bool = False
    """True where no answer came and the API may have worked all the same."""
    failure: FailureCode | None = None
    """How the call failed; null where it was answered."""
    api_error_type: str | None = None
    """The API's own word, where it refused."""
    api_request_id: str | None = None
    """What Anthropic's support asks for."""
    key_id: str | None = None
    """Which API key paid: the first eight hex digits of its SHA-256."""
    model_ms: int
    """From the call to its end, in milliseconds."""
    at: Moment
    """When it ended."""


class ActionAudited(Payload):
    """What a person did with `sluice`, and why."""

    action: str
    """For example `request.cancelled`."""
    subject: str
    """To which request or plan."""
    who: str
    """The person, as their operating system knows them."""
    why: str
    """In their words."""
    at: Moment
    """When."""
    details: JsonObject = Field(default_factory=dict)
    """What else the action needs to be understood; no content."""


Audit = CallAudited | ActionAudited
