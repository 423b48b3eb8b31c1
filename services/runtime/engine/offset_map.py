"""Incomplete offsets as bytes: the smallest of delta varints, Rice codes and a deflated bitset.

Bounded by construction: with at most 1,536 offsets in a window of 1,000,000, Rice codes with k = 9
take n(k+1) + W/2^k bits = 2,165 bytes, and the smallest of all is never larger.
"""

import zlib
from collections.abc import Sequence
from typing import Final

VARINT: Final = 0
BITSET: Final = 1
RICE: Final = 16  # + k
_WIDEST_RICE: Final = 20
_WIDEST_BITSET: Final = 65_536  # offsets; above it deflating costs more than it can save


class Corrupt(ValueError):  # noqa: N818 -- a state of the data
    """The bytes are not what `encode` writes."""


def encode(offsets: Sequence[int]) -> bytes:
    """Encode ascending offsets that start at 0 or later; the first byte names the code."""
    gaps = _gaps(offsets)
    if not gaps:
        return bytes([VARINT])
    mean = sum(gaps) // len(gaps)
    k = min(max(mean.bit_length() - 1, 0), _WIDEST_RICE)
    k = min((k, k + 1, max(k - 1, 0)), key=lambda k: _rice_bits(gaps, k))
    candidates = []
    rice = (_rice_bits(gaps, k) + 7) // 8
    if sum(_varint_size(gap) for gap in gaps) <= rice:
        candidates.append(bytes([VARINT]) + b"".join(varint(gap) for gap in gaps))
    else:
        candidates.append(bytes([RICE + k]) + _rice(gaps, k))
    if offsets[-1] < _WIDEST_BITSET:
        bits = bytearray(offsets[-1] // 8 + 1)
        for offset in offsets:
            bits[offset >> 3] |= 1 << (offset & 7)
        candidates.append(bytes([BITSET]) + zlib.compress(bits, 6))
    return min(candidates, key=len)


def decode(data: bytes, count: int) -> tuple[int, ...]:
    """Decode `count` offsets; raises `Corrupt` where the bytes cannot be such a map."""
    if not data:
        raise Corrupt("the offset map is empty")
    code, body = data[0], data[1:]
    if code == BITSET:
        return _bitset_offsets(body, count)
    gaps = _varint_gaps(body, count) if code == VARINT else _rice_gaps(body, count, code - RICE)
    offsets = []
    at = -1
    for gap in gaps:
        at += gap + 1
        offsets.append(at)
    return tuple(offsets)


def varint(value: int) -> bytes:
    """Encode a number of any size, seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 -- seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at this index and the index after it."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 -- the last byte of a number has no high bit
            return value, at
        shift += 7
    raise Corrupt("a number runs over the end of the metadata")


def _gaps(offsets: Sequence[int]) -> list[int]:
    gaps = []
    before = -1
    for offset in offsets:
        gaps.append(offset - before - 1)
        before = offset
    return gaps


def _varint_size(value: int) -> int:
    return max((value.bit_length() + 6) // 7, 1)


def _varint_gaps(body: bytes, count: int) -> list[int]:
    gaps = []
    at = 0
    for _ in range(count):
        gap, at = read_varint(body, at)
        gaps.append(gap)
    if at != len(body):
        raise Corrupt(f"{len(body) - at} bytes follow the offset map")
    return gaps


def _rice_bits(gaps: Sequence[int], k: int) -> int:
    return sum(gap >> k for gap in gaps) + len(gaps) * (k + 1)


def _rice(gaps: Sequence[int], k: int) -> bytes:
    low = (1 << k) - 1
    bits = "".join(
        "1" * (gap >> k) + "0" + (format(gap & low, f"0{k}b") if k else "") for gap in gaps
    )
    size = (len(bits) + 7) // 8
    return int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big")


def _rice_gaps(body: bytes, count: int, k: int) -> list[int]:
    if not 0 <= k <= _WIDEST_RICE + 1:
        raise Corrupt(f"no offset map has the code {RICE + k}")
    bits = format(int.from_bytes(body, "big"), f"0{len(body) * 8}b") if body else ""
    gaps = []
    at = 0
    for _ in range(count):
        zero = bits.find("0", at)
        if zero < 0 or zero + 1 + k > len(bits):
            raise Corrupt("the offset map ends before its last offset")
        low = int(bits[zero + 1 : zero + 1 + k], 2) if k else 0
        gaps.append((zero - at) << k | low)
        at = zero + 1 + k
    if len(bits) - at >= 8:  # noqa: PLR2004 -- a whole byte too many
        raise Corrupt("bytes follow the offset map")
    return gaps


def _bitset_offsets(body: bytes, count: int) -> tuple[int, ...]:
    unpack = zlib.decompressobj()
    try:
        bits = unpack.decompress(body, _WIDEST_BITSET // 8)
    except zlib.error as exc:
        raise Corrupt(f"the offset map does not inflate: {exc}") from exc
    offsets = tuple(
        index * 8 + bit
        for index, byte in enumerate(bits)
        if byte
        for bit in range(8)
        if byte >> bit & 1
    )
    if len(offsets) != count or not unpack.eof:
        raise Corrupt(f"the offset map holds {len(offsets)} offsets and says {count}")
    return offsets
