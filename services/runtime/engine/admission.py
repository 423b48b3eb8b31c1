"""What a lane takes from the log: which records, how many, and where to read on."""

from collections.abc import Sequence
from typing import Final

from services.runtime.engine.calls import Calls
from services.runtime.engine.ledger import Ledger, Snapshot
from services.runtime.engine.limits import Limits
from services.runtime.engine.metadata import Mode
from services.runtime.engine.ports import Record
from services.runtime.engine.suspicion import Suspicion

_BATCHES: Final = 32


class Admission:
    """Registers fetched records with the ledger, within what the offset map can hold.

    Args:
        start: Where to begin.
        calls: Takes what is admitted in hand.
        suspicion: Knows the records that are to be given up instead.
        limits: What may be held.
    """

    def __init__(self, start: Snapshot, calls: Calls, suspicion: Suspicion, limits: Limits) -> None:
        self.ledger: Final = Ledger(start)
        self.seek_to: int | None = start.offset
        """Where the consumer must be set before the next records are read."""
        self._calls = calls
        self._suspicion = suspicion
        self._limits = limits
        self._blocked_by: int | None = None  # the first offset while the next is too far from it

    @property
    def room(self) -> int:
        """How many records fit now; when nearly full, none until there is some more room."""
        ledger, suspicion = self.ledger, self._suspicion
        if suspicion.mode is Mode.TRIAL and ledger.position >= suspicion.boundary:
            return 0
        if ledger.awaited:
            return self._limits.poll_records  # most of it is complete, and all of it was counted
        first = ledger.first
        if first == self._blocked_by:
            return 0
        free = self._limits.incomplete - len(ledger)
        if free < self._limits.incomplete // _BATCHES:
            return 0
        return max(min(free, self._limits.window - (ledger.position - first)), 0)

    def reread(self) -> None:
        """Read again what comes after what was taken."""
        self.seek_to = self.ledger.position

    def admit(self, records: Sequence[Record], position: int | None) -> list[tuple[Record, int]]:
        """Take records, in order, of a log that holds nothing else up to `position`.

        What does not fit is fetched again later. Returns the records that are to be given up, with
        the number of crashes at which they were in flight.
        """
        ledger = self.ledger
        limit = ledger.first + self._limits.window if len(ledger) else None
        condemned = []
        for record in records:
            is_far = limit is not None and record.offset >= limit
            is_full = len(ledger) >= self._limits.incomplete
            if (is_far or is_full) and record.offset >= ledger.end:
                self.reread()
                self._blocked_by = ledger.first if is_far else None
                break
            if not ledger.register(record.offset):
                continue
            limit = limit or record.offset + self._limits.window
            if crashes := self._suspicion.condemns(record.offset):
                condemned.append((record, crashes))
            else:
                self._calls.add(record)
        else:
            # Past transaction markers, too: a group that stands before one, on a log whose records
            # have all expired, would look as if records had been deleted unread.
            ledger.skip_to(position or 0)
        return condemned
