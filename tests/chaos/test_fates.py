"""What became of records, read from a log's own bytes."""

import struct
from types import SimpleNamespace
from typing import Any

from tests.chaos.fates import batches, judged, read
from tests.chaos.history import Fate

_ABORT, _COMMIT = 0, 1


def _batch(first: int, count: int, producer: int, body: bytes = b"", attributes: int = 0) -> bytes:
    rest = struct.pack(">ibIhiqqqhii", 0, 2, 0, attributes, count - 1, 0, 0, producer, 0, -1, count)
    return struct.pack(">qi", first, len(rest + body)) + rest + body


def _data(first: int, count: int, producer: int) -> bytes:
    return _batch(first, count, producer, b"whatever", attributes=0x10)


def _marker(at: int, producer: int, kind: int) -> bytes:
    key = struct.pack(">hh", 0, kind)
    record = b"\x00\x00\x00" + bytes([len(key) * 2]) + key + b"\x00\x00"
    return _batch(at, 1, producer, bytes([len(record) * 2]) + record, attributes=0x30)


def _fates(log: bytes) -> dict[int, Fate]:
    return {offset: fate for (_, _, offset), fate in judged(("t", 0), batches(log)).items()}


def test_a_marker_decides_what_its_producer_wrote_before() -> None:
    """Two producers beside each other: one commits, the other one's records are aborted."""
    log = b"".join(
        (
            _data(0, 2, 7),
            _data(2, 1, 8),
            _data(3, 1, 7),
            _marker(4, 8, _ABORT),
            _marker(5, 7, _COMMIT),
        )
    )

    assert {
        0: Fate.COMMITTED, 1: Fate.COMMITTED, 2: Fate.ABORTED, 3: Fate.COMMITTED,
    } == _fates(log)  # fmt: skip


def test_what_comes_after_a_marker_is_another_transaction() -> None:
    """A producer may abort, and commit the next."""
    log = _data(0, 1, 7) + _marker(1, 7, _ABORT) + _data(2, 1, 7) + _marker(3, 7, _COMMIT)

    assert {0: Fate.ABORTED, 2: Fate.COMMITTED} == _fates(log)


def test_without_a_marker_a_transaction_is_open() -> None:
    """Nobody has ended it."""
    assert {0: Fate.OPEN} == _fates(_data(0, 1, 7))


def test_other_producers_have_no_transactions() -> None:
    """Upstream's records need no marker."""
    assert {0: Fate.PLAIN, 1: Fate.PLAIN} == _fates(_batch(0, 2, -1))


def test_an_answer_may_end_within_a_batch() -> None:
    """What is cut off is left for the next one."""
    log = _data(0, 1, 7) + _data(1, 1, 7)

    assert 1 == len(list(batches(log[:-1])))


class _Client:
    """A broker whose answers hold one batch and a part of the next."""

    def __init__(self, *stored: bytes) -> None:
        self._stored = stored
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 0)

    async def send(self, _: int, request: Any) -> Any:
        ((_, ((_, offset, _),)),) = request._topics
        data = b"".join(self._stored[offset : offset + 1]) + b"".join(
            part[:-3] for part in self._stored[offset + 1 : offset + 2]
        )
        partition = (0, 0, len(self._stored), data)
        return SimpleNamespace(topics=[("t", [partition])])


async def test_what_an_answer_cuts_off_is_read_once() -> None:
    """A long partition takes several answers, and each may end within a batch."""
    stored = [_data(0, 1, 7), _data(1, 1, 7), _marker(2, 7, _COMMIT)]
    client: Any = _Client(*stored)
    assert [0, 1, 2] == [batch.first for batch in await read(client, "t", 0)]
