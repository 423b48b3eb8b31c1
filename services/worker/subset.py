"""The part of a JSON Schema that the API's grammar can enforce while the model writes.

The rest is left out of the grammar and told in descriptions: the answer is checked against the
original schema anyway, so the subset may be looser than it, never stricter where that would forbid
a valid answer. The SDK's own `transform_schema` breaks that rule (free-form objects become empty
ones, `definitions` dangle, type lists raise), hence this one; a test compares the two where the
SDK's is sound.
"""

import re
from typing import Any, Final

MAX_OPTIONAL: Final = 24
"""Optional properties of one request that the API takes."""
MAX_UNIONS: Final = 16
"""Union-typed places of one request that the API takes."""

_FORMATS: Final = frozenset(
    {
        "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
    }
)  # fmt: skip
_SILENT: Final = ("examples", "$comment", "deprecated", "readOnly", "writeOnly")
_KEPT: Final = ("description", "title", "default")
_REFUSED_IN_PATTERNS: Final = re.compile(r"\(\?|\\[bB1-9]|\{")
_HINTS: Final = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "uniqueItems", "pattern", "format",
)  # fmt: skip

_DEMANDING: Final = frozenset(
    {
        "minProperties", "dependentRequired", "dependentSchemas", "dependencies", "if", "then",
        "else", "patternProperties", "unevaluatedProperties", "unevaluatedItems",
    }
)  # fmt: skip
"""Keywords that may demand a property or an item which the grammar, closed as it is, forbids."""

_Json = dict[str, Any]


class _Inexpressible(Exception):  # noqa: N818 -- a finding, caught below
    """The grammar cannot hold this schema without forbidding valid answers."""


def to_subset(schema: _Json) -> _Json | None:
    """Rewrite a schema into the API's subset; None where it must be told in words instead."""
    writer = _Writer(schema)
    try:
        written = writer.write(schema)
        if writer.definitions:
            written["$defs"] = writer.definitions
    except _Inexpressible:
        return None
    if writer.optional > MAX_OPTIONAL or writer.unions > MAX_UNIONS:
        return None
    return written


class _Writer:
    """One pass over one schema; counts what the API limits."""

    def __init__(self, root: _Json) -> None:
        self._root = root
        self._open: set[str] = set()
        self._places: dict[str, str] = {}
        self.definitions: dict[str, _Json] = {}
        self.optional = 0
        self.unions = 0

    def write(self, schema: Any) -> _Json:
        if not isinstance(schema, dict) or schema.keys() & _DEMANDING:
            raise _Inexpressible
        if "$ref" in schema:
            self._check_alone(schema, "$ref")
            return {"$ref": self._reference(schema["$ref"])}
        written: _Json = {key: schema[key] for key in _KEPT if key in schema}
        for keyword in ("allOf", "anyOf", "oneOf"):
            if keyword in schema:
                self._check_alone(schema, keyword)
        whole = schema.get("allOf")
        if whole is not None:
            if len(whole) != 1:
                raise _Inexpressible
            return written | self.write(whole[0])
        choices = schema.get("anyOf") or schema.get("oneOf") or self._type_list(schema)
        if choices is not None:
            self.unions += 1
            return written | {"anyOf": [self.write(choice) for choice in choices]}
        if "enum" in schema or "const" in schema:
            return written | self._literals(schema)
        return written | self._typed(schema)

    def _check_alone(self, schema: _Json, keyword: str) -> None:
        """Refuse what stands beside alternatives or a reference: it would be lost.

        The alternatives become closed objects, so a property that only stands beside them could
        never be written, and every answer would lack it. A type is repeated in each anyway.
        """
        if schema.keys() - {keyword, "type", "$defs", "definitions", *_KEPT, *_SILENT}:
            raise _Inexpressible

    def _reference(self, reference: Any) -> str:
        parts = reference.split("/") if isinstance(reference, str) else []
        if len(parts) != 3 or parts[0] != "#" or parts[1] not in ("$defs", "definitions"):  # noqa: PLR2004
            raise _Inexpressible
        name = parts[2]
        if name in self._open or self._places.setdefault(name, parts[1]) != parts[1]:
            raise _Inexpressible  # recursion, or two schemas of one name
        if name not in self.definitions:
            self._open.add(name)
            self.definitions[name] = self.write(self._root.get(parts[1], {}).get(name))
            self._open.discard(name)
        return f"#/$defs/{name}"

    def _type_list(self, schema: _Json) -> list[_Json] | None:
        types = schema.get("type")
        if not isinstance(types, list):
            return None
        rest = {key: value for key, value in schema.items() if key not in ("type", *_KEPT)}
        values = rest.pop("enum", None)
        if values is not None:
            return [{"enum": values}]
        return [{"type": one, **(rest if one != "null" else {})} for one in types]

    def _literals(self, schema: _Json) -> _Json:
        values = schema.get("enum", [schema.get("const")])
        if not values or not all(isinstance(v, str | int | float | None) for v in values):
            raise _Inexpressible
        return {"enum": list(values)} if "enum" in schema else {"const": schema["const"]}

    def _typed(self, schema: _Json) -> _Json:
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        written: _Json = {"type": kind}
        if kind == "object":
            written |= self._object(schema)
        elif kind == "array":
            if "items" not in schema or "prefixItems" in schema:
                raise _Inexpressible
            written["items"] = self.write(schema["items"])
        elif kind not in ("string", "integer", "number", "boolean", "null"):
            raise _Inexpressible
        self._hint(schema, written)
        return written

    def _object(self, schema: _Json) -> _Json:
        properties = schema.get("properties")
        open_ended = isinstance(schema.get("additionalProperties"), dict)
        required = schema.get("required", [])
        if not properties or open_ended or not set(required) <= properties.keys():
            raise _Inexpressible
        self.optional += len(properties) - len(required)
        return {
            "properties": {name: self.write(part) for name, part in properties.items()},
            "required": required,
            "additionalProperties": False,
        }

    def _hint(self, schema: _Json, written: _Json) -> None:
        """Keep the bounds that the grammar knows; tell the others in the description."""
        told: list[str] = []
        for key in _HINTS:
            if key not in schema:
                continue
            value = schema[key]
            known = (
                (key == "format" and value in _FORMATS)
                or (key == "minItems" and value in (0, 1))
                or (key == "pattern" and not _REFUSED_IN_PATTERNS.search(value))
            )
            if known:
                written[key] = value
            else:
                told.append(f"{key}: {value}")
        if told:
            said = schema.get("description")
            written["description"] = (f"{said}\n\n" if said else "") + "{" + ", ".join(told) + "}"
