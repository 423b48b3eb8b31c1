"""Replays one recording through the official SDK against the simulator."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx2
from anthropic._types import RequestOptions

from services.simulator.app import Simulator
from services.simulator.batches import Batch
from services.simulator.faults import Fault, FaultKind
from services.simulator.keys import DEFAULT_WORKSPACE
from tests.fidelity.shapes import Shape, shape_of

SCRUBBED = "MASSIVE_TEXT"
"""What stands for a request's text where a project did not want to keep all of it."""
_CHARACTERS_PER_TOKEN = 4
_NAMED = ("model", "messages", "max_tokens", "stream")


def path_of(recording: dict[str, Any]) -> str:
    """Return the path of a request; some projects redact it where it is /v1/messages."""
    path: str = recording["request"]["path"]
    return "/v1/messages" if "REDACTED" in path else path


def recorded_shape(recording: dict[str, Any]) -> Shape:
    """Return the shape of the recorded answer."""
    response = recording["response"]
    text = response.get("text")
    if text is None:
        text = json.dumps(response["json"])
    return shape_of(response["status"], response["headers"], text)


def provoke(simulator: Simulator, recording: dict[str, Any], shape: Shape) -> None:
    """Bring about what the simulator does not do by itself: refusals, and what a stream carries.

    Which words a model chooses, and whether it calls a tool, is not what is imitated; how they come
    over the wire is. So a stream gets the recorded blocks to send, and nothing else is given: the
    words of errors, every header and every member are the simulator's own.
    """
    simulator.state.faults.remove(None)
    _seed_batch(simulator, recording)
    fault: Fault | None = None
    if shape.events and path_of(recording) == "/v1/messages":
        fault = Fault(kind=FaultKind.SCRIPTED, content=shape.content)
    elif shape.status == 429:
        fault = _refusal(recording)
    elif shape.status in (500, 529):
        is_overload = shape.status == 529
        fault = Fault(kind=FaultKind.OVERLOADED if is_overload else FaultKind.SERVER_ERROR_FINAL)
    if fault is not None:
        simulator.state.faults.add(fault)


def _refusal(recording: dict[str, Any]) -> Fault:
    """Choose the kind of 429 by its words, so that its headers can be compared.

    An oversize refusal has the same words as a rate limit: a request larger than the limit that
    these name is one.
    """
    text = recording["response"].get("text") or ""
    if "concurrent connections" in text:
        return Fault(kind=FaultKind.CONCURRENCY)
    named = re.search(r"rate limit of ([\d,]+) input tokens", text)
    size = len(json.dumps(recording["request"]["body"])) / _CHARACTERS_PER_TOKEN
    if named and (size > int(named[1].replace(",", "")) or _was_scrubbed(recording)):
        return Fault(kind=FaultKind.OVERSIZE)
    return Fault(kind=FaultKind.RATE_LIMITED)


def _was_scrubbed(recording: dict[str, Any]) -> bool:
    return SCRUBBED in json.dumps(recording["request"]["body"])


async def replay(client: anthropic.AsyncAnthropic, recording: dict[str, Any], status: int) -> Shape:
    """Send a recorded request and return the shape of the simulator's answer."""
    request = recording["request"]
    version = {key.lower(): value for key, value in request["headers"].items()}
    headers = {"anthropic-version": version.get("anthropic-version", "2023-06-01")}
    if status == 401:
        headers["x-api-key"] = "sk-ant-api03-revoked"
    try:
        response = await _send(client, recording, headers)
    except anthropic.APIStatusError as error:
        response = error.response
    await response.aread()
    return shape_of(response.status_code, dict(response.headers), response.text)


async def _send(
    client: anthropic.AsyncAnthropic, recording: dict[str, Any], headers: dict[str, str]
) -> httpx2.Response:
    request, path = recording["request"], path_of(recording)
    body = request["body"]
    if path == "/v1/messages" and request["method"] == "POST":
        body = body if isinstance(body, dict) else _stand_in(recording)
        raw = await client.messages.with_raw_response.create(
            model=body.get("model", ""),
            messages=body.get("messages", []),
            max_tokens=body.get("max_tokens", 1),
            stream=body.get("stream", False),
            extra_headers=headers,
            extra_body={name: value for name, value in body.items() if name not in _NAMED},
        )
        return raw.http_response
    options: RequestOptions = {"headers": headers}
    if request["method"] == "GET":
        query = request.get("query")
        full = f"{path}?{query}" if query else path
        return await client.get(full, cast_to=httpx2.Response, options=options)
    if request["method"] == "DELETE":
        return await client.delete(path, cast_to=httpx2.Response, options=options)
    if request["method"] == "HEAD":
        return await client._client.head(f"{client.base_url}{path}")
    return await client.post(path, cast_to=httpx2.Response, body=body, options=options)


def _stand_in(recording: dict[str, Any]) -> dict[str, Any]:
    """Return a request for a recording without one; its answer can still be compared."""
    return {
        "model": "claude-haiku-4-5",
        "max_tokens": 1_000,
        "stream": "sse_stream" in recording["tags"],
        "messages": [{"role": "user", "content": "Not recorded."}],
    }


def _seed_batch(simulator: Simulator, recording: dict[str, Any]) -> None:
    """Let the simulator have the batch that a recording asks for, at the same point of its life."""
    parts = recording["request"]["path"].removeprefix("/v1/messages/batches").strip("/").split("/")
    if not parts[0]:
        return
    answer = recording["response"].get("text") or ""
    has_ended = '"ended"' in answer or (parts[-1] == "results" and "custom_id" in answer)
    message = {"role": "user", "content": "Not recorded."}
    params = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [message]}
    simulator.state.batches.put(
        Batch(
            id=parts[0],
            workspace=DEFAULT_WORKSPACE,
            requests=[{"custom_id": "0", "params": params}],
            began=simulator.state.clock(),
            created_at=datetime.now(UTC),
            duration_s=0 if has_ended else 1_000,
        )
    )
