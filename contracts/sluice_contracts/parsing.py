"""JSON bytes become a payload, or an error that says why not without quoting them."""

from collections.abc import Iterable
from math import isfinite
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from sluice_contracts import audits, events, values

MAX_DEPTH: Final = 64
"""Deepest nesting of an event's JSON: no real schema or message comes near it, and what checks a
schema or writes JSON in Python by recursion stays far from its limit."""
_SAID: Final = 3
"""Problems that an `InvalidEvent` names; the rest are counted."""

_FIELDS: Final = frozenset(
    field
    for cls in {**vars(events), **vars(audits), **vars(values)}.values()
    if isinstance(cls, type) and issubclass(cls, BaseModel)
    for field in cls.model_fields
)
_P = TypeVar("_P", bound=BaseModel)


class InvalidEvent(ValueError):  # noqa: N818 -- named after its failure code
    """A record that is not a request: `str()` names the field, the value's kind and the remedy.

    The text never quotes content, so that it may be logged whatever the data's class.
    """


def parse(cls: type[_P], body: bytes) -> _P:
    """Read a payload.

    Raises:
        InvalidEvent: The bytes are not one.
    """
    try:
        # Strict, so that what is accepted is what the published schema accepts.
        # jiter refuses bad UTF-8, lone surrogates and nesting that would exhaust the stack.
        event = cls.model_validate_json(body, strict=True)
    except ValidationError as exc:
        raise InvalidEvent(explain(exc)) from None  # the cause would quote the content
    _check_tree((event,), MAX_DEPTH)
    return event


def _check_tree(nodes: Iterable[object], depth: int) -> None:
    """Refuse what a JSON reader takes and a writer cannot give back: NaN, bottomless nesting."""
    if depth == 0:
        raise InvalidEvent(f"nested deeper than {MAX_DEPTH} levels; flatten it")
    for value in nodes:
        if value is None or isinstance(value, str | int):
            continue  # by far the most
        if isinstance(value, float):
            if not isfinite(value):
                raise InvalidEvent("NaN and numbers over 1e308 are not JSON; send null or a string")
        elif isinstance(value, dict):
            _check_tree(value.values(), depth - 1)
        elif isinstance(value, list):
            _check_tree(value, depth - 1)
        elif isinstance(value, BaseModel):
            _check_tree((*vars(value).values(), *(value.model_extra or {}).values()), depth - 1)


def explain(exc: ValidationError) -> str:
    """Say what is wrong without quoting any value: the input may be restricted."""
    problems = exc.errors(include_url=False, include_context=False, include_input=False)
    said = "; ".join(
        f"{_place(p['loc'])}: {p['msg'].removeprefix('Value error, ')}" for p in problems[:_SAID]
    )
    return f"{said} (and {len(problems) - _SAID} more)" if len(problems) > _SAID else said


def _place(loc: tuple[int | str, ...]) -> str:
    """Name a field in the contract's own words; the caller's keys are content."""
    return ".".join(str(part) for part in loc if isinstance(part, int) or part in _FIELDS) or "body"
