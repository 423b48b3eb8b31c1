"""Stage `render`: a request becomes the body of a Messages API call.

Static blocks come first and carry the cache mark; what is unique to the request comes after them.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from pydantic_core import to_json

from services.worker.library import PromptLibrary
from services.worker.models import ModelFacts
from services.worker.prompt import Prompt
from services.worker.schemas import OutputSchema
from services.worker.settings import ModelSettings
from sluice_contracts import CompletionRequested, PromptUsed

_IN_WORDS: Final = (
    "Answer with one JSON value only, without any text or fence around it. It must be valid"
    " against this JSON Schema:\n"
)
_NOTHING: Final = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A call ready to be sent, and what its answer is held against."""

    prompt: PromptUsed
    calibration: str
    """Names what token estimates are learned for: a model and a prompt version."""
    schema: OutputSchema | None
    body: dict[str, Any]

    def bytes(self) -> bytes:
        """Serialise the body."""
        return to_json(self.body)

    def with_turns(self, turns: list[dict[str, Any]], max_tokens: int) -> "Rendered":
        """Return the call of the next round: the conversation so far and further turns."""
        body = self.body | {
            "messages": [*self.body["messages"], *turns],
            "max_tokens": max_tokens,
        }
        return Rendered(self.prompt, self.calibration, self.schema, body)


def render(
    request: CompletionRequested,
    schema: OutputSchema | None,
    library: PromptLibrary,
    model: ModelSettings,
    facts: ModelFacts,
) -> Rendered:
    """Build the call.

    Args:
        request: What is asked.
        schema: That the request brings; default: the prompt's.
        library: Has the prompts.
        model: Of the tier.
        facts: Of the model.

    Raises:
        SluiceError: `unknown_prompt`, `variables_missing`, `invalid_event`.
    """
    prompt = library.find(request.prompt) if request.prompt is not None else None
    if schema is None and prompt is not None:
        schema = prompt.schema_for(request.variables)
    used = _used(prompt, request.system)
    meta = prompt.meta if prompt is not None else None
    body: dict[str, Any] = {
        "model": model.model,
        "max_tokens": facts.cap(
            request.max_tokens or (meta.max_tokens if meta is not None else model.max_tokens)
        ),
        "messages": _messages(request, prompt),
    }
    if prompt is not None:
        # Not the automatic top-level mark: it would mark the unique turn, write on every call
        # and read on none.
        mark = {"type": "ephemeral"}
        body["system"] = [{"type": "text", "text": prompt.system, "cache_control": mark}]
    elif request.system:
        body["system"] = request.system  # unmarked: nobody says that the caller repeats it
    if request.stop_sequences:
        body["stop_sequences"] = request.stop_sequences
    thinking = facts.thinking_for(request.thinking or (meta.thinking if meta else None))
    if thinking is not None:
        body["thinking"] = thinking
    effort = facts.effort_for(request.effort or (meta.effort if meta else None), thinking)
    output: dict[str, Any] = {} if effort is None else {"effort": str(effort)}
    if schema is not None and schema.subset is not None and facts.structured_outputs:
        output["format"] = {"type": "json_schema", "schema": schema.subset}
    elif schema is not None:
        body["messages"].append({"role": "user", "content": _IN_WORDS + schema.text.decode()})
    if output:
        body["output_config"] = output
    return Rendered(
        used, f"{model.model}/{prompt.reference if prompt else used.name}", schema, body
    )


def _used(prompt: Prompt | None, system: str | None) -> PromptUsed:
    if prompt is not None:
        return PromptUsed(name=prompt.name, version=prompt.version, sha256=prompt.sha256)
    if system:
        return PromptUsed(name="system", version=None, sha256=sha256(system.encode()).hexdigest())
    return PromptUsed(name="messages", version=None, sha256=_NOTHING)


def _messages(request: CompletionRequested, prompt: Prompt | None) -> list[dict[str, Any]]:
    messages = [message.model_dump() for message in request.messages]
    if prompt is not None:
        messages.insert(0, {"role": "user", "content": prompt.fill(request.variables)})
    return messages
