"""Reads the groups' offset topic, offset maps included, by the layout that the engine documents.

A reader of its own: it shares no code with the engine, so a map that is written and read wrongly
alike is found.
"""

import base64
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Final

from confluent_kafka import Message

from tests.chaos.history import Progress

OFFSETS_TOPIC: Final = "__consumer_offsets"
_HEAD: Final = struct.calcsize(">IB8s8sI")
"""Checksum, flags, identity, owner and sequence number come before the map."""
_VARINTS, _BITSET, _RICE = 0, 1, 16


def progress(messages: Iterator[Message], groups: Collection[str]) -> Iterator[Progress]:
    """Yield what the records of the offset topic say of these groups, in order."""
    for message in messages:
        key, value = message.key(), message.value()
        if not isinstance(key, bytes) or value is None:
            continue
        (version,) = struct.unpack_from(">h", key)
        if version > 1:  # group metadata, not an offset
            continue
        group, at = _string(key, 2)
        topic, at = _string(key, at)
        (number,) = struct.unpack_from(">i", key, at)
        if group not in groups:
            continue
        offset, metadata = _value(value)
        written = message.timestamp()[1] / 1000
        yield Progress(group, (topic, number), offset, written, complete(offset, metadata))


def complete(offset: int, metadata: str) -> frozenset[int]:
    """Return the offsets from `offset` on that the metadata's map calls complete.

    The map holds the incomplete offsets of a window: all others in it are complete.
    """
    if not metadata:
        return frozenset()
    if not metadata.startswith("K1"):
        raise ValueError(f"metadata begins with {metadata[:8]!r}")
    text = metadata[2:]
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[_HEAD:]
    numbers = _Numbers(data)
    window, count, size = next(numbers), next(numbers), next(numbers)
    mapped = data[numbers.at : numbers.at + size]
    incomplete = {offset + each for each in _incomplete(mapped, count)}
    return frozenset(range(offset, offset + window)) - incomplete


def _incomplete(mapped: bytes, count: int) -> Iterator[int]:
    """Decode ascending offsets, relative to the first of the window."""
    code, body = mapped[0], mapped[1:]
    if code == _BITSET:
        bits = int.from_bytes(zlib.decompress(body), "little")
        yield from (at for at in range(bits.bit_length()) if bits >> at & 1)
        return
    gaps = _Numbers(body) if code == _VARINTS else _rice(body, code - _RICE)
    at = -1
    for _ in range(count):
        at += 1 + next(gaps)
        yield at


def _rice(body: bytes, low_bits: int) -> Iterator[int]:
    """Decode Rice codes: the high part in unary, ended by a zero, then the low bits."""
    bits = iter("".join(f"{byte:08b}" for byte in body))
    while True:
        high = 0
        while next(bits, "0") == "1":
            high += 1
        low = "".join(next(bits) for _ in range(low_bits))
        yield high << low_bits | int(low or "0", 2)


class _Numbers(Iterator[int]):
    """Numbers of seven bits a byte, the lowest first; `at` is where the next one begins."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def __next__(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise ValueError("a number that does not end")


def _value(value: bytes) -> tuple[int, str]:
    """Read offset and metadata, which stand behind a leader epoch from version 3 on."""
    version, offset = struct.unpack_from(">hq", value)
    if version >= 4:
        return offset, _compact_string(value, 14)
    return offset, _string(value, 14 if version == 3 else 10)[0]


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", data, at)
    if length < 0:
        return "", at + 2
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


def _compact_string(data: bytes, at: int) -> str:
    """Read a string of the flexible versions: its length plus one comes first."""
    numbers = _Numbers(data[at:])
    length = next(numbers) - 1
    begin = at + numbers.at
    return data[begin : begin + length].decode()
