"""What the endpoints share: one organisation with its keys, limits, caches and calls."""

from collections.abc import Callable
from dataclasses import dataclass, field

from services.simulator.answers.answer import Author
from services.simulator.batches import Batches
from services.simulator.faults import Fault, Faults
from services.simulator.headers import HeaderWriter
from services.simulator.keys import Keys
from services.simulator.ledger import Call, Ledger
from services.simulator.limits import Limiters
from services.simulator.models import Catalogue
from services.simulator.prompt_cache import PromptCache
from services.simulator.settings import SimulatorSettings
from services.simulator.wire import Listener, Reply, Request


@dataclass(frozen=True, slots=True)
class State:
    """Everything that outlives a request."""

    settings: SimulatorSettings
    clock: Callable[[], float]
    keys: Keys
    models: Catalogue
    limiters: Limiters
    cache: PromptCache
    faults: Faults
    ledger: Ledger
    author: Author
    headers: HeaderWriter
    batches: Batches
    listeners: list[Listener] = field(default_factory=list)
    """Where it is served; an outage closes them for a while."""


@dataclass(slots=True)
class Exchange:
    """One request on its way through an endpoint."""

    request: Request
    reply: Reply
    call: Call
    request_id: str
    workspace: str | None = None
    """Known once the key is."""
    fault: Fault | None = None
    """What happens to the answer of an endpoint other than messages."""


def build_state(settings: SimulatorSettings, clock: Callable[[], float]) -> State:
    """Put the parts together."""
    return State(
        settings=settings,
        clock=clock,
        keys=Keys(settings.keys, settings.admin_key),
        models=Catalogue(retired=settings.retired_models),
        limiters=Limiters(settings.limits, clock),
        cache=PromptCache(
            settings.cache.min_tokens, settings.cache.ttl_s, settings.cache.ttl_long_s, clock
        ),
        faults=Faults(settings.seed),
        ledger=Ledger(settings.call_log, settings.kept_calls),
        author=Author(settings.answers, settings.latency, settings.seed),
        headers=HeaderWriter(settings.organization),
        batches=Batches(clock, settings.batches.duration_s),
    )
