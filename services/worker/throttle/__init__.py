"""The stage `throttle`: one allowance, fully used, shared by all replicas, without a server."""

from services.worker.throttle.hold import HoldKind
from services.worker.throttle.picking import Ask
from services.worker.throttle.pool import DeadlinePassed, Reservation
from services.worker.throttle.settings import GroupLimits, ThrottleSettings
from services.worker.throttle.throttle import ExceedsLimit, Throttle
from services.worker.throttle.topic import RateTopic

__all__ = [
    "Ask",
    "DeadlinePassed",
    "ExceedsLimit",
    "GroupLimits",
    "HoldKind",
    "RateTopic",
    "Reservation",
    "Throttle",
    "ThrottleSettings",
]
