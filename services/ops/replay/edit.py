"""Changes to a request on its way back, checked before anything is sent."""

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import to_json

from services.ops.dead_letters.letter import Letter
from sluice_contracts import Headers, InvalidEvent, Tier, decode_request
from sluice_contracts import headers as h

_OURS: Final = {
    *h.OURS,
    "x-tenant", "x-prompt", "x-failure-reason", "x-attempt-history", "x-first-time", "x-last-time",
    "x-api-error-type", "x-api-request-id", "x-worker-version", "x-request-digest",
}  # fmt: skip
"""What a dead letter says about its past; a replayed request begins anew without it."""
_FOREIGN: Final = ("kafka_dlt-", "__connect.errors.", "__dlq.errors.", "__streams.errors.")


class EditRefused(Exception):  # noqa: N818 -- a verdict on one dead letter
    """The edited request would not be one; `str()` says why, without content."""


class Edit(BaseModel):
    """What to change; nothing by default, and then a request goes back byte for byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Tier | None = None
    """Another tier: the request topic of that tier, on the same partition number."""
    prompt: str | None = None
    """`@version` for another version of the request's own prompt, `name@version` for any."""
    max_tokens: int | None = None
    merge_patch: dict[str, Any] | None = None
    """JSON merge patch (RFC 7386): objects are merged, null removes."""

    @model_validator(mode="after")
    def _leaves_identity(self) -> Self:
        if self.merge_patch is not None and "request_id" in self.merge_patch:
            raise ValueError(
                "the merge patch changes request_id, which names the request for its caller; "
                "leave it out"
            )
        return self

    @property
    def changes_body(self) -> bool:
        """Whether the body is other than it was."""
        return (self.prompt, self.max_tokens, self.merge_patch) != (None, None, None)

    def apply(self, letter: Letter) -> bytes | None:
        """Return the value to send.

        Raises:
            EditRefused: The edited request does not decode, or has nothing to edit.
        """
        if not self.changes_body:
            value: bytes | None = letter.record.value
            return value
        body = dict(letter.body)
        if not body:
            raise EditRefused("the body is no JSON object, so it cannot be edited")
        if self.merge_patch is not None:
            body = merge_patch(body, self.merge_patch)
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.prompt is not None:
            body["prompt"] = self._prompt(body.get("prompt"))
        value = to_json(body)
        try:
            decode_request(value, _without_past(letter.headers))
        except InvalidEvent as exc:
            raise EditRefused(f"after the edit it is no request: {exc}") from None
        return value

    def _prompt(self, before: object) -> str:
        assert self.prompt is not None
        name, _, version = self.prompt.partition("@")
        if name:
            return self.prompt
        if not isinstance(before, str):
            raise EditRefused("it names no prompt whose version could be changed")
        return f"{before.partition('@')[0]}@{version}"


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def headers_of(letter: Letter, plan_id: str, generation: int) -> Headers:
    """Return the headers of a replayed request: the caller's own, and its place in the chain."""
    return (
        *_without_past(letter.headers),
        (h.REQUEST_ID, letter.request_id.encode()),
        (h.GENERATION, str(generation).encode()),
        (h.ROOT_ID, letter.root_id.encode()),
        (h.REPLAY_ID, plan_id.encode()),
    )


def _without_past(headers: Headers) -> Headers:
    return tuple(
        pair for pair in headers if pair[0] not in _OURS and not pair[0].startswith(_FOREIGN)
    )
