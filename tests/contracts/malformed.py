"""Records that are no requests, for whoever must prove that each becomes a dead letter unharmed.

`malformed()` is the strategy, `samples()` a fixed number of draws to publish; `KINDS` names every
way to be wrong by the contract, `SCHEMAS` those that only the worker sees. All of them end as
`CODE`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sluice_contracts import FailureCode
from sluice_contracts.headers import CE_TYPE, CONTENT_TYPE, Headers
from sluice_contracts.topics import SUCCEEDED_TYPE

CODE: Final = FailureCode.INVALID_EVENT
_MEGABYTE: Final = 1_000_000
_AT_ONCE: Final = 200


class Malformed(NamedTuple):
    """A record value and its headers that no reader may take for a request."""

    kind: str
    value: bytes | None
    headers: Headers = ()


def request(**fields: Any) -> dict[str, Any]:
    """Return the JSON object of a request that is good but for the given fields."""
    return {"request_id": "malformed", "prompt": "ticket-triage", **fields}


Kinds = Mapping[str, SearchStrategy[Any]]


def malformed(kinds: Kinds | None = None) -> SearchStrategy[Malformed]:
    """Draw a record of any kind, each kind as often as the others; default: of `KINDS`."""
    return st.one_of(*(_of(kind, values) for kind, values in (kinds or KINDS).items()))


def samples(count: int, kinds: Kinds | None = None) -> Iterator[Malformed]:
    """Draw that many records, the same ones each time, a few hundred in memory at once.

    Where the value holds a request id, it is made unique: the worker must not take one record for
    a copy of another.
    """
    number, strategy = 0, malformed(kinds)
    for start in range(0, count, _AT_ONCE):
        for record in _drawn(strategy, start, min(_AT_ONCE, count - start)):
            number += 1
            if record.value is None:
                yield record
            else:
                unique = record.value.replace(b'"malformed"', f'"malformed-{number}"'.encode())
                yield record._replace(value=unique)


def _drawn(strategy: SearchStrategy[Malformed], start: int, count: int) -> list[Malformed]:
    drawn: list[Malformed] = []

    @seed(start)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(record: Malformed) -> None:
        drawn.append(record)

    collect()
    return drawn[:count]


def _of(kind: str, strategy: SearchStrategy[Any]) -> SearchStrategy[Malformed]:
    def build(drawn: Any) -> Malformed:
        if isinstance(drawn, tuple):
            return Malformed(kind, *drawn)
        return Malformed(kind, drawn if drawn is None or isinstance(drawn, bytes) else _json(drawn))

    return strategy.map(build)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _one(field: str, values: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: request(**{field: value}))


def _spliced(text: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Put raw bytes where a JSON value stands, inside an otherwise good request."""
    return text.map(
        lambda raw: _json(request(variables="@")).replace(b'"@"', b'{"a":' + raw + b"}")
    )


def _typed(name: str) -> Callable[[bytes], tuple[bytes, Headers]]:
    return lambda content: (_json(request()), ((name, content),))


_SURROGATE = st.integers(0xD800, 0xDFFF).map(lambda code: f"\\u{code:04x}".encode())
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
_NOT_TEXT = _SCALARS.filter(lambda value: value is not None) | st.lists(st.integers(), max_size=3)
_NOT_OBJECT = _SCALARS | st.text(max_size=20) | st.lists(st.integers(), max_size=3)
_WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


def _not_a_request(raw: bytes) -> bool:
    try:
        return not isinstance(json.loads(raw), dict)
    except (ValueError, RecursionError):
        return True


