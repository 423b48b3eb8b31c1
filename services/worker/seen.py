"""Tells the second record of a request from the first: upstream delivers at least once.

What is known of a partition is rebuilt from the outcomes that are already there, before the first
of its records is judged; from then on memory is ahead of the topics. A copy may be finished without
a call while the first record is still at work: should the process die, the first record's offset is
incomplete and comes again, the copy's is not.

One record of a request is at work at a time, which is why there is one outcome. What rests on a
retry topic is not at work, and after a restart nobody here knows of it; a copy is then called in
its place. Whichever of the two is met while the other is at work, or after its outcome, is a copy.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import Final, NamedTuple

from services.runtime.engine.ports import Partition, Record
from services.worker.errors import NotNow

_PAUSE: Final = 5.0
"""Seconds between two attempts to read what is past; some more, so that not all come at once."""


class Claim(Enum):
    """What a record is to its request id and generation."""

    FIRST = "first"
    DUPLICATE = "duplicate"
    """Finish it without a call and without an outcome."""
    CONFLICT = "conflict"
    """Another body under the same id: dead letter `invalid_event`."""


class Identity(NamedTuple):
    """What must be unique: a replay is a new generation, so it is no duplicate."""

    request_id: str
    generation: int


class Past(NamedTuple):
    """An outcome that is already on the topic."""

    identity: Identity
    digest: str
    age: float
    """Seconds since it was written."""


class PastUnknown(Exception):  # noqa: N818 -- a state of the cluster
    """The outcomes of a partition cannot be read; `str()` says why."""


class _Entry(NamedTuple):
    offset: int
    digest: str
    at: float
    is_resting: bool = False


@dataclass(slots=True)
class _Known:
    """What is known of one partition, by the name of each request."""

    at_work: dict[int, _Entry] = field(default_factory=dict)
    """Never forgotten: the engine bounds how many there are."""
    past: OrderedDict[int, _Entry] = field(default_factory=OrderedDict)
    """Finished or resting, the oldest first."""


Load = Callable[[Partition], AsyncIterator[Past]]


class Seen:
    """Who has been seen, per partition, in a window bounded in time and number.

    Beyond either bound a duplicate is called again: the window is a promise, not a proof. Names by
    hash: two ids of 64 bits collide once in 10^9 windows of 200,000.

    Args:
        load: Reads the outcomes of a partition's window, oldest first; raises `PastUnknown`.
        window: Seconds to look back from now to an outcome; 0 turns the guard off.
        entries: How many to remember, divided between the partitions; about 350 bytes each.
    """

    def __init__(self, load: Load, *, window: float, entries: int) -> None:
        self._load = load
        self._window = window
        self._entries = entries
        self._known: dict[Partition, _Known] = {}
        self._loading: dict[Partition, asyncio.Task[None]] = {}
        self._unknown: dict[Partition, str] = {}
        self._early: dict[Partition, dict[int, _Entry]] = {}

    @property
    def unknown(self) -> Mapping[Partition, str]:
        """Partitions whose past cannot be read, and why: their records wait."""
        return self._unknown

    async def claim(self, record: Record, identity: Identity, body: str, *, is_hop: bool) -> Claim:
        """Say what a record is; a first one is at work from now on.

        Args:
            record: As it was read; parked records come again under their own offset.
            identity: Its request id and generation.
            body: The digest of its body.
            is_hop: Whether it came back from a retry topic: a new attempt of a known request.

        Raises:
            NotNow: What is past cannot be read; guessing that nothing was would pay for copies.
        """
        if not self._window:
            return Claim.FIRST
        known = self._known.get(record.partition)
        if known is None:
            known = await self._of(record.partition)
        self._expire(known.past)
        name = _name(identity)
        entry = known.at_work.get(name) or known.past.get(name)
        # The log hands over an offset again only if its outcome has not landed: a finished one may
        # have been lost together with its partition.
        if entry is not None and entry.offset != record.offset:
            is_on_its_way_back = is_hop and entry.is_resting
            if entry.digest != body:
                return Claim.CONFLICT
            if not is_on_its_way_back:
                return Claim.DUPLICATE
        known.past.pop(name, None)
        known.at_work[name] = _Entry(record.offset, body, 0.0)
        return Claim.FIRST

    def finish(self, record: Record, identity: Identity, body: str) -> None:
        """Note that a record has its outcome."""
        self._end(record, identity, body, is_resting=False)

    def rest(self, record: Record, identity: Identity, body: str) -> None:
        """Note that a record goes to a retry topic."""
        self._end(record, identity, body, is_resting=True)

    def forget(self, partition: Partition) -> None:
        """Drop a partition that went to another worker; it is rebuilt when it comes back."""
        self._known.pop(partition, None)
        self._loading.pop(partition, None)
        self._unknown.pop(partition, None)
        self._early.pop(partition, None)

    def _end(self, record: Record, identity: Identity, body: str, *, is_resting: bool) -> None:
        known, name = self._known.get(record.partition), _name(identity)
        entry = _Entry(record.offset, body, _now(), is_resting)
        if known is None:  # a record may be given up before anything is judged
            self._early.setdefault(record.partition, {})[name] = entry
            return
        if name in known.at_work and known.at_work[name].offset == record.offset:
            del known.at_work[name]
        self._put(known, name, entry)

    async def _of(self, partition: Partition) -> _Known:
        while (known := self._known.get(partition)) is None:
            loading = self._loading.get(partition)
            if loading is None:
                loading = asyncio.create_task(self._rebuild(partition))
                self._loading[partition] = loading
            # Shielded: the first record to wait may be cancelled, the others still need it.
            await asyncio.shield(loading)
            if (why := self._unknown.get(partition)) is not None:
                raise NotNow(why, _PAUSE * (1 + random.random()))  # noqa: S311
        return known

    async def _rebuild(self, partition: Partition) -> None:
        known, why = _Known(), None
        is_wanted = False
        try:
            async for past in self._load(partition):
                self._put(known, _name(past.identity), _Entry(-1, past.digest, _now() - past.age))
        except PastUnknown as exc:
            why = str(exc)
        finally:
            # Forgotten meanwhile: another worker may have written since, so this is worth nothing.
            if self._loading.get(partition) is asyncio.current_task():
                del self._loading[partition]
                is_wanted = True
        if is_wanted and why is not None:
            self._unknown[partition] = why
        elif is_wanted:
            self._unknown.pop(partition, None)
            self._known[partition] = known
            for name, entry in self._early.pop(partition, {}).items():
                self._put(known, name, entry)

    def _put(self, known: _Known, name: int, entry: _Entry) -> None:
        known.past.pop(name, None)
        known.past[name] = entry
        share = self._entries // max(1, len(self._known))
        while len(known.past) > share:
            known.past.popitem(last=False)

    def _expire(self, past: OrderedDict[int, _Entry]) -> None:
        oldest = _now() - self._window
        while past and next(iter(past.values())).at < oldest:
            past.popitem(last=False)


def _name(identity: Identity) -> int:
    text = f"{identity.generation}/{identity.request_id}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def _now() -> float:
    return asyncio.get_running_loop().time()
