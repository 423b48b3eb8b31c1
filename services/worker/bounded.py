"""The JSON Schema validator, so that no schema and no answer can hold up the process.

The library's own is exact, but a few of its keywords may take time without end: alternatives inside
alternatives, patterns that backtrack, large arrays of different objects. Here every check has a
budget of steps, and those keywords are replaced.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from services.worker.schema_rules import matcher

STEPS: Final = 50_000
"""Keywords looked at in one check. A large answer takes some ten thousand; this many take between
a tenth of a second and, deeply nested, one."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class TooMuch(Exception):  # noqa: N818 -- a verdict on an answer
    """The check of an answer would take too long."""


class _Budget:
    """Steps left in the check that runs; there is one at a time, since a check does not wait."""

    left = STEPS


def begin() -> None:
    """Give the next check its steps."""
    _Budget.left = STEPS


def _counted(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _Budget.left -= 1
        if _Budget.left < 0:
            raise TooMuch
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _matches(pattern: str, text: str) -> bool:
    return bool(matcher(pattern).isinstance_python(text))


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", ())
    known = schema.get("properties", {})
    for name, value in instance.items():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"Additional properties are not allowed ({name!r} is one)")
        else:
            yield from validator.descend(value, allowed, path=name)


def _unique_items(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:  # noqa: FBT001 -- a keyword's signature
    if wanted and isinstance(instance, list) and len(set(map(_told, instance))) < len(instance):
        yield ValidationError("the array has items that are equal")


def _told(value: Any) -> Any:
    """Return what is equal for equal JSON values, and fit for a set."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(_told, value))
    if isinstance(value, dict):
        return frozenset((name, _told(part)) for name, part in value.items())
    return value


_REPLACED: Final[dict[str, Keyword]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}

_LIBRARYS: Final[Mapping[str, Any]] = Draft202012Validator.VALIDATORS
BoundedValidator: Final[Any] = extend(  # type: ignore[no-untyped-call]  # by its stubs
    Draft202012Validator,
    {name: _counted(_REPLACED.get(name, keyword)) for name, keyword in _LIBRARYS.items()},
)
"""Draft 2020-12; call `begin` before each check."""