KINDS: Final[dict[str, SearchStrategy[Any]]] = {
    "null": st.none(),
    "empty": st.text(" \t\r\n", max_size=20).map(str.encode),
    "random bytes": st.binary(max_size=300).filter(_not_a_request),
    "a megabyte of bytes": st.binary(min_size=1, max_size=64).map(
        lambda part: b"\xff" + part * (_MEGABYTE // len(part))
    ),
    "a megabyte of text": _WORD.map(lambda word: f'"{word * (_MEGABYTE // len(word))}"'.encode()),
    "bad UTF-8": _spliced(
        st.sampled_from([b'"\xff"', b'"\xc3("', b'"\xed\xa0\xbd"', b'"\xf8\x88"'])
    ),
    "another encoding": st.sampled_from(["utf-16", "utf-32", "utf-8-sig"]).map(
        lambda name: _json(request()).decode().encode(name)
    ),
    "lone surrogate in a value": _spliced(_SURROGATE.map(lambda code: b'"' + code + b'"')),
    "lone surrogate in a key": _spliced(_SURROGATE.map(lambda code: b'{"' + code + b'":1}')),
    "cut off": st.integers(1, len(_json(request())) - 1).map(lambda at: _json(request())[:at]),
    "trailing text": _WORD.map(lambda word: _json(request()) + word.encode()),
    "not an object": _NOT_OBJECT,
    "not a number": _spliced(st.sampled_from([b"NaN", b"Infinity", b"-Infinity", b"1e999"])),
    "endless integer": _spliced(st.integers(5_000, 50_000).map(lambda size: b"9" * size)),
    "deep nesting": _spliced(st.integers(64, 5_000).map(lambda size: b"[" * size + b"]" * size)),
    "bottomless nesting": st.sampled_from([b"[", b'{"a":']).map(
        lambda opening: opening * (_MEGABYTE // len(opening))
    ),
    "missing id": st.just({"prompt": "ticket-triage"}),
    "empty id": st.just(request(request_id="")),
    "endless id": st.integers(129, 2_000).map(lambda size: request(request_id="x" * size)),
    "id of another type": _one("request_id", _NOT_TEXT | st.none()),
    "nothing asked": st.just({"request_id": "malformed"}),
    "prompt and system": _WORD.map(lambda word: request(system=word)),
    "prompt of another type": _one("prompt", _NOT_TEXT),
    "variables of another type": _one("variables", _NOT_OBJECT),
    "messages of another type": _one("messages", _SCALARS | st.text(max_size=20)),
    "unknown role": _one(
        "messages", _WORD.map(lambda word: [{"role": f"{word}-role", "content": "hello"}])
    ),
    "turn without content": _one("messages", st.just([{"role": "user"}])),
    "content of another type": _one(
        "messages", _SCALARS.map(lambda value: [{"role": "user", "content": value}])
    ),
    "block without type": _one(
        "messages", _WORD.map(lambda word: [{"role": "user", "content": [{"text": word}]}])
    ),
    "a megabyte of bad turns": st.just(request(messages=[1] * (_MEGABYTE // 3))),
    "token limit": _one(
        "max_tokens",
        st.integers(max_value=0) | st.integers(2**31) | st.text() | st.floats(0.1, 0.9),
    ),
    "unknown priority": _one("priority", _WORD.map(lambda word: f"{word}!")),
    "unknown classification": _one("data_classification", _WORD.map(lambda word: f"{word}!")),
    "unknown effort": _one("effort", _WORD.map(lambda word: f"{word}!")),
    "schema of another type": _one("output_schema", st.text(max_size=20) | st.booleans()),
    "deadline": _one(
        "deadline",
        st.integers()
        | _WORD
        | st.sampled_from(["2026-01-31T12:00:00", "9999-12-31T23:59:59-09:00"]),
    ),
    "stream of another type": _one("stream", st.sampled_from(["yes", 1, None])),
    "tenant of another type": _one("tenant", _NOT_TEXT | st.none()),
    "endless tenant": st.integers(513, 2_000).map(lambda size: request(tenant="x" * size)),
    "too many metadata": st.integers(33, 200).map(
        lambda count: request(metadata={str(entry): "x" for entry in range(count)})
    ),
    "metadata of another type": _one("metadata", _NOT_OBJECT | st.just({"a": 1})),
    "another event": st.just(SUCCEEDED_TYPE.encode()).map(_typed(CE_TYPE)),
    "unknown event": _WORD.map(str.encode).map(_typed(CE_TYPE)),
    "structured mode without data": _WORD.map(
        lambda word: (_json({"type": word}), ((CONTENT_TYPE, b"application/cloudevents+json"),))
    ),
    "batch mode": st.just(
        (_json([request()]), ((CONTENT_TYPE, b"application/cloudevents-batch+json"),))
    ),
}
"""Each kind's values: JSON, raw bytes, or bytes with headers."""


def _schema(**keywords: Any) -> SearchStrategy[dict[str, Any]]:
    return st.just(request(output_schema=keywords))


SCHEMAS: Final[dict[str, SearchStrategy[Any]]] = {
    "schema with an unknown type": _WORD.map(
        lambda word: request(output_schema={"type": word + "!"})
    ),
    "schema with a bad part": _WORD.map(
        lambda word: request(output_schema={"properties": {word: 5}})
    ),
    "schema that refers to nothing": _WORD.map(
        lambda word: request(output_schema={"$ref": f"#/$defs/{word}"})
    ),
    "schema that refers to a value": _WORD.map(
        lambda word: request(output_schema={"$ref": "#/enum/0", "enum": [word]})
    ),
    "schema that refers elsewhere": _WORD.map(
        lambda word: request(output_schema={"$ref": f"https://{word}.example/schema"})
    ),
    "schema that refers to itself": _schema(allOf=[{"$ref": "#"}]),
    "schema with an anchor": _WORD.map(lambda word: request(output_schema={"$anchor": word})),
    "schema with an id": _WORD.map(lambda word: request(output_schema={"$id": word})),
    "schema with a dynamic reference": _schema(**{"$dynamicRef": "#meta"}),
    "schema with a bad pattern": st.sampled_from(["(", "(?!x)", "a{99999999999}", "[z-a]"]).map(
        lambda pattern: request(output_schema={"properties": {"a": {"pattern": pattern}}})
    ),
    "schema that is too large": st.integers(70_000, 200_000).map(
        lambda size: request(output_schema={"description": "x" * size})
    ),
    "schema that is a long chain": st.integers(40, 200).map(
        lambda size: request(
            output_schema={
                "$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(size)}
                | {f"d{size}": {}},
                "$ref": "#/$defs/d0",
            }
        )
    ),
}
"""What a reader of the contract takes for a request, and the worker does not."""
