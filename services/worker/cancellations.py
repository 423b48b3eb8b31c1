"""Knows which requests were cancelled; every worker follows the whole cancellation topic.

A cancellation reaches what has not been called yet: waiting in its topic, in the throttle, parked,
or resting on a retry topic. It does not reach back from the future: a replay that was written after
it is meant to run.
"""

import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog

from sluice_contracts import CancellationRequested, InvalidEvent, decode
from sluice_contracts.headers import CE_TYPE, find
from sluice_contracts.topics import CANCELLATION_TYPE

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Who cancelled a request, and when."""

    at_ms: int
    by: str
    reason: str

    def __str__(self) -> str:
        return f"cancelled by {self.by}: {self.reason}"


class Cancellations:
    """The cancellations of the last days, bounded in number.

    Args:
        entries: How many to remember; the oldest are forgotten first, and a word is said of it.
    """

    def __init__(self, *, entries: int) -> None:
        self._entries = entries
        self._known: OrderedDict[str, Cancelled] = OrderedDict()
        self._is_full = False

    def add(self, request_id: str, cancelled: Cancelled) -> None:
        """Remember a cancellation."""
        self._known[request_id] = cancelled
        self._known.move_to_end(request_id)
        if len(self._known) > self._entries:
            self._known.popitem(last=False)
            if not self._is_full:
                self._is_full = True
                log.warning("cancellations.forgotten", remembered=self._entries,
                            remedy="raise CANCELLATION__ENTRIES and restart")  # fmt: skip

    def find(
        self, request_id: str, *, generation: int = 0, written_ms: int = 0
    ) -> Cancelled | None:
        """Return the cancellation that reaches a record, or None.

        Args:
            request_id: Of the request.
            generation: Of the record; only replays are compared by time.
            written_ms: When the record of this generation was first written: its timestamp, or
                `x-origin-timestamp` after a retry hop.
        """
        cancelled = self._known.get(request_id)
        if cancelled is None or (generation and cancelled.at_ms < written_ms):
            return None
        return cancelled

    def on_record(self, record: Any) -> None:
        """Take a record of the cancellation topic; what a `Follower` calls."""
        headers = tuple(record.headers)
        if find(headers, CE_TYPE) is None:  # a bare JSON value
            headers += ((CE_TYPE, CANCELLATION_TYPE.encode()),)
        try:
            event = decode(record.value, headers)
        except InvalidEvent as exc:
            log.warning("cancellation.refused", offset=record.offset, detail=str(exc))
            return
        if isinstance(event, CancellationRequested):
            # A batch has one person and one reason: kept once.
            by, reason = sys.intern(event.requested_by), sys.intern(event.reason)
            self.add(event.request_id, Cancelled(at_ms=record.timestamp, by=by, reason=reason))
