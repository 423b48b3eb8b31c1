"""The metrics of one tier, looked up once: a label lookup costs as much as the count itself."""

from typing import Final

from services.runtime.metrics import Metrics
from sluice_contracts import Tier, TokenUsage

STAGES: Final = ("decode", "admit", "render", "throttle", "call", "validate", "publish")


class Meters:
    """What every request of a tier counts; rarer counts go to `metrics` with their labels."""

    def __init__(self, metrics: Metrics, tier: Tier) -> None:
        self.metrics: Final = metrics
        self.stage_seconds: Final = {
            stage: metrics.stage_seconds.labels(stage, tier) for stage in STAGES
        }
        self.succeeded: Final = metrics.requests.labels(tier, "succeeded")
        self.request_seconds: Final = metrics.request_seconds.labels(tier)
        self.in_flight: Final = metrics.in_flight.labels(tier)
        self.calls_ok: Final = metrics.calls.labels(tier, "ok")
        self.call_seconds: Final = metrics.call_seconds.labels(tier)
        self.calls_in_flight: Final = metrics.calls_in_flight.labels(tier)
        self.cancelled_calls: Final = metrics.cancelled_calls.labels(tier)
        self._cost: Final = metrics.cost.labels(tier)
        self._input: Final = metrics.tokens.labels(tier, "input")
        self._output: Final = metrics.tokens.labels(tier, "output")
        self._read: Final = metrics.tokens.labels(tier, "cache_read")
        self._created: Final = metrics.tokens.labels(tier, "cache_creation")

    def count(self, usage: TokenUsage, dollars: float) -> None:
        """Count an answered call."""
        self.calls_ok.inc()
        self._input.inc(usage.input_tokens)
        self._output.inc(usage.output_tokens)
        self._read.inc(usage.cache_read_input_tokens)
        self._created.inc(usage.cache_creation_input_tokens)
        self._cost.inc(dollars)
