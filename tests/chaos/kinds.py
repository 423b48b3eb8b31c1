"""Every kind of fault, by the name under which the report counts it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tests.chaos import network, processes, storms
from tests.chaos.history import Fault
from tests.chaos.proxy import Api
from tests.chaos.world import Struck, World


@dataclass(frozen=True, slots=True)
class Kind:
    """How a fault is done, and what it may cost."""

    do: Callable[[World], Awaitable[Struck]]
    is_abrupt: bool = False
    """Whether it takes partitions from their owner without warning, so that calls that were not
    committed are made again by the next one. Nothing else may repeat a call."""
    aftermath: float = 0.0
    """See `Fault.aftermath`."""
    hinders: float = 0.0
    """See `Fault.hinders`."""
    recovers_within: float = 60.0
    """See `Fault.recovers_within`."""

    def fault(self, name: str, struck: Struck) -> Fault:
        """Write the fault down as the checker wants to know it."""
        return Fault(
            name,
            struck.at,
            struck.until,
            worker=struck.process if self.is_abrupt else "",
            aftermath=self.aftermath,
            hinders=self.hinders,
            is_storm=name in STORMS,
            recovers_within=self.recovers_within,
        )


_KILLED: Final = partial(Kind, is_abrupt=True)
_AWAY: Final = partial(Kind, is_abrupt=True, aftermath=10.0)
"""For whoever is excluded without knowing it. It hears of that with its next heartbeat, a second
later at most; what waits for the throttle by then is still sent until the group has shared out
again, which took 8 s on a machine with five times more work than cores."""
_DISTURBED: Final = partial(Kind, hinders=10.0)
"""For what comes between workers and brokers: a request without an answer is given up after 8 s,
and then the producer is made anew."""

DISTURBANCES: Final = {
    "kill.random": _KILLED(processes.kill_at_random),
    "kill.idle": _KILLED(processes.kill_when_idle),
    "kill.before_send": _KILLED(partial(processes.kill_at, Api.ADD_PARTITIONS)),
    "kill.after_send": _KILLED(partial(processes.kill_at, Api.PRODUCE, is_after=True)),
    "kill.before_offsets": _KILLED(partial(processes.kill_at, Api.TXN_OFFSET_COMMIT)),
    "kill.before_end": _KILLED(partial(processes.kill_at, Api.END_TXN)),
    "kill.after_end": _KILLED(partial(processes.kill_at, Api.END_TXN, is_after=True)),
    "kill.at_claim": _KILLED(processes.kill_at_claim),
    "pause.idle": _AWAY(processes.pause_when_idle),
    "pause.before_send": _AWAY(partial(processes.pause_at, Api.ADD_PARTITIONS)),
    "pause.after_send": _AWAY(partial(processes.pause_at, Api.PRODUCE, is_after=True)),
    "pause.after_offsets": _AWAY(partial(processes.pause_at, Api.TXN_OFFSET_COMMIT, is_after=True)),
    "pause.at_end": _AWAY(partial(processes.pause_at, Api.END_TXN)),
    "pause.in_revoke": _AWAY(processes.pause_in_revoke),
    "net.freeze": _AWAY(network.freeze, hinders=10.0),
    "net.coordinator": _AWAY(network.cut_off_coordinator, hinders=10.0),
    "net.cut": _DISTURBED(network.cut),
    "net.delay": _DISTURBED(network.delay),
    "net.refuse": _DISTURBED(network.refuse),
    "net.drop_answers": _DISTURBED(network.drop_answers),
    "net.late_end": _DISTURBED(partial(network.deliver_end_late, seconds=network.BEYOND_REQUEST)),
    "net.end_after_timeout": _DISTURBED(
        partial(network.deliver_end_late, seconds=network.BEYOND_TRANSACTION)
    ),
    "broker.kill": _DISTURBED(network.kill_broker),
    "broker.pause": _DISTURBED(network.pause_broker),
    "relay.kill": Kind(processes.kill_relay),
    "scale.1_4_1": Kind(processes.scale),
    "scale.rolling": Kind(processes.roll),
}
"""One at a time: what is done to processes, the network and the brokers."""


def _storm(kind: str, **details: Any) -> Kind:
    return Kind(partial(storms.storm, kind, **details))


STORMS: Final = {
    "api.rate_limited": _storm("rate_limited", rate=0.3, retry_after=2),
    "api.overloaded": _storm("overloaded", rate=0.5),
    "api.server_error": _storm("server_error", rate=0.5),
    "api.hang": _storm("hang", rate=0.3, seconds=5),
    "api.reset_before_headers": _storm("reset_before_headers", rate=0.5),
    "api.reset_in_body": _storm("reset_in_body", rate=0.5),
    "api.broken_json": _storm("broken_json", rate=0.5),
    "api.not_json": _storm("not_json", rate=0.3),
    "api.stream_cut": _storm("stream_cut", rate=0.8),
    "api.outage": Kind(storms.outage),
}
"""Beside the others: what the API does."""

KINDS: Final = {**DISTURBANCES, **STORMS}
HARMLESS: Final = frozenset(name for name, kind in KINDS.items() if not kind.is_abrupt)
"""Kinds that may repeat no call."""
