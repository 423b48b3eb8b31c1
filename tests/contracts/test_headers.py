"""Record headers are read leniently and written safely."""

import pytest

from sluice_contracts.headers import Headers, find, find_int, with_headers

HEADERS: Headers = (("a", b"1"), ("b", b"two"), ("a", b"3"), ("c", None), ("d", b"\xff"))


@pytest.mark.parametrize(
    ("name", "expected"), [("a", "3"), ("b", "two"), ("c", None), ("d", None), ("e", None)]
)
def test_find(name: str, expected: str | None) -> None:
    """The last value counts; null and bad UTF-8 are as good as absent."""
    assert expected == find(HEADERS, name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0),
        (b"42", 42),
        *((value, None) for value in (None, b"", b"-1", b"1.5", b" 1", "٣".encode(), b"9" * 5_000)),
    ],
)
def test_find_int(value: bytes | None, expected: int | None) -> None:
    """Only plain digits of a 64-bit size are a number."""
    assert expected == find_int((("n", value),), "n")


def test_with_headers() -> None:
    """Changed headers go last, removed ones go, foreign bytes stay as they are."""
    changed = with_headers(HEADERS, {"a": "9", "b": None, "e": "new", "f": "lone \ud83d"})
    assert (("c", None), ("d", b"\xff"), ("a", b"9"), ("e", b"new"), ("f", b"lone ?")) == changed
