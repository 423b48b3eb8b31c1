"""A commit's metadata: the offset map, whose it is, and what the next owner must know.

`"K1" + base64url(crc32, flags, identity, owner, sequence, window, map, attempts, suspects)`. At the
limits of `limits.py` it takes 3,900 of the 4,096 characters that brokers allow by default.
"""

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from services.runtime.engine import offset_map
from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.offset_map import read_varint, varint
from services.runtime.engine.ports import Committed, Partition

MOST_SUSPECTS: Final = 64
"""Suspects whose level is kept one by one; the size of the largest group that is tried at once."""
MOST_ATTEMPTS: Final = 7

_PREFIX: Final = "K1"
_HEAD: Final = struct.Struct(">IB8s8sI")  # crc32, flags, identity, owner, sequence
_CLEAN: Final = 0b1
_MODE_SHIFT: Final = 1
_ATTEMPTS: Final = 0b1000
_SUSPECT: Final = struct.Struct(">H")  # 11 bits of index, 3 bits of level


class Mode(IntEnum):
    """How carefully records are started after crashes (`suspicion.py`)."""

    NORMAL = 0
    SWEEP = 1
    TRIAL = 2


class BadMetadata(Exception):  # noqa: N818 -- a state of the data
    """What is committed cannot be trusted: guessing from it would skip or repeat records."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a commit says about a partition."""

    snapshot: Snapshot
    owner: bytes = bytes(8)
    """Drawn anew by each owner, so that a commit is known as one's own."""
    sequence: int = 0
    clean: bool = False
    """Whether the owner let go in peace; the next one need not suspect anything."""
    mode: Mode = Mode.NORMAL
    boundary: int = 0
    """In a trial: offsets below it were in flight, or may have been, at two crashes."""
    attempts: Mapping[int, int] = field(default_factory=dict)
    """Attempts spent on incomplete offsets, where not 0; at most 7."""
    levels: Mapping[int, int] = field(default_factory=dict)
    """Suspicion against incomplete offsets, where not 0."""


def identity(group: str, partition: Partition) -> bytes:
    """Return what ties metadata to its group and partition."""
    name = "\0".join((group, partition.topic, str(partition.number)))
    return hashlib.sha256(name.encode()).digest()[:8]


def encode(progress: Progress, place: bytes) -> Committed:
    """Return the offset and metadata to commit; `place` is `identity(…)`."""
    snapshot = progress.snapshot
    index = {offset: at for at, offset in enumerate(snapshot.incomplete)}
    attempts = sorted((index[o], n) for o, n in progress.attempts.items() if n and o in index)
    levels = sorted((index[o], n) for o, n in progress.levels.items() if n and o in index)
    assert len(levels) <= MOST_SUSPECTS
    mapped = offset_map.encode([offset - snapshot.offset for offset in snapshot.incomplete])
    body = b"".join(
        (
            varint(snapshot.end - snapshot.offset),
            varint(len(snapshot.incomplete)),
            varint(len(mapped)),
            mapped,
            varint(max(progress.boundary - snapshot.offset, 0)),
            varint(len(levels)),
            *(_SUSPECT.pack(at << 3 | level) for at, level in levels),
            _encode_attempts(attempts, len(snapshot.incomplete)),
        )
    )
    flags = _CLEAN * progress.clean | progress.mode << _MODE_SHIFT | _ATTEMPTS * bool(attempts)
    head = _HEAD.pack(0, flags, place, progress.owner, progress.sequence & 0xFFFFFFFF)[4:]
    checksum = zlib.crc32(snapshot.offset.to_bytes(8, "big") + head + body).to_bytes(4, "big")
    text = base64.urlsafe_b64encode(checksum + head + body).rstrip(b"=").decode()
    return Committed(snapshot.offset, _PREFIX + text)


def decode(committed: Committed, place: bytes) -> Progress:
    """Read what was committed; raises `BadMetadata` where any of it is in doubt.

    An offset without metadata is what other tools write who reset a group: everything below it is
    complete, nothing above.
    """
    if not committed.metadata:
        return Progress(Snapshot(committed.offset, committed.offset, ()), clean=True)
    if not committed.metadata.startswith(_PREFIX):
        raise BadMetadata(f"it starts with {committed.metadata[:8]!r}, not with {_PREFIX!r}")
    text = committed.metadata[len(_PREFIX) :]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        return _read(committed.offset, data, place)
    except (binascii.Error, offset_map.Corrupt, struct.error) as exc:
        raise BadMetadata(f"it cannot be read: {exc}") from exc


def _read(offset: int, data: bytes, place: bytes) -> Progress:
    checksum, flags, found, owner, sequence = _HEAD.unpack_from(data)
    if zlib.crc32(offset.to_bytes(8, "big") + data[4:]) != checksum:
        raise BadMetadata("its checksum is wrong for this offset")
    if found != place:
        raise BadMetadata("it was written for another group, topic or partition")
    window, at = read_varint(data, _HEAD.size)
    count, at = read_varint(data, at)
    size, at = read_varint(data, at)
    relative = offset_map.decode(data[at : at + size], count)
    at += size
    if (relative and (relative[0] != 0 or relative[-1] >= window)) or (not relative and window):
        raise BadMetadata("its offset map does not fit its window")
    incomplete = tuple(offset + each for each in relative)
    boundary, at = read_varint(data, at)
    suspects, at = read_varint(data, at)
    levels = {}
    for _ in range(suspects):
        (packed,) = _SUSPECT.unpack_from(data, at)
        at += _SUSPECT.size
        if packed >> 3 >= count:
            raise BadMetadata("it suspects a record that it does not hold")
        levels[incomplete[packed >> 3]] = packed & 7
    attempts = _decode_attempts(data[at:], incomplete) if flags & _ATTEMPTS else {}
    return Progress(
        snapshot=Snapshot(offset, offset + window, incomplete),
        owner=owner,
        sequence=sequence,
        clean=bool(flags & _CLEAN),
        mode=Mode(min(flags >> _MODE_SHIFT & 3, Mode.TRIAL)),
        boundary=offset + boundary,
        attempts=attempts,
        levels=levels,
    )


def _encode_attempts(attempts: list[tuple[int, int]], count: int) -> bytes:
    """Three bits for every incomplete offset, or index and number of the few that have any."""
    if not attempts:
        return b""
    dense = 0
    for at, number in attempts:
        dense |= min(number, MOST_ATTEMPTS) << at * 3
    packed = b"\0" + dense.to_bytes((count * 3 + 7) // 8, "little")
    sparse = b"\1" + b"".join(
        struct.pack(">H", at << 3 | min(number, MOST_ATTEMPTS)) for at, number in attempts
    )
    return min(packed, sparse, key=len)


def _decode_attempts(data: bytes, incomplete: tuple[int, ...]) -> dict[int, int]:
    if not data:
        raise BadMetadata("the attempts it announces are missing")
    if data[0] == 0:
        dense = int.from_bytes(data[1:], "little")
        numbers = ((at, dense >> at * 3 & 7) for at in range(len(incomplete)))
    else:
        packed = struct.iter_unpack(">H", data[1:])
        numbers = ((each >> 3, each & 7) for (each,) in packed)
    try:
        return {incomplete[at]: number for at, number in numbers if number}
    except IndexError as exc:
        raise BadMetadata("it counts attempts of a record that it does not hold") from exc
