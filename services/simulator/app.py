"""Puts the simulator together and serves it: routes, and what every call has in common."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random

from services.simulator.endpoints import (
    batches,
    control,
    count_tokens,
    messages,
    models,
    rate_limits,
)
from services.simulator.errors import ErrorAnswer, not_found
from services.simulator.fault_answers import answer_of
from services.simulator.headers import compressed, new_id
from services.simulator.limits import TOKEN_COUNT
from services.simulator.settings import SimulatorSettings
from services.simulator.state import Exchange, State, build_state
from services.simulator.wire import Listener, Reply, Request, listen

Endpoint = Callable[[State, Exchange], Awaitable[None]]

_OVERSIZE = re.compile("-(input-tokens|requests)-")
"""The limits that the refusal of an oversize request shows."""
_log = logging.getLogger(__name__)

ROUTES: dict[tuple[str, str], Endpoint] = {
    ("POST", "/v1/messages"): messages.create,
    ("POST", "/v1/messages/count_tokens"): count_tokens.count,
    ("GET", "/v1/models"): models.models,
    ("GET", "/v1/organizations/rate_limits"): rate_limits.rate_limits,
}


class Simulator:
    """The API of one organisation."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._random = Random(state.settings.seed)  # noqa: S311 not a secret

    async def listen(self, host: str, port: int) -> Listener:
        """Serve; port 0 takes a free one."""
        listener = await listen(self.handle, host, port)
        self.state.listeners.append(listener)
        return listener

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request, and log it when it is a call of the API."""
        state = self.state
        call = state.ledger.begin(request.path, request.headers, request.arrived)
        exchange = Exchange(request, reply, call, new_id("req"))
        call.request_id = exchange.request_id
        if request.path.startswith("/_sim/"):
            state.ledger.begun -= 1
            await self._run(control.control, exchange)
            return
        endpoint = _endpoint(request)
        try:
            await self._run(endpoint, exchange)
            if reply.is_dropped:  # in the same turn of the loop: what was written last is gone
                call.outcome = "outage"
        except asyncio.CancelledError:
            call.outcome = "outage" if reply.is_dropped else "client_closed"
            raise
        finally:
            call.status = reply.status
            state.ledger.end(call, state.clock())

    async def _run(self, endpoint: Endpoint, exchange: Exchange) -> None:
        try:
            if endpoint is not messages.create:
                self._strike(exchange)
            await endpoint(self.state, exchange)
        except ErrorAnswer as error:
            exchange.call.outcome = exchange.call.fault or error.type
            exchange.call.retry_after = error.headers.get("retry-after")
            self._refuse(exchange, error)
        except Exception:  # noqa: BLE001 the one place; a client must get an answer
            _log.exception("request.failed")
            exchange.call.outcome = "simulator_error"
            if exchange.reply.started:
                exchange.reply.close()
            else:
                self._refuse(exchange, ErrorAnswer(500, "api_error", "the simulator failed"))

    def _strike(self, exchange: Exchange) -> None:
        fault = self.state.faults.strike(path=exchange.request.path, body=exchange.request.body)
        if fault is None:
            return
        exchange.fault, exchange.call.fault = fault, fault.kind.value
        organization = self.state.settings.organization
        failure = answer_of(fault, "", organization, self.state.limiters.of(TOKEN_COUNT))
        if failure is not None:
            raise failure

    def _refuse(self, exchange: Exchange, error: ErrorAnswer) -> None:
        limits: dict[str, str] = {}
        if error.with_limits and exchange.call.group:
            limiter = self.state.limiters.of(exchange.call.group)
            limits = limiter.headers(datetime.now(UTC), full=error.limits_full)
            if error.limits_full:
                limits = {name: said for name, said in limits.items() if _OVERSIZE.search(name)}
        body = error.body(exchange.request_id)
        headers = self.state.headers.failure(error, exchange.request_id, exchange.workspace, limits)
        if error.from_edge or error.plain:
            headers.append(("content-length", str(len(body))))
        else:
            accepted = exchange.request.headers.get("accept-encoding", "")
            share = self.state.settings.answers.gzip_share
            body = compressed(body, headers, accepted, share, self._random)
        exchange.reply.send(error.status, headers, body)


def build(settings: SimulatorSettings) -> Simulator:
    """Build a simulator on the running loop's clock."""
    return Simulator(build_state(settings, asyncio.get_running_loop().time))


def _endpoint(request: Request) -> Endpoint:
    exact = ROUTES.get((request.method, request.path))
    if exact is not None:
        return exact
    if request.path.startswith(batches.PREFIX):
        return batches.batches
    if request.method == "GET" and request.path.startswith("/v1/models/"):
        return models.models
    return _nothing_here


async def _nothing_here(_state: State, exchange: Exchange) -> None:
    raise not_found(f"Not found: {exchange.request.path}")
