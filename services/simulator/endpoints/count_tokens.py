"""POST /v1/messages/count_tokens.

Imitated: the same validation as messages, a requests-per-minute limit of its own, and headers
without rate limits, as recorded. Here the count is exact; the API's is an estimate.
"""

from random import Random

from services.simulator import errors
from services.simulator.limiter import Refusal
from services.simulator.limits import TOKEN_COUNT
from services.simulator.replies import send_json
from services.simulator.state import Exchange, State
from services.simulator.validation.messages import check_messages
from services.simulator.validation.parsing import parsed_body


async def count(state: State, exchange: Exchange) -> None:
    """Answer one call."""
    request, call = exchange.request, exchange.call
    key = state.keys.authenticate(request.headers)
    call.key, exchange.workspace, call.group = key.id, key.workspace, TOKEN_COUNT
    body = parsed_body(request.body)
    call.model = str(body.get("model", ""))
    version = request.headers["anthropic-version"]
    _, tokens = check_messages(state.models, body, version, counting=True)
    verdict = state.limiters.of(TOKEN_COUNT).admit(0)
    if isinstance(verdict, Refusal):
        raise errors.rate_limited(
            limit=int(verdict.limit),
            measure="requests",
            organization=state.settings.organization,
            model=call.model,
            retry_after=verdict.retry_after,
        )
    verdict.finish()
    send_json(state, exchange, {"input_tokens": tokens}, Random(call.n))  # noqa: S311
