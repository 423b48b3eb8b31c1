"""Every metric of the system, declared with its help text; nothing is measured here.

One `Metrics` belongs to one process and is passed to what it observes. Labels have few values:
tiers, stages, failure codes, rate-limit groups, partitions; never a request, tenant or prompt.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120,
)  # fmt: skip
"""Buckets of durations: from a commit on an idle process to a long answer of a large model."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Buckets of how many records one transaction writes."""


class Metrics:
    """The metrics of one process on a registry of their own."""

    def __init__(self, room: str, version: str = "unknown") -> None:
        self.registry: Final = CollectorRegistry()
        # A time stamp beside each counter would double what is scraped.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Info("sluice_build", "What is running.", registry=self.registry).info(
            {"room": room, "version": version}
        )
        self._requests()
        self._calls()
        self._throttle()
        self._engine()
        self._relay()
        self._runtime()

    def _requests(self) -> None:
        self.requests = self._counter(
            "requests",
            "Requests that reached their outcome: `succeeded` or a failure code.",
            "tier",
            "outcome",
        )
        self.request_seconds = self._histogram(
            "request_seconds", "From the request record's timestamp to its outcome.", "tier"
        )
        self.stage_seconds = self._histogram(
            "stage_seconds", "Time spent in a stage, waiting included.", "stage", "tier"
        )
        self.in_flight = self._gauge(
            "in_flight_requests", "Requests between decode and publish.", "tier"
        )
        self.retries = self._counter(
            "retries",
            "Attempts that will be repeated: `parked` in memory or sent to a retry topic.",
            "tier",
            "code",
            "route",
        )
        self.dead_letters = self._counter(
            "dead_letters", "Records that came to rest on a dead-letter topic.", "tier", "code"
        )
        self.duplicate_requests = self._counter(
            "duplicate_requests",
            "Records of a request id that was seen before, finished unpaid.",
            "tier",
        )
        self.repairs = self._counter(
            "repairs", "Extra rounds that told the model what was wrong with its output.", "tier"
        )
        self.gate_closed = self._gauge(
            "gate_closed", "1 from when a tier stops for this cause until a call proves it gone.",
            "tier", "code",
        )  # fmt: skip

    def _calls(self) -> None:
        self.calls = self._counter(
            "calls", "Calls to the API by result: `ok` or a failure code.", "tier", "result"
        )
        self.call_seconds = self._histogram(
            "call_seconds", "Time to an answer of the API, failed ones included.", "tier"
        )
        self.calls_in_flight = self._gauge(
            "calls_in_flight", "Calls that wait for an answer.", "tier"
        )
        self.tokens = self._counter(
            "tokens", "Tokens by kind: input, output, cache_read, cache_creation.", "tier", "kind"
        )
        self.cost = self._counter(
            "cost_usd", "What the calls cost by the price table, in US dollars.", "tier"
        )
        self.cancelled_calls = self._counter(
            "cancelled_calls", "Calls given up before their answer; possibly paid.", "tier"
        )

    def _throttle(self) -> None:
        self.throttle_limit = self._gauge(
            "throttle_limit_per_minute",
            "The organisation's limit that the API reports.",
            "group",
            "bucket",
        )
        self.throttle_share = self._gauge(
            "throttle_share_per_minute",
            "What this replica may use of the limit.",
            "group",
            "bucket",
        )
        self.throttle_fill = self._gauge(
            "throttle_fill_ratio",
            "How full a bucket is; 0 makes the next caller wait.",
            "group",
            "bucket",
        )
        self.throttle_used = self._counter(
            "throttle_used",
            "Requests or tokens taken from a bucket, after settling.",
            "group",
            "bucket",
        )
        self.throttle_binding = self._gauge(
            "throttle_binding",
            "1 for the bucket that makes callers wait at present.",
            "group",
            "bucket",
        )
        self.throttle_wait_seconds = self._histogram(
            "throttle_wait_seconds", "How long a reservation waited.", "group", "priority"
        )
        self.throttle_waiting = self._gauge(
            "throttle_waiting_requests",
            "Requests that wait for a reservation.",
            "group",
            "priority",
        )
        self.throttle_held = self._gauge(
            "throttle_held", "1 while a group is held because the API said so.", "group", "kind"
        )
        self.throttle_holds = self._counter(
            "throttle_holds", "How often a group was held, by kind.", "group", "kind"
        )
        self.throttle_replicas = self._gauge(
            "throttle_replicas", "Replicas that share the allowance, as this one sees them."
        )
        self.throttle_safe_share = self._gauge(
            "throttle_safe_share", "1 while the exchange topic is lost and the safe share is used."
        )

    def _engine(self) -> None:
        self.engine_commits = self._counter(
            "engine_commits",
            "Transactions by result: committed, fenced, indeterminate.",
            "result",
        )
        self.engine_commit_seconds = self._histogram(
            "engine_commit_seconds", "Time from begin to a known end of a transaction."
        )
        self.engine_commit_records = Histogram(
            "sluice_engine_commit_records",
            "Records that one transaction writes.",
            buckets=SIZES,
            registry=self.registry,
        )
        self.engine_lag = self._gauge(
            "engine_lag_records",
            "Records between the committed offset and the log's end.",
            "topic",
            "partition",
        )
        self.engine_incomplete = self._gauge(
            "engine_incomplete_records", "Records taken in and not completed."
        )
        self.engine_parked = self._gauge(
            "engine_parked_records", "Records that wait in memory for another attempt."
        )
        self.engine_in_flight_bytes = self._gauge(
            "engine_in_flight_bytes", "Bytes of the records in memory; intake stops at the budget."
        )
        self.engine_partitions = self._gauge(
            "engine_partitions", "Partitions that this process owns."
        )
        self.engine_rebalances = self._counter(
            "engine_rebalances", "Partitions that came or went: assigned, revoked.", "kind"
        )
        self.engine_condemned = self._counter(
            "engine_condemned_records", "Records given up by the poison guard after N crashes."
        )
        self.engine_refused = self._counter(
            "engine_refused_outputs", "Outputs that the broker will never take, replaced."
        )
        self.engine_oldest_seconds = self._gauge(
            "engine_oldest_seconds", "Age of the longest running record."
        )

    def _relay(self) -> None:
        self.relay_moved = self._counter(
            "relay_moved_records", "Due records put back on their request topic.", "delay"
        )
        self.relay_held = self._gauge(
            "relay_held_records",
            "Records of a retry topic in the relay's memory, not due yet; the others are lag.",
            "delay",
        )
        self.relay_late_seconds = self._histogram(
            "relay_late_seconds", "How long after its due time a record was put back.", "delay"
        )

    def _runtime(self) -> None:
        self.secret_reads = self._counter(
            "secret_reads",
            "Reads of the secret by reason (start, poll, rejected) and result.",
            "reason",
            "result",
        )
        self.secret_changes = self._counter(
            "secret_changes", "How often another key came into use."
        )
        self.secret_stale = self._gauge(
            "secret_stale", "1 while Secrets Manager cannot be read and the last good key serves."
        )
        self.loop_lag_seconds = self._histogram(
            "loop_lag_seconds", "How late the event loop wakes a timer."
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sluice_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"sluice_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"sluice_{name}", text, labels, buckets=SECONDS, registry=self.registry)
