"""Message batches between their creation and the end of their results.

Pure but for the clock: what a batch shows follows from its age. A batch runs `duration_s`, its
counts stay `processing` until it has ended, results come in an order of their own. A cancelled
batch keeps what was done by then; the rest is `canceled`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from services.simulator.headers import new_id

LIFETIME = timedelta(hours=24)
CANCELLING_S = 1.0

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes the `result` of one request's params."""


@dataclass(slots=True)
class Batch:
    """One batch."""

    id: str
    workspace: str
    requests: list[dict[str, Any]]
    began: float
    """The simulator's clock."""
    created_at: datetime
    duration_s: float
    cancelled: float | None = None
    archived: bool = False
    results: list[dict[str, Any]] | None = field(default=None, repr=False)

    def ended(self, now: float) -> bool:
        """Whether the results are there."""
        if self.cancelled is not None:
            return now >= min(self.cancelled + CANCELLING_S, self.began + self.duration_s)
        return now >= self.began + self.duration_s

    def status(self, now: float) -> str:
        """Return the processing status."""
        if self.ended(now):
            return "ended"
        return "in_progress" if self.cancelled is None else "canceling"

    def finish(self, answer: Answer, expired_share: float) -> list[dict[str, Any]]:
        """Return the results; they are made once, when first looked at."""
        if self.results is not None:
            return self.results
        random = Random(self.id)  # noqa: S311 not a secret
        done_share = 1.0
        if self.cancelled is not None and self.duration_s > 0:
            done_share = (self.cancelled - self.began) / self.duration_s
        made = []
        for request in self.requests:
            draw = random.random()
            if draw >= done_share:
                result = {"type": "canceled"}
            elif draw < expired_share:
                result = {"type": "expired"}
            else:
                result = answer(request["params"])
            made.append({"custom_id": request["custom_id"], "result": result})
        random.shuffle(made)
        self.results = made
        return made

    def described(
        self, now: float, answer: Answer, expired_share: float, address: str
    ) -> dict[str, Any]:
        """Return the batch as the API at this address shows it."""
        has_ended = self.ended(now)
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        if has_ended:
            for line in self.finish(answer, expired_share):
                counts[line["result"]["type"]] += 1
        else:
            counts["processing"] = len(self.requests)
        ended_after = self.duration_s
        if self.cancelled is not None:
            ended_after = min(self.cancelled + CANCELLING_S - self.began, self.duration_s)
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status(now),
            "request_counts": counts,
            "ended_at": self._at(ended_after) if has_ended else None,
            "created_at": self._at(0),
            "expires_at": (self.created_at + LIFETIME).isoformat(),
            "archived_at": None,
            "cancel_initiated_at": None
            if self.cancelled is None
            else self._at(self.cancelled - self.began),
            "results_url": f"{address}/v1/messages/batches/{self.id}/results"
            if has_ended
            else None,
        }

    def _at(self, seconds: float) -> str:
        return (self.created_at + timedelta(seconds=seconds)).isoformat()


class Batches:
    """All batches, newest first."""

    def __init__(self, clock: Callable[[], float], duration_s: float) -> None:
        self._clock = clock
        self._duration_s = duration_s
        self._batches: dict[str, Batch] = {}

    def create(self, workspace: str, requests: list[dict[str, Any]]) -> Batch:
        """Take a batch in."""
        batch = Batch(
            id=new_id("msgbatch"),
            workspace=workspace,
            requests=requests,
            began=self._clock(),
            created_at=datetime.now(UTC),
            duration_s=self._duration_s,
        )
        self.put(batch)
        return batch

    def put(self, batch: Batch) -> None:
        """Hold a batch made elsewhere, for example from a recording."""
        self._batches[batch.id] = batch

    def find(self, batch_id: str, workspace: str) -> Batch | None:
        """Return a batch of a workspace."""
        batch = self._batches.get(batch_id)
        return batch if batch is not None and batch.workspace == workspace else None

    def delete(self, batch: Batch) -> None:
        """Forget a batch."""
        del self._batches[batch.id]

    def newest(self, workspace: str) -> list[Batch]:
        """Return the batches of a workspace, newest first."""
        found = [batch for batch in self._batches.values() if batch.workspace == workspace]
        return found[::-1]
