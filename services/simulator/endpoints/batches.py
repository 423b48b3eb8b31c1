"""/v1/messages/batches: create, list, get, cancel, delete, results.

Imitated: the checks at creation, params validated only when the batch runs (an invalid one becomes
an `errored` result), counts that move at the end, 404 for results before that, results as JSON
lines in another order, all four result types. Not imitated: the queue limit, the spend overshoot,
results that vanish after 29 days, prompt-cache hits within a batch.
"""

import hashlib
import re
from functools import partial
from random import Random
from typing import Any
from urllib.parse import parse_qs

from pydantic_core import to_json

from services.simulator.batches import Batch
from services.simulator.endpoints.messages import finished_message
from services.simulator.errors import ErrorAnswer, invalid, not_found
from services.simulator.prompt_cache import Caching
from services.simulator.replies import send_json
from services.simulator.state import Exchange, State
from services.simulator.validation.messages import check_messages
from services.simulator.validation.parsing import BATCH_LIMIT, parsed_body

PREFIX = "/v1/messages/batches"
MAX_REQUESTS = 100_000
MAX_PAGE = 1_000
DEFAULT_PAGE = 20

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_NOT_IN_BATCHES = ("speed", "fallbacks")


async def batches(state: State, exchange: Exchange) -> None:
    """Answer any call under the prefix."""
    request, call = exchange.request, exchange.call
    key = state.keys.authenticate(request.headers)
    call.key, call.group, exchange.workspace = key.id, "batch", key.workspace
    rest = request.path.removeprefix(PREFIX).strip("/")
    random = Random(call.n)  # noqa: S311 not a secret
    if not rest:
        if request.method == "POST":
            answer = _create(state, exchange, key.workspace)
        else:
            answer = _page(state, exchange, key.workspace)
        send_json(state, exchange, answer, random)
        return
    batch_id, _, action = rest.partition("/")
    batch = state.batches.find(batch_id, key.workspace)
    if batch is None:
        raise not_found(f"Message Batch {batch_id} not found.")
    match request.method, action:
        case "GET", "":
            send_json(state, exchange, _shown(state, exchange, batch), random)
        case "GET", "results":
            name = f'attachment; filename="{batch.id}_results.jsonl"'
            send_json(
                state,
                exchange,
                _results(state, exchange, batch),
                random,
                kind="application/x-jsonl",
                extra=(("content-disposition", name),),
            )
        case "POST", "cancel":
            if batch.cancelled is None and not batch.ended(state.clock()):
                batch.cancelled = state.clock()
            send_json(state, exchange, _shown(state, exchange, batch), random)
        case "DELETE", "":
            if not batch.ended(state.clock()):
                raise invalid(f"Message Batch {batch_id} cannot be deleted before it has ended.")
            state.batches.delete(batch)
            send_json(state, exchange, {"id": batch.id, "type": "message_batch_deleted"}, random)
        case _:
            raise not_found(f"Not found: {request.path}")


def _create(state: State, exchange: Exchange, workspace: str) -> dict[str, Any]:
    body = parsed_body(exchange.request.body, BATCH_LIMIT)
    exchange.call.body_sha256 = hashlib.sha256(exchange.request.body).hexdigest()
    requests = body.get("requests")
    if not isinstance(requests, list) or not requests:
        raise invalid("requests: Field required")
    if len(requests) > MAX_REQUESTS:
        raise invalid(f"requests: List should have at most {MAX_REQUESTS} items")
    seen: set[str] = set()
    for number, request in enumerate(requests):
        custom_id = request.get("custom_id") if isinstance(request, dict) else None
        if not isinstance(custom_id, str) or not _CUSTOM_ID.match(custom_id):
            raise invalid(
                f"requests.{number}.custom_id: String should match pattern "
                "'^[a-zA-Z0-9_-]{1,64}$'"
            )
        if custom_id in seen:
            raise invalid(f"requests.{number}.custom_id: duplicate custom_id: {custom_id}")
        if not isinstance(request.get("params"), dict):
            raise invalid(f"requests.{number}.params: Field required")
        seen.add(custom_id)
    return _shown(state, exchange, state.batches.create(workspace, requests))


def _page(state: State, exchange: Exchange, workspace: str) -> dict[str, Any]:
    query = {name: values[0] for name, values in parse_qs(exchange.request.query).items()}
    limit = int(query.get("limit", DEFAULT_PAGE))
    if not 1 <= limit <= MAX_PAGE:
        raise invalid(f"limit: Input should be between 1 and {MAX_PAGE}")
    found = state.batches.newest(workspace)
    places = {batch.id: place for place, batch in enumerate(found)}
    if "after_id" in query:
        found = found[places.get(query["after_id"], len(found)) + 1 :]
    has_more = len(found) > limit
    if "before_id" in query:
        before = found[: places.get(query["before_id"], 0)]
        has_more, found = len(before) > limit, before[-limit:]
    data = [_shown(state, exchange, batch) for batch in found[:limit]]
    return {
        "data": data,
        "has_more": has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _shown(state: State, exchange: Exchange, batch: Batch) -> dict[str, Any]:
    answer = partial(_result, state, exchange.request.headers["anthropic-version"])
    # The SDK follows `results_url`, so it has to lead back here.
    address = f"http://{exchange.request.headers.get('host', 'localhost')}"
    share = state.settings.batches.expired_share
    return batch.described(state.clock(), answer, share, address)


def _results(state: State, exchange: Exchange, batch: Batch) -> bytes:
    if not batch.ended(state.clock()):
        raise not_found(f"Message Batch {batch.id} has no available results.")
    answer = partial(_result, state, exchange.request.headers["anthropic-version"])
    lines = batch.finish(answer, state.settings.batches.expired_share)
    return b"".join(to_json(line) + b"\n" for line in lines)


def _result(state: State, version: str, params: dict[str, Any]) -> dict[str, Any]:
    try:
        facts, tokens = check_messages(state.models, params, version)
        if params.get("stream") or params["max_tokens"] == 0:
            raise invalid("stream and max_tokens: 0 are not supported in batches")
        for name in _NOT_IN_BATCHES:
            if name in params:
                raise invalid(f"{name}: Extra inputs are not permitted")
    except ErrorAnswer as error:
        detail = {"type": error.type, "message": error.message, "details": error.details}
        return {
            "type": "errored",
            "error": {"type": "error", "error": detail, "request_id": None},
        }
    digest = hashlib.sha256(to_json(params)).digest()
    answer = state.author.write(params, digest, facts)
    message = finished_message(params, facts, answer, tokens, Caching())
    message["usage"]["service_tier"] = "batch"
    return {"type": "succeeded", "message": message}
