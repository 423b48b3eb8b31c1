"""The subset of JSON Schema that structured outputs and strict tools take, and its limits.

The wording of these answers is ours where recordings have none; status and type are the API's.
"""

import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from services.simulator.errors import ErrorAnswer, invalid
from services.simulator.models import ModelFacts

MAX_OPTIONAL = 24
MAX_UNIONS = 16
MAX_NODES = 2_000
MAX_ACCEPTED = 1_000

_FORMATS = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
)
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_REFUSED = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "oneOf", "not", "if", "then"),
        *("else", "patternProperties", "propertyNames", "minProperties", "maxProperties"),
        *("prefixItems", "contains", "dependentRequired", "dependentSchemas"),
        *("unevaluatedProperties", "unevaluatedItems"),
    }
)
_accepted: set[bytes] = set()
_BAD_PATTERN = re.compile(r"\\[1-9]|\(\?[=!<]|\\[bB]")


def check_output_format(body: dict[str, Any], facts: ModelFacts) -> None:
    """Raise the API's 400 for an output format that is not taken."""
    output_format = (body.get("output_config") or {}).get("format")
    place = "output_config.format"
    if output_format is None:
        output_format, place = body.get("output_format"), "output_format"
    if output_format is None:
        return
    if not isinstance(output_format, dict) or output_format.get("type") != "json_schema":
        raise invalid(f"{place}.type: Input should be 'json_schema'")
    if "schema" not in output_format:
        raise invalid(f"{place}.schema: Field required")
    if not isinstance(output_format["schema"], dict):
        raise invalid(f"{place}.schema: Input should be a valid dictionary")
    if not facts.structured_outputs:
        raise invalid(f"{place}: structured outputs are not supported on {facts.id}")
    check_schema(output_format["schema"], f"{place}.schema")


def check_schema(schema: dict[str, Any], place: str) -> None:
    """Raise the API's 400 for a schema outside of the subset."""
    # The API keeps compiled grammars for a day; here it saves the walk on every call.
    known = to_json(schema)
    if known in _accepted:
        return
    _walk(schema, place)
    if len(_accepted) >= MAX_ACCEPTED:
        _accepted.clear()
    _accepted.add(known)


def _walk(schema: dict[str, Any], place: str) -> None:
    walk = _Walk(schema, place)
    walk.check(schema, place, ())
    if walk.optional > MAX_OPTIONAL:
        raise invalid(
            f"{place}: Schema has {walk.optional} optional parameters; the maximum is "
            f"{MAX_OPTIONAL}"
        )
    if walk.unions > MAX_UNIONS:
        raise invalid(
            f"{place}: Schema has {walk.unions} parameters with union types; the maximum is "
            f"{MAX_UNIONS}"
        )


@dataclass(slots=True)
class _Walk:
    root: dict[str, Any]
    place: str
    optional: int = 0
    unions: int = 0
    nodes: int = 0

    def check(self, schema: Any, place: str, refs: tuple[str, ...]) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise invalid(f"{self.place}: Schema is too complex for compilation")
        if not isinstance(schema, dict):
            raise invalid(f"{place}: Input should be a valid dictionary")
        refused = next((keyword for keyword in schema if keyword in _REFUSED), None)
        if refused is not None:
            raise _unsupported(place, refused)
        if "$ref" in schema:
            self._follow(schema["$ref"], place, refs)
            return
        self._check_keywords(schema, place)
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if any(one is not None and one not in _TYPES for one in kinds):
            raise invalid(f"{place}.type: '{kind}' is not a valid type")
        self.unions += isinstance(kind, list) or "anyOf" in schema
        if "object" in kinds or "properties" in schema:
            self._check_object(schema, place, refs)
        if "array" in kinds and "items" in schema:
            self.check(schema["items"], f"{place}.items", refs)
        self._check_parts(schema, place, refs)

    def _check_parts(self, schema: dict[str, Any], place: str, refs: tuple[str, ...]) -> None:
        for keyword in ("anyOf", "allOf"):
            for number, part in enumerate(schema.get(keyword, [])):
                if keyword == "allOf" and "$ref" in part:
                    raise invalid(f"{place}.allOf: '$ref' within 'allOf' is not supported")
                self.check(part, f"{place}.{keyword}.{number}", refs)

    def _check_object(self, schema: dict[str, Any], place: str, refs: tuple[str, ...]) -> None:
        if schema.get("additionalProperties") is not False:
            raise invalid(
                f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to "
                "false"
            )
        required = schema.get("required", [])
        for name, part in schema.get("properties", {}).items():
            self.optional += name not in required
            self.check(part, f"{place}.properties.{name}", refs)

    def _follow(self, reference: Any, place: str, refs: tuple[str, ...]) -> None:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise invalid(f"{place}: external '$ref' is not supported: {reference}")
        if reference in refs:
            raise invalid(f"{place}: recursive schemas are not supported: {reference}")
        node: Any = self.root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            raise invalid(f"{place}: '$ref' points to nothing: {reference}")
        self.check(node, place, (*refs, reference))

    def _check_keywords(self, schema: dict[str, Any], place: str) -> None:
        if schema.get("minItems", 0) not in (0, 1):
            raise _unsupported(place, "minItems")
        if schema.get("format", "uuid") not in _FORMATS:
            raise invalid(f"{place}: format '{schema['format']}' is not supported")
        if _BAD_PATTERN.search(schema.get("pattern", "")):
            raise invalid(f"{place}: pattern '{schema['pattern']}' is not supported")
        for option in schema.get("enum", []):
            if isinstance(option, (dict, list)):
                raise invalid(f"{place}: enum values must be primitives")


def _unsupported(place: str, keyword: str) -> ErrorAnswer:
    return invalid(f"{place}: property '{keyword}' is not supported")
