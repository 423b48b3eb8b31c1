"""Writes what the throttle does into the process's metrics."""

from prometheus_client import Histogram

from services.runtime.metrics import Metrics
from services.worker.throttle.buckets import MEASURES
from services.worker.throttle.group import Group
from services.worker.throttle.hold import HoldKind
from services.worker.throttle.pool import Reservation
from sluice_contracts import Priority


class Meter:
    """The metrics of all groups of a process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waits: dict[tuple[str, Priority], Histogram] = {}
        self._counted: dict[str, tuple[float, ...]] = {}

    def waited(self, reservation: Reservation) -> None:
        """Count how long a reservation waited."""
        key = reservation.pool.group, reservation.ask.priority
        child = self._waits.get(key)  # looking a child up by labels costs more than observing
        if child is None:
            child = self._waits[key] = self._metrics.throttle_wait_seconds.labels(*key)
        child.observe(reservation.waited)

    def held(self, group: str, kind: HoldKind) -> None:
        """Count that a group was held."""
        self._metrics.throttle_holds.labels(group, kind).inc()

    def forget(self, group: Group) -> None:
        """Show a group no longer that goes by another name now; what was counted of it stays."""
        metrics, name = self._metrics, group.name
        for measure in MEASURES:
            metrics.throttle_limit.remove(name, measure)
            metrics.throttle_share.remove(name, measure)
            metrics.throttle_fill.remove(name, measure)
            metrics.throttle_binding.remove(name, measure)
        for priority in Priority:
            metrics.throttle_waiting.remove(name, priority)
        for kind in HoldKind:
            metrics.throttle_held.remove(name, kind)

    def read(self, group: Group, *, is_lost: bool) -> None:
        """Show where a group stands."""
        metrics, name, pool = self._metrics, group.name, group.pool
        was = self._counted.get(name, (0.0, 0.0, 0.0))
        total = tuple(pool.demand.total)
        for measure, bucket, limit, before, now in zip(
            MEASURES, pool.buckets, group.allowance.limits, was, total, strict=True
        ):
            metrics.throttle_limit.labels(name, measure).set(limit)
            metrics.throttle_share.labels(name, measure).set(bucket.rate * 60.0)
            metrics.throttle_fill.labels(name, measure).set(max(0.0, bucket.fill))
            metrics.throttle_binding.labels(name, measure).set(pool.binding is measure)
            metrics.throttle_used.labels(name, measure).inc(max(0.0, now - before))
        self._counted[name] = tuple(max(pair) for pair in zip(was, total, strict=True))
        for rank, priority in enumerate(Priority):
            metrics.throttle_waiting.labels(name, priority).set(pool.queue.waiting(rank))
        for kind in HoldKind:
            metrics.throttle_held.labels(name, kind).set(pool.held_for is kind)
        metrics.throttle_replicas.set(len(group.division.members))
        metrics.throttle_safe_share.set(is_lost)
