"""Plain JSON answers, for every endpoint but messages."""

from random import Random
from typing import Any

from pydantic_core import to_json

from services.simulator.faults import FaultKind
from services.simulator.headers import compressed
from services.simulator.limits import TOKEN_COUNT
from services.simulator.state import Exchange, State


def send_json(
    state: State,
    exchange: Exchange,
    answer: Any,
    random: Random,
    *,
    kind: str = "application/json",
    extra: tuple[tuple[str, str], ...] = (),
) -> None:
    """Send a 200; bytes are sent as they are."""
    if exchange.fault is not None and exchange.fault.kind is FaultKind.RESET_BEFORE_HEADERS:
        # What was asked for has happened; only the answer is lost.
        exchange.call.outcome = exchange.fault.kind.value
        exchange.reply.reset()
        return
    exchange.call.outcome = "ok"
    headers = state.headers.success(
        exchange.request_id,
        exchange.workspace or "",
        {},
        random,
        is_traced=False,
        is_secured=exchange.call.group != TOKEN_COUNT,
    )
    headers.append(("content-type", kind))
    headers += extra
    answers = state.settings.answers
    if random.random() < answers.retry_after_share:
        headers.append(("retry-after", str(random.randrange(1, 60))))
    body = answer if isinstance(answer, bytes) else to_json(answer)
    accepted = exchange.request.headers.get("accept-encoding", "")
    body = compressed(body, headers, accepted, answers.gzip_share, random)
    exchange.reply.send(200, headers, body)
