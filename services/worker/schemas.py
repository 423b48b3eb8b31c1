"""A JSON Schema that an answer must satisfy: checked once, compiled once, used for every answer.

What the API's grammar can enforce of it is in `subset.py`.
"""

from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from pydantic_core import from_json
from referencing import Registry

from services.worker.bounded import BoundedValidator, TooMuch, begin
from services.worker.causes import NOT_A_SCHEMA
from services.worker.quick_check import quick_check
from services.worker.schema_rules import Unusable, plain
from services.worker.subset import to_subset

_SHOWN: Final = 5
_COUNTED: Final = 100
_CLIPPED: Final = 300
_MENDED: Final = 50_000
"""Places of an answer that are looked at for capitals; alternatives multiply them."""
_UNCHECKED: Final = (TooMuch, RecursionError, OverflowError)
"""What an answer can do to a check: it did not pass, then."""


class OutputSchema:
    """One schema, compiled; equal JSON text gives the same object."""

    def __init__(self, text: bytes) -> None:
        self.text: Final = text
        self.original: Final[dict[str, Any]] = plain(from_json(text))
        # An empty registry: a remote `$ref` must never make the worker fetch an address.
        self._validator: Final = BoundedValidator(self.original, registry=Registry())
        self._quick: Final = quick_check(self.original)
        self.subset: Final = to_subset(self.original)

    @property
    def is_quick(self) -> bool:
        """Whether valid answers are accepted without `jsonschema`."""
        return self._quick is not None

    @staticmethod
    def compile(text: bytes) -> "OutputSchema":
        """Compile a schema from its JSON text.

        Raises:
            SluiceError: `invalid_event`: it is no JSON Schema, or one that not every answer can be
                checked against.
        """
        try:
            return _compile(text)
        except SchemaError as exc:
            place = "/".join(map(str, exc.absolute_path))
            raise NOT_A_SCHEMA.error(
                "output_schema: not a JSON Schema, draft 2020-12",
                quoted=f"at {place or 'its root'}",
            ) from None
        except Unusable as exc:
            raise NOT_A_SCHEMA.error(f"output_schema: {exc}") from None
        except RecursionError:
            raise NOT_A_SCHEMA.error("output_schema: nested too deeply; flatten it") from None

    def accepts(self, instance: Any) -> bool:
        """Whether the instance is valid; the cheap question, asked first."""
        if self._quick is not None:
            return self._quick(instance)
        begin()
        try:
            return bool(self._validator.is_valid(instance))
        except _UNCHECKED:
            return False

    def problems(self, instance: Any) -> list[ValidationError]:
        """List what is wrong with an instance, as far as it is worth; never nothing."""
        begin()
        try:
            found = islice(self._validator.iter_errors(instance), _COUNTED)
            return [best_match([error]) for error in found]
        except _UNCHECKED:
            return [ValidationError("is too deep, too large or too intricate to be checked")]

    def with_case_mended(self, instance: Any) -> Any:
        """Return the instance with enum values in the schema's own capitals.

        The API does not promise the case of `enum` and `const`, and readers compare exactly.
        """
        try:
            return _Mender(self.original).mend(instance, self.original)
        except (TooMuch, RecursionError):
            return instance


def for_the_model(problems: list[ValidationError]) -> str:
    """Say what is wrong to the model that wrote it; quotes its own words."""
    lines = [
        f"- {'.'.join(map(str, problem.absolute_path)) or 'the whole answer'}: "
        f"{problem.message[:_CLIPPED]}"
        for problem in problems[:_SHOWN]
    ]
    more = len(problems) - _SHOWN
    return "\n".join([*lines, f"- and {more} more"] if more > 0 else lines)


def for_people(problems: list[ValidationError]) -> str:
    """Say how wrong it is without a word of the answer or the schema: both may be restricted."""
    count = f"{len(problems)}" if len(problems) < _COUNTED else f"{_COUNTED} and more"
    kinds = sorted({str(problem.validator) for problem in problems if problem.validator})
    return f"not valid against the schema: {count} violations of {', '.join(kinds) or 'it'}"


@lru_cache(maxsize=512)
def _compile(text: bytes) -> OutputSchema:
    # Formats are not held against the schema: compiling a pattern to see whether it is one may
    # itself fail in any way, and `schema_rules` judges it.
    Draft202012Validator.check_schema(from_json(text), format_checker=FormatChecker(()))
    return OutputSchema(text)


class _Mender:
    """One pass over one answer."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MENDED

    def mend(self, value: Any, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return value
        self._left -= 1
        if self._left < 0:
            raise TooMuch
        if isinstance(value, str):
            return self._mend_text(value, schema)
        for part in self._branches(schema):
            value = self.mend(value, part)
        if isinstance(value, dict):
            known = schema.get("properties", {})
            return {name: self.mend(part, known.get(name)) for name, part in value.items()}
        if isinstance(value, list):
            return [self.mend(item, schema.get("items")) for item in value]
        return value

    def _mend_text(self, value: str, schema: dict[str, Any]) -> str:
        allowed = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
        if value in allowed:
            return value
        for choice in allowed:
            if isinstance(choice, str) and choice.casefold() == value.casefold():
                return choice
        for part in self._branches(schema):
            mended = self.mend(value, part)
            if mended != value:
                return str(mended)
        return value

    def _branches(self, schema: dict[str, Any]) -> list[Any]:
        branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            node: Any = self._root
            for step in reference[2:].split("/"):
                node = node.get(step) if isinstance(node, dict) else None
            branches.append(node)
        return branches
