"""POST /v1/messages: JSON and SSE.

Imitated: authentication, validation before the limiter is charged, the three limits, prompt
caching, thinking, tools, JSON-schema output, `max_tokens: 0`, stop sequences, latency, faults. Not
imitated: server tools, MCP connector, citations, containers, compaction, fast mode, priority tier.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Any

from services.simulator import errors
from services.simulator.answers.answer import Answer
from services.simulator.answers.spoilt import spoil
from services.simulator.delivery import Delivery
from services.simulator.fault_answers import answer_of
from services.simulator.headers import new_id
from services.simulator.ledger import Call, digest_of
from services.simulator.limiter import Grant, Limiter, Reason, Refusal
from services.simulator.models import ModelFacts, Thinking
from services.simulator.prompt_cache import Caching
from services.simulator.state import Exchange, State
from services.simulator.validation.messages import check_messages
from services.simulator.validation.parsing import parsed_body

SKEW_SIGMA = 0.29
"""The sigma of the sum of four bytes, scaled to ±1."""

_MEASURES = {
    Reason.REQUESTS: "requests",
    Reason.INPUT_TOKENS: "input tokens",
    Reason.OUTPUT_TOKENS: "output tokens",
    Reason.OVERSIZE: "input tokens",
}


async def create(state: State, exchange: Exchange) -> None:
    """Answer one call."""
    request, call = exchange.request, exchange.call
    key = state.keys.authenticate(request.headers)
    call.key, exchange.workspace = key.id, key.workspace
    body = parsed_body(request.body)
    digest = hashlib.sha256(request.body).digest()
    call.body_sha256 = digest.hex()
    call.model = str(body.get("model", ""))
    facts = state.models.serving(call.model)
    call.group = "" if facts is None else facts.group
    fault = state.faults.strike(
        path=request.path,
        model=call.model,
        key=key.id,
        body=request.body,
        streams=bool(body.get("stream")),
    )
    if fault is not None:
        call.fault = fault.kind.value
        failure = answer_of(
            fault, call.model, state.settings.organization, state.limiters.of(call.group)
        )
        if failure is not None:
            raise failure
    version = request.headers["anthropic-version"]
    facts, tokens = check_messages(state.models, body, version)
    limiter = state.limiters.of(facts.group)
    caching = state.cache.look_up(body, key.workspace) if _caches(request.body) else Caching()
    uncached = tokens - caching.read
    grant = _admitted(state, limiter, facts, _estimated(state, uncached, digest))
    limits = limiter.headers(datetime.now(UTC))
    try:
        answer = state.author.write(body, digest, facts)
        if fault is not None:
            spoil(answer, fault, body)
        state.cache.store(caching, answer.first_token_s)
        _correct_later(grant, uncached, answer.first_token_s)
        grant.produce(answer.output_tokens, seconds=answer.producing_s, after=answer.first_token_s)
        _note(call, tokens, caching, answer)
        message = finished_message(body, facts, answer, tokens, caching)
        delivery = Delivery(state, exchange, answer, message, limits, limiter, fault)
        await delivery.run(streams=bool(body.get("stream")))
    finally:
        call.charged_output_tokens -= grant.finish()
        call.charged_input_tokens = grant.input_tokens


def _estimated(state: State, tokens: int, digest: bytes) -> int:
    """Return the input as the server guesses it before it has tokenised it."""
    # Of the digest, so that the same request is estimated the same way: the sum of four bytes is
    # near enough to normal.
    skew = (digest[8] + digest[9] + digest[10] + digest[11]) / 510 - 1
    sigma = state.settings.limits.estimate_sigma
    return max(1, round(tokens * (1 + skew / SKEW_SIGMA * sigma)))


def _correct_later(grant: Grant, tokens: int, seconds: float) -> None:
    if seconds > 0:
        asyncio.get_running_loop().call_later(seconds, grant.correct_input, tokens)
    else:
        grant.correct_input(tokens)


def _caches(body: bytes) -> bool:
    return b'"cache_control"' in body


def _admitted(state: State, limiter: Limiter, facts: ModelFacts, tokens: int) -> Grant:
    verdict = limiter.admit(tokens)
    if not isinstance(verdict, Refusal):
        return verdict
    if verdict.reason is Reason.CONCURRENCY:
        raise errors.too_many_connections()
    if verdict.reason is Reason.RAMP:
        raise errors.ramp_limited(verdict.retry_after or 1)
    raise errors.rate_limited(
        limit=int(verdict.limit),
        measure=_MEASURES[verdict.reason],
        organization=state.settings.organization,
        model=facts.id,
        retry_after=verdict.retry_after,
    )


def _note(call: Call, tokens: int, caching: Caching, answer: Answer) -> None:
    call.input_tokens = tokens - caching.read - caching.written
    call.cache_read_tokens = caching.read
    call.cache_write_tokens = caching.written
    call.output_tokens = answer.output_tokens
    call.charged_output_tokens = answer.output_tokens
    call.stop_reason = answer.stop_reason
    call.content_sha256 = digest_of(answer.content)


def finished_message(
    body: dict[str, Any], facts: ModelFacts, answer: Answer, tokens: int, caching: Caching
) -> dict[str, Any]:
    """Return the message object of an answer."""
    usage: dict[str, Any] = {
        "input_tokens": tokens - caching.read - caching.written,
        "cache_creation_input_tokens": caching.written,
        "cache_read_input_tokens": caching.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": caching.written_5m,
            "ephemeral_1h_input_tokens": caching.written_1h,
        },
        "output_tokens": answer.output_tokens,
    }
    if _may_think(body, facts):
        usage["output_tokens_details"] = {"thinking_tokens": answer.thinking_tokens}
    return {
        "model": facts.id,
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "content": answer.content,
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
        "usage": usage
        | {
            "service_tier": "standard",
            "inference_geo": body.get("inference_geo") or facts.geography,
        },
    }


def _may_think(body: dict[str, Any], facts: ModelFacts) -> bool:
    """Tell whether thinking is accounted for: where the model thinks unasked, or was asked to."""
    asked = (body.get("thinking") or {}).get("type", Thinking.DISABLED)
    return facts.thinks_by_default or asked != Thinking.DISABLED
