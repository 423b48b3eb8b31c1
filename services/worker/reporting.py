"""One log line for each call, and the counts beside it: names, ids, numbers; no content."""

from typing import Any

import structlog

from services.runtime.logging import UNKNOWN_CLASS
from services.worker.attempt import Attempt
from services.worker.errors import SluiceError


class Reporter:
    """Says what became of calls and requests; make it after the logs are configured."""

    def __init__(self) -> None:
        # Bound once: a lazy logger puts itself together anew for every line.
        self._log: Any = structlog.get_logger(__name__).bind()

    def succeeded(self, attempt: Attempt) -> None:
        """Report a result."""
        attempt.meters.succeeded.inc()
        self._observe(attempt)
        self._log.info("call.completed", **self._facts(attempt, "succeeded"))

    def copied(self, attempt: Attempt) -> None:
        """Report a record that was finished because it is a copy."""
        attempt.meters.metrics.duplicate_requests.labels(attempt.tier).inc()
        self._log.info("request.duplicated", **self._facts(attempt, "duplicate"))

    def repaired(self, attempt: Attempt, error: SluiceError) -> None:
        """Report a call whose answer goes back to the model."""
        attempt.meters.metrics.repairs.labels(attempt.tier).inc()
        self._log.info("call.completed", **self._facts(attempt, "repair", error))

    def retried(
        self,
        attempt: Attempt,
        error: SluiceError,
        route: str,
        delay: float,
        *,
        trace: Exception | None = None,
    ) -> None:
        """Report an attempt that will be made again: `parked`, or the name of a delay."""
        attempt.meters.metrics.retries.labels(attempt.tier, error.code, route).inc()
        self._log.warning(
            "call.failed",
            delay_s=round(delay, 3),
            exc_info=trace,
            **self._facts(attempt, route, error),
        )

    def given_up(
        self, attempt: Attempt, error: SluiceError, *, trace: Exception | None = None
    ) -> None:
        """Report a dead letter."""
        self._observe(attempt)
        attempt.meters.metrics.requests.labels(attempt.tier, error.code).inc()
        attempt.meters.metrics.dead_letters.labels(attempt.tier, error.code).inc()
        event = "call.failed" if attempt.call is not None else "request.failed"
        self._log.warning(event, exc_info=trace, **self._facts(attempt, "dead_letter", error))

    def stopped(self, attempt: Attempt, error: SluiceError) -> None:
        """Report a call whose failure stops the tier; its record waits."""
        self._log.warning("call.failed", **self._facts(attempt, "waits", error))

    def _observe(self, attempt: Attempt) -> None:
        seconds = (attempt.now - attempt.published).total_seconds()
        attempt.meters.request_seconds.observe(max(0.0, seconds))

    def _facts(
        self, attempt: Attempt, disposition: str, error: SluiceError | None = None
    ) -> dict[str, Any]:
        record, request, call = attempt.record, attempt.request, attempt.call
        facts: dict[str, Any] = {
            "disposition": disposition,
            "request_id": attempt.request_id,
            "generation": attempt.generation,
            "attempt": attempt.number,
            "tier": attempt.tier,
            "topic": record.partition.topic,
            "partition": record.partition.number,
            "offset": record.offset,
            "data_classification": (
                request.data_classification if request is not None else UNKNOWN_CLASS
            ),
        }
        if request is not None:
            facts |= {"tenant": request.tenant, "user": request.user}
        if attempt.rendered is not None:
            prompt = attempt.rendered.prompt
            facts |= {
                "prompt_name": prompt.name,
                "prompt_version": prompt.version,
                "prompt_sha256": prompt.sha256,
            }
        if call is not None:
            usage = call.usage
            facts |= {
                "model": attempt.model,
                "latency_ms": round(call.seconds * 1000),
                "throttled_ms": round(call.throttled * 1000),
                "input_tokens": usage.get("input_tokens"),
                "output_tokens": usage.get("output_tokens"),
                "cache_read_input_tokens": usage.get("cache_read_input_tokens"),
                "cache_creation_input_tokens": usage.get("cache_creation_input_tokens"),
                "cost_usd": f"{call.amount:f}",
                "stop_reason": call.stop_reason,
                "key_id": call.key_id,
                "api_request_id": attempt.api_request_id,
            }
        if error is not None:
            facts |= {
                "code": error.code,
                "reason": error.detail,
                "api_error_type": error.api_error_type,
                "stage": attempt.stage_name,
            }
        return facts
