"""One owned partition: claim, read, check; then records in, verdicts out, progress committed.

A lane is driven by one task, `serve`, which alone uses the producer; every record in flight has a
task of its own. What runs between two awaits is atomic, so there are no locks.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from services.runtime.engine.admission import Admission
from services.runtime.engine.cadence import Cadence
from services.runtime.engine.calls import Calls, Ready
from services.runtime.engine.capacity import Capacity
from services.runtime.engine.journal import Journal
from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.limits import Limits
from services.runtime.engine.metadata import BadMetadata, Progress
from services.runtime.engine.opening import read_start
from services.runtime.engine.phase import Phase
from services.runtime.engine.ports import (
    Committed,
    Log,
    Partition,
    Record,
    Refused,
    Transactions,
    Work,
)
from services.runtime.engine.publication import Lost, Publication
from services.runtime.engine.starts import Starts
from services.runtime.engine.suspicion import Suspicion
from services.runtime.engine.tenure import Tenure

_log = structlog.get_logger(__name__)


class Lane:
    """Takes the records of one partition to their verdicts, each visible exactly once."""

    def __init__(
        self,
        partition: Partition,
        *,
        group: str,
        log: Log,
        transactions: Transactions,
        work: Work,
        limits: Limits,
        capacity: Capacity,
        cadence: Cadence,
    ) -> None:
        self.partition: Final = partition
        self.phase = Phase.CLAIMING
        self.halted: str | None = None
        """Why nothing more is taken from this partition."""
        self.is_broken = False
        """Whether the halt is the program's fault, so that a restart may help."""
        self._group = group
        self._log = log
        self._work = work
        self._limits = limits
        self._capacity = capacity
        self._share = capacity.of(partition.topic)
        self._cadence = cadence
        self._tenure = Tenure(partition, group=group, log=log, limits=limits)
        self._publication = Publication(
            partition,
            log=log,
            transactions=transactions,
            limits=limits,
            may_claim=self._tenure.may_claim,
            doubted=lambda: work.relinquish(partition),
        )
        self.calls: Final = Calls(
            work,
            self._share,
            is_ordered=partition.topic in limits.ordered_topics,
            finished=self._finished,
            rested=self._rested,
            resumed=self._resumed,
            failed=self._failed,
        )
        self._found: Committed | None = None
        self._journal = Journal(group, partition)
        self._loop = asyncio.get_running_loop()
        self.began_at: Final = self._loop.time()
        """Loop time at which this lane set out to claim the partition."""
        self._committed_at = self.began_at
        self._is_urgent = False
        self._is_dirty = False
        self._reopens = False
        self._wake = asyncio.Event()
        self._published = asyncio.Event()
        self._start_from(None, Snapshot(0, 0, ()))

    # --- what the engine does with a lane --------------------------------------------------

    @property
    def ready_since(self) -> float | None:
        """Loop time of the oldest outcome that is not committed."""
        return self.calls.ready[0].since if self.calls.ready else None

    @property
    def room(self) -> int:
        """How many records this lane can take now."""
        is_taking = self.phase is Phase.OPEN and self._is_certain
        return self._admission.room if is_taking else 0

    def take_seek(self) -> int | None:
        """Return, once, where the consumer must be set before the next records are read."""
        offset, self._admission.seek_to = self._admission.seek_to, None
        return offset

    @property
    def _is_certain(self) -> bool:
        """Whether nothing speaks against this lane's being the partition's owner."""
        return self._tenure.is_certain and self._publication.is_settled

    def _may_start(self) -> bool:
        """Whether calls may be made: ownership is certain and answers do not pile up."""
        since = self.ready_since
        is_stuck = since is not None and self._loop.time() - since > self._limits.uncommitted
        return self.phase is Phase.OPEN and self._is_certain and not is_stuck

    @property
    def is_busy(self) -> bool:
        """Whether letting go without draining would repeat calls or look like a crash."""
        return self._suspicion.is_open and self.phase in (Phase.OPEN, Phase.DRAINING)

    def admit(self, records: Sequence[Record], position: int | None) -> None:
        """Take fetched records, in order, of a log that holds nothing else up to `position`.

        What does not fit is fetched again later.
        """
        if not self.room:  # it was revoked or drained while the consumer was being read
            self.reread()
            return
        before = self._ledger.position
        for record, crashes in self._admission.admit(records, position):
            self._condemn(record, crashes)
        if self._ledger.position != before:
            self._starts.fetched()

    def revoked(self) -> None:
        """Take and start no more: what the group is told that runs here must stay all that does."""
        self._tenure.suspend()

    def assigned(self) -> None:
        """Go on with the same calls, once it is certain that nobody else owned the partition."""
        self._tenure.resume()
        self._wake.set()

    def reread(self) -> None:
        """Read again what was fetched after what this lane has taken: it may have been dropped."""
        self._admission.reread()

    async def flush(self) -> None:
        """Publish what is ready now; the caller bounds the wait."""
        last = self.calls.ready[-1] if self.calls.ready else None
        self._is_urgent = True
        try:
            while last in self.calls.ready and self.phase is not Phase.CLOSED:
                self._published.clear()
                self._wake.set()
                await self._published.wait()
        finally:
            self._is_urgent = False

    def drain(self, *, reopen: bool = False) -> None:
        """Finish what runs, give back the rest, then let go; to claim anew where `reopen`."""
        if self.phase in (Phase.OPEN, Phase.HALTED):
            self.phase = Phase.DRAINING
            self._reopens = reopen
            self.calls.give_back()
            self._work.relinquish(self.partition)
            self._starts.withdraw()
        elif self.phase is Phase.DRAINING:
            self._reopens = self._reopens and reopen
        elif self.phase is Phase.CLAIMING and not reopen:
            self.phase = Phase.DRAINED
            self._tenure.is_over = True
        self._wake.set()

    # --- the lane's own task ---------------------------------------------------------------

    async def serve(self) -> None:
        """Own the partition until it is drained, lost, or this is cancelled."""
        try:
            await self._open()
            while self.phase not in (Phase.DRAINED, Phase.CLOSED):
                await self._due()
                await self._commit()
        except Lost:
            _log.warning("partition.lost", partition=self.partition)
            self._end()
        except BadMetadata as exc:
            self._halt(str(exc))
        except Exception as exc:  # noqa: BLE001 -- one lane's fault must not end the others
            self._fail("partition.failed", exc)
        finally:
            if self.phase not in (Phase.DRAINED, Phase.HALTED):
                self.phase = Phase.CLOSED
            await self.calls.close()
            self._note_ready()
            self._starts.withdraw()
            self._published.set()
            await self._publication.let_go()

    async def _open(self) -> None:
        committed = await self._publication.claim()
        found, start = await read_start(
            self.partition, committed, group=self._group, log=self._log, limits=self._limits
        )
        self._found = self._publication.last = committed
        self._start_from(found, start)
        if self.phase is Phase.CLAIMING:
            self.phase = Phase.OPEN
        self._capacity.freed.set()
        _log.info(
            "partition.opened",
            partition=self.partition,
            offset=start.offset,
            incomplete=len(start.incomplete),
            mode=self._suspicion.mode.name.lower(),
        )

    def _start_from(self, found: Progress | None, start: Snapshot) -> None:
        limits = self._limits
        self._suspicion = Suspicion(
            found, sweep_over=limits.incomplete, condemn_after=limits.condemn_after
        )
        self._admission = Admission(start, self.calls, self._suspicion, limits)
        self._ledger = self._admission.ledger
        self._starts = Starts(
            self.calls,
            self._capacity,
            self._share,
            self._ledger,
            self._suspicion,
            is_allowed=self._may_start,
            wake=self._wake.set,
        )
        self.calls.attempts = dict(found.attempts) if found else {}

    async def _verify(self) -> None:
        """Make sure, after a rebalance, that the calls in hand are still this lane's to publish."""
        known = (self._found, self._publication.last)
        if not await self._tenure.is_unchanged(known, self._journal.owner):
            raise Lost
        if self._tenure.is_certain:
            self.reread()
            self._capacity.freed.set()
            self._starts.go()

    # --- commits ---------------------------------------------------------------------------

    async def _due(self) -> None:
        """Wait until there is something to commit and it is time."""
        while True:
            self._wake.clear()
            if self._tenure.may_prove:
                await self._verify()
            at = self._due_at()
            if at is not None and at <= self._loop.time():
                return
            timer = self._loop.call_at(at, self._wake.set) if at is not None else None
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _due_at(self) -> float | None:
        earliest = self._committed_at + self._limits.commit_gap
        calls = self.calls
        if self._starts.wants_commit:
            return self._starts.due_at(earliest)
        since = self.ready_since
        if since is None:
            return earliest if self.phase is Phase.DRAINING and not calls.running else None
        is_full = len(calls.ready) >= self._limits.gather_outcomes
        if self._is_urgent or is_full or self.phase is Phase.DRAINING:
            return earliest
        linger = self._cadence.linger(is_backlogged=not self._share.room)
        return max(earliest, since + linger)

    async def _commit(self) -> None:
        """Publish what is ready with progress; start what had to wait for a commit."""
        batch = self.calls.batch()
        chosen = self._starts.choose()
        is_last = (
            self.phase is Phase.DRAINING
            and not self.calls.running
            and len(batch) == len(self.calls.ready)
        )
        if is_last and not self._suspicion.is_open:  # nothing was started: leave it as it is
            self._end()
            return
        if not (batch or chosen or is_last or self._suspicion.is_stale):
            return
        outputs = [output for ready in batch for output in ready.done.outputs]
        progress = self._progress({each.record.offset for each in batch}, is_clean=is_last)
        try:
            await self._publication.publish(outputs, progress)
        except Refused as refused:
            self._starts.undo(chosen)
            self._refuse(batch, refused)
            return
        except BaseException:
            self._starts.undo(chosen)
            raise
        finally:
            self._committed_at = self._loop.time()
        self._journal.landed()
        self._conclude(batch)
        self._starts.begin(chosen)
        if is_last:
            self._end()

    def _end(self) -> None:
        """Be done: for good where the partition was to be let go, else to claim it anew."""
        is_let_go = self.phase is Phase.DRAINING and not self._reopens
        self.phase = Phase.DRAINED if is_let_go else Phase.CLOSED

    def _progress(self, finishing: set[int], *, is_clean: bool) -> Committed:
        snapshot = self._ledger.snapshot(finishing)
        return self._journal.entry(
            snapshot, self._suspicion, self.calls.attempts, is_clean=is_clean
        )

    def _conclude(self, batch: Sequence[Ready]) -> None:
        for ready in batch:
            self._ledger.complete(ready.record.offset)
            self._suspicion.clears(ready.record.offset)
        self.calls.published(batch)
        self._note_ready()
        self._published.set()

    def _refuse(self, batch: Sequence[Ready], refused: Refused) -> None:
        _log.error("output.refused", partition=self.partition, reason=refused.reason)
        try:
            self.calls.refuse(batch, refused)
        except Exception as exc:  # noqa: BLE001 -- Work must not raise; the lane stops for it
            self._halt(f"offset {batch[0].record.offset} cannot be published: {exc!r}")
        self._note_ready()

    # --- verdicts --------------------------------------------------------------------------

    def _finished(self) -> None:
        self._note_ready()
        self._resumed()

    def _rested(self, offset: int) -> None:
        self._starts.rests(offset)
        self._resumed()

    def _resumed(self) -> None:
        if self.phase is Phase.DRAINING:
            self._wake.set()
        self._starts.go()

    def _note_ready(self) -> None:
        ready = len(self.calls.ready)
        if self._is_dirty != bool(ready):
            self._is_dirty = bool(ready)
            self._cadence.dirty += 1 if ready else -1
        if ready == 1 or ready >= self._limits.gather_outcomes:
            self._wake.set()

    def _condemn(self, record: Record, crashes: int) -> None:
        _log.error("record.condemned", partition=self.partition, offset=record.offset)
        try:
            self.calls.finish(record, self._work.condemn(record, crashes))
        except Exception as exc:  # noqa: BLE001 -- Work must not raise; the lane stops for it
            self._failed(exc)
        self._note_ready()

    def _failed(self, exc: BaseException) -> None:
        self._fail("work.raised", exc)

    def _fail(self, event: str, exc: BaseException) -> None:
        # A message may repeat what the record holds: only its kind and place may be told.
        _log.error(event, partition=self.partition, exc_info=exc, data_classification="restricted")
        self._halt(f"{type(exc).__name__} in the program, see the log", is_broken=True)

    def _halt(self, reason: str, *, is_broken: bool = False) -> None:
        _log.error("partition.halted", partition=self.partition, reason=reason)
        if self.phase is not Phase.DRAINING:
            self.phase = Phase.HALTED
        self.halted = reason
        self.is_broken = self.is_broken or is_broken
        self.calls.give_back()
        self._starts.withdraw()
