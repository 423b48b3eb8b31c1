"""/_sim/…: the simulator's own controls; see README.md for all of them.

Not part of the imitated API. Without authentication: the simulator listens on loopback.
"""

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.simulator.errors import ErrorAnswer, not_found
from services.simulator.faults import Fault
from services.simulator.keys import DEFAULT_WORKSPACE
from services.simulator.limiter import Limiter, Limits, Remaining
from services.simulator.state import Exchange, State


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeyBody(_Body):
    """A key to add."""

    key: str
    workspace: str = DEFAULT_WORKSPACE


class LimitsBody(_Body):
    """Limits of a group to change; what is missing stays."""

    group: str
    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


class LimiterBody(_Body):
    """How all groups are limited from now on; buckets and accounts begin anew."""

    burst_s: float | None = None
    remaining: Remaining | None = None
    concurrency: int | None = None


class OutageBody(_Body):
    """How long nobody is to listen."""

    seconds: float = Field(gt=0)


_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])
_KEY = TypeAdapter(KeyBody)
_LIMITS = TypeAdapter(LimitsBody)
_LIMITER = TypeAdapter(LimiterBody)
_OUTAGE = TypeAdapter(OutageBody)


async def control(state: State, exchange: Exchange) -> None:
    """Answer one control call."""
    request = exchange.request
    name, _, rest = request.path.removeprefix("/_sim/").partition("/")
    query = {key: values[0] for key, values in parse_qs(request.query).items()}
    try:
        answer = _answer(state, f"{request.method} {name}", rest, query, request.body)
    except ValidationError as error:
        raise ErrorAnswer(400, "invalid_request_error", str(error)) from error
    if isinstance(answer, str):
        body, kind = answer.encode(), "application/x-ndjson"
    else:
        body, kind = json.dumps(answer).encode(), "application/json"
    headers = [("content-type", kind), ("content-length", str(len(body)))]
    exchange.reply.send(200, headers, body)


def _answer(  # noqa: C901, PLR0911, PLR0912 a table of routes reads better than a dispatch by name
    state: State, route: str, rest: str, query: dict[str, str], body: bytes
) -> Any:
    match route:
        case "GET health":
            return {"ready": True}
        case "POST faults":
            faults = body if body.lstrip().startswith(b"[") else b"[" + body + b"]"
            return [state.faults.add(fault).id for fault in _FAULTS.validate_json(faults)]
        case "GET faults":
            return [fault.model_dump(mode="json") for fault in state.faults.waiting()]
        case "DELETE faults":
            return {"removed": state.faults.remove(int(rest) if rest else None)}
        case "GET calls":
            return state.ledger.lines(int(query.get("since", 0)))
        case "DELETE calls":
            state.ledger.forget()
            return {}
        case "GET summary":
            return state.ledger.summary()
        case "GET keys":
            return [asdict(key) for key in state.keys.valid()]
        case "POST keys":
            added = _KEY.validate_json(body)
            return asdict(state.keys.add(added.key, added.workspace))
        case "DELETE keys":
            return {"revoked": state.keys.revoke(rest)}
        case "GET limits":
            return {group: asdict(state.limiters.limits(group)) for group in state.models.groups()}
        case "PUT limits":
            change = _LIMITS.validate_json(body)
            given = change.model_dump(exclude_none=True, exclude={"group"})
            return asdict(state.limiters.change(change.group, **given))
        case "PUT limiter":
            state.limiters.reset(**_LIMITER.validate_json(body).model_dump())
            return {}
        case "PUT foreign":
            change = _LIMITS.validate_json(body)
            use = Limits(change.requests or 0, change.input_tokens or 0, change.output_tokens or 0)
            state.limiters.of(change.group).foreign(use)
            return asdict(use)
        case "GET account":
            since = float(query.get("since", 0))
            return {
                group: _account(limiter, since, state.clock())
                for group, limiter in state.limiters.known().items()
                if rest in ("", group)
            }
        case "POST outage":
            outage = _OUTAGE.validate_json(body)
            for listener in state.listeners:
                listener.go_away(outage.seconds)
            return {"seconds": outage.seconds}
        case "DELETE cache":
            state.cache.clear()
            return {}
    raise not_found(f"control: no {route}; see services/simulator/README.md")


def _account(limiter: Limiter, since: float, now: float) -> dict[str, Any]:
    limiter.settle_foreign()
    return {
        "now": now,
        "in_flight": limiter.in_flight,
        "limits": asdict(limiter.limits),
        "levels": {
            "requests": limiter.requests.level,
            "input_tokens": limiter.input_tokens.level,
            "output_tokens": limiter.output_tokens.level,
        },
        "total": asdict(limiter.account.total),
        "seconds": limiter.account.seconds(since),
    }
