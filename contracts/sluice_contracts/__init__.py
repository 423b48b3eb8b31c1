"""What upstream publishes and downstream reads: events, topics, failure codes, the codec."""

from sluice_contracts.audits import ActionAudited, CallAudited
from sluice_contracts.codec import (
    Encoded,
    decode,
    decode_audit,
    decode_request,
    encode,
    identity,
)
from sluice_contracts.events import (
    CancellationRequested,
    CompletionChunk,
    CompletionFailed,
    CompletionRequested,
    CompletionSucceeded,
    Event,
)
from sluice_contracts.failures import FailureCode
from sluice_contracts.headers import Headers
from sluice_contracts.parsing import InvalidEvent
from sluice_contracts.topics import CATALOGUE, RetryDelay, Tier, Topic, TopicNames, catalogue
from sluice_contracts.values import (
    Cost,
    DataClassification,
    DeadLetterPlace,
    Effort,
    Failure,
    Message,
    Priority,
    PromptUsed,
    Timing,
    TokenUsage,
    Validation,
)

__all__ = [
    "CATALOGUE",
    "ActionAudited",
    "CallAudited",
    "CancellationRequested",
    "CompletionChunk",
    "CompletionFailed",
    "CompletionRequested",
    "CompletionSucceeded",
    "Cost",
    "DataClassification",
    "DeadLetterPlace",
    "Effort",
    "Encoded",
    "Event",
    "Failure",
    "FailureCode",
    "Headers",
    "InvalidEvent",
    "Message",
    "Priority",
    "PromptUsed",
    "RetryDelay",
    "Tier",
    "Timing",
    "TokenUsage",
    "Topic",
    "TopicNames",
    "Validation",
    "catalogue",
    "decode",
    "decode_audit",
    "decode_request",
    "encode",
    "identity",
]
