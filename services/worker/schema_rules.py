"""Which JSON Schemas are taken: those that every answer can be checked against.

What is refused here would otherwise fail after an answer was paid for: a reference that leads
nowhere or round in a circle, an identifier that changes what references mean, a pattern that no
bounded time matches.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from pydantic_core import SchemaError, SchemaValidator
from pydantic_core.core_schema import str_schema

_ONE: Final = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS: Final = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_SAME_PLACE: Final = frozenset(
    {"allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"}
)
"""Keywords whose schemas are about the same value, not a part of it."""
_REFUSED: Final = frozenset(
    {
        "$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef",
        "$vocabulary",
    }
)  # fmt: skip
_MOST_PATTERNS: Final = 32
"""Different ones of one schema: to compile one may take a tenth of a second."""
_LONGEST_CHAIN: Final = 32
"""Schemas about one value, each inside or behind the other: checking recurses through them."""

Pointer = tuple[str, ...]
Matcher = SchemaValidator


class Unusable(Exception):  # noqa: N818 -- a verdict on a schema
    """Not every answer could be checked; `str()` says why, without words of the schema."""


def plain(schema: Any) -> Any:
    """Return a copy without the dialect's name: all of it is read as draft 2020-12.

    Args:
        schema: Valid against the meta-schema.

    Raises:
        Unusable: Not every answer can be checked against it.
    """
    schema = _copied(schema)
    found = dict(_walk(schema))
    objects = [part for part in found.values() if isinstance(part, dict)]
    _check_keywords({keyword for part in objects for keyword in part})
    _check_patterns(
        {part["pattern"] for part in objects if "pattern" in part}.union(
            *(part.get("patternProperties", ()) for part in objects)
        )
    )
    _check_chains(found)
    return schema


@lru_cache(maxsize=4096)
def matcher(pattern: str) -> Matcher:
    """Compile a pattern for an engine whose time is linear in the text.

    Raises:
        Unusable: The pattern needs more than that, or is none.
    """
    try:
        return SchemaValidator(str_schema(pattern=pattern))
    except SchemaError:
        raise Unusable("a pattern that cannot be matched in linear time") from None


def _copied(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    copy = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
    for keyword in copy.keys() & set(_ONE):
        copy[keyword] = _copied(copy[keyword])
    for keyword in copy.keys() & set(_LISTS):
        copy[keyword] = [_copied(part) for part in copy[keyword]]
    for keyword in copy.keys() & set(_MAPS):
        copy[keyword] = {name: _copied(part) for name, part in copy[keyword].items()}
    return copy


def _walk(schema: Any, at: Pointer = ()) -> Iterator[tuple[Pointer, Any]]:
    """List the schema and every schema in it with its place."""
    yield at, schema
    for keyword, name, part in _parts(schema):
        yield from _walk(part, (*at, keyword, *name))


def _parts(schema: Any) -> Iterator[tuple[str, Pointer, Any]]:
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield keyword, (), value
        elif keyword in _LISTS:
            for index, part in enumerate(value):
                yield keyword, (str(index),), part
        elif keyword in _MAPS:
            for name, part in value.items():
                yield keyword, (name,), part


def _check_keywords(keywords: set[str]) -> None:
    for keyword in keywords & _REFUSED:
        raise Unusable(f"{keyword} is not taken; refer by '#/$defs/…'")
    if {"patternProperties", "unevaluatedProperties"} <= keywords:
        raise Unusable("patternProperties and unevaluatedProperties cannot be checked together")


def _check_patterns(patterns: set[str]) -> None:
    if len(patterns) > _MOST_PATTERNS:
        raise Unusable(f"{len(patterns)} patterns, at most {_MOST_PATTERNS} are taken")
    for pattern in patterns:
        matcher(pattern)


def _check_chains(found: dict[Pointer, Any]) -> None:
    """Refuse references that lead nowhere, and chains about one value that are endless or long."""
    lengths: dict[Pointer, int] = {}
    for start in found:
        if start in lengths:
            continue
        path, todo = [start], [iter(_behind(found, start))]
        while path:  # no recursion: it is what is being judged
            at = path[-1]
            after = next(todo[-1], None)
            if after is None:
                behind = (lengths[each] for each in _behind(found, at))
                lengths[at] = 1 + max(behind, default=0)
                if lengths[at] > _LONGEST_CHAIN:
                    raise Unusable(f"more than {_LONGEST_CHAIN} schemas in a chain about one value")
                path.pop()
                todo.pop()
            elif after in path:
                raise Unusable(
                    "refers to itself without end; give the cycle a property or an array to pass"
                    " through"
                )
            elif after not in lengths:
                path.append(after)
                todo.append(iter(_behind(found, after)))


def _behind(found: dict[Pointer, Any], at: Pointer) -> list[Pointer]:
    """List the places that the schema at a place hands the same value to."""
    schema = found[at]
    behind = [
        (*at, keyword, *name) for keyword, name, _ in _parts(schema) if keyword in _SAME_PLACE
    ]
    if isinstance(schema, dict) and "$ref" in schema:
        behind.append(_target(found, schema["$ref"]))
    return behind


def _target(found: dict[Pointer, Any], reference: str) -> Pointer:
    if reference == "#":
        return ()
    if reference.startswith("#/"):
        steps = unquote(reference[2:]).split("/")
        place = tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)
        if place in found:
            return place
    raise Unusable("a $ref points to no schema in it; only references within it are followed")
