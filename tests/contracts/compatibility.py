"""What a change of a JSON Schema would break: a pure comparison of two schemas.

It knows the keywords that pydantic writes. A keyword it does not know must stay as it is: better a
false alarm in a test than a record that somebody can no longer read.
"""

from collections.abc import Iterator
from typing import Any, Final

_Schema = dict[str, Any]

_NOTES: Final = frozenset({"$defs", "$id", "$ref", "$schema", "description", "examples", "title"})
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_TYPES: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_COMPARED: Final = _NOTES | {
    "additionalProperties", "anyOf", "const", "default", "enum", "items", "properties", "required",
    "type", "x-extensible-enum", *_LOWER, *_UPPER,
}  # fmt: skip


def incompatibilities(old: _Schema, new: _Schema, *, we_write: bool) -> list[str]:
    """Return why a schema may not become another within a major version, one line each.

    Requests are written by upstream with the old schema and read by us with the new one. Outcomes
    (`we_write`) go both ways: downstream reads with the old schema what we write with the new one,
    and once it has taken the new one it still finds older records on the topic.
    """
    found = [*_lost(old, new, _Roots(old, new)), *_refused(old, new, _Roots(old, new))]
    if we_write:
        found += _refused(new, old, _Roots(new, old))
    return sorted(set(found))


class _Roots:
    """Resolves the references of two schemas, and remembers where a comparison stands."""

    def __init__(self, first: _Schema, second: _Schema, place: str = "") -> None:
        self._first = first
        self._second = second
        self.place = place

    def at(self, step: str) -> "_Roots":
        place = f"{self.place}.{step}" if self.place else step
        return _Roots(self._first, self._second, place)

    def resolve(self, first: _Schema, second: _Schema) -> tuple[_Schema, _Schema]:
        return _resolve(first, self._first), _resolve(second, self._second)

    def say(self, text: str) -> str:
        return f"{self.place or 'the event'}: {text}"


def _resolve(schema: _Schema, root: _Schema) -> _Schema:
    while "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]] | beside
    return schema


def _lost(old: _Schema, new: _Schema, at: _Roots) -> Iterator[str]:
    """What was said and no longer means the same to whoever reads it."""
    old, new = at.resolve(old, new)
    if old.get("default") != new.get("default"):
        yield at.say(f"default changed from {old.get('default')!r} to {new.get('default')!r}")
    for value in old.get("x-extensible-enum", []):
        if value not in new.get("x-extensible-enum", []):
            yield at.say(f"value {value!r} removed")
    if "properties" in new:
        for name, field in old.get("properties", {}).items():
            if name in new["properties"]:
                yield from _lost(field, new["properties"][name], at.at(name))
            else:
                yield at.at(name).say("field removed")
    if "items" in old and "items" in new:
        yield from _lost(old["items"], new["items"], at.at("[]"))
    if "anyOf" in old and "anyOf" in new:
        for before, after in zip(old["anyOf"], new["anyOf"], strict=False):
            yield from _lost(before, after, at)


def _refused(written: _Schema, read: _Schema, at: _Roots) -> Iterator[str]:
    """What is valid for the one who writes and not for the one who reads."""
    written, read = at.resolve(written, read)
    if "anyOf" in written or "anyOf" in read:
        yield from _alternatives(written, read, at)
        written, read = _without(written), _without(read)
        if not (written.keys() | read.keys()) - _NOTES - {"default"}:
            return
    if gone := _types(written) - _types(read):
        yield at.say(f"{', '.join(sorted(gone))} not read")
        return
    yield from _values(written, read, at)
    yield from _bounds(written, read, at)
    yield from _fields(written, read, at)
    if "items" in read:
        yield from _refused(written.get("items", {}), read["items"], at.at("[]"))
    for keyword in sorted((written.keys() | read.keys()) - _COMPARED):
        if keyword in read and written.get(keyword) != read[keyword]:
            yield at.say(f"{keyword} is {read[keyword]!r} here and {written.get(keyword)!r} there")


def _alternatives(written: _Schema, read: _Schema, at: _Roots) -> Iterator[str]:
    readable = read.get("anyOf", [_without(read)])
    for alternative in written.get("anyOf", [_without(written)]):
        if alternative in readable:
            continue
        attempts = [list(_refused(alternative, candidate, at)) for candidate in readable]
        if all(attempts):
            yield from min(attempts, key=len)


def _without(schema: _Schema) -> _Schema:
    return {key: value for key, value in schema.items() if key != "anyOf"}


def _types(schema: _Schema) -> set[str]:
    if "type" not in schema:
        return set(_TYPES)
    types = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    return types | {"integer"} if "number" in types else types


def _values(written: _Schema, read: _Schema, at: _Roots) -> Iterator[str]:
    known = read.get("enum", [read["const"]] if "const" in read else None)
    if known is None:
        return
    said = written.get("enum", [written["const"]] if "const" in written else None)
    if said is None:
        yield at.say(f"only {known!r} read")
        return
    for value in said:
        if value not in known:
            yield at.say(f"value {value!r} not read")


def _bounds(written: _Schema, read: _Schema, at: _Roots) -> Iterator[str]:
    for keyword in _LOWER:
        if keyword in read and written.get(keyword, float("-inf")) < read[keyword]:
            yield at.say(f"{keyword} {read[keyword]} refuses what was {written.get(keyword)}")
    for keyword in _UPPER:
        if keyword in read and written.get(keyword, float("inf")) > read[keyword]:
            yield at.say(f"{keyword} {read[keyword]} refuses what was {written.get(keyword)}")


def _fields(written: _Schema, read: _Schema, at: _Roots) -> Iterator[str]:
    for name in sorted(set(read.get("required", [])) - set(written.get("required", []))):
        yield at.at(name).say("required, and may be missing")
    for name, field in read.get("properties", {}).items():
        if name in written.get("properties", {}):
            yield from _refused(written["properties"][name], field, at.at(name))
    others = read.get("additionalProperties", True)
    if others is False:
        for name in sorted(written.get("properties", {}).keys() - read.get("properties", {})):
            yield at.at(name).say("unknown field refused")
    elif others is not True:
        said = written.get("additionalProperties", True)
        yield from _refused(said if isinstance(said, dict) else {}, others, at.at("*"))
