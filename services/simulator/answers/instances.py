"""A valid instance of a JSON schema, with values that make sense for the text at hand.

Enums are picked by the words they share with the text, or with the quote that stands beside them.
Covers the keywords that structured outputs take and, because tools are not checked by a grammar,
the common rest (bounds, `oneOf`, type lists).
"""

import re
from functools import lru_cache
from random import Random
from typing import Any

from pydantic_core import to_json

from services.simulator.answers.findings import Findings
from services.simulator.answers.reading import closest, words

MAX_DEPTH = 12
DEEP = 6
"""From here on everything optional is left out."""
OPTIONAL_SHARE = 0.8
NULL_SHARE = 0.2
LONGEST_STRING = 400

_BOUND = re.compile(r"\b(minimum|maximum): (-?\d+(?:\.\d+)?)")
_SHARE_NAMES = ("confidence", "score", "probab", "share")
_QUOTE_NAMES = ("quote", "evidence", "excerpt")
_FORMATS = {
    "date-time": "2026-11-23T09:00:00Z",
    "date": "2026-11-23",
    "time": "09:00:00Z",
    "duration": "P30D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
}
_HINT = re.compile(
    r"\b(minimum|maximum|exclusiveMinimum|exclusiveMaximum|minLength|maxLength|minItems|maxItems)"
    r": (-?\d+(?:\.\d+)?)"
)
_PATTERNS = ("2026-11-23", "A", "a", "1", "AB-123", "abc", "EUR", "en", "en-GB", "000", "1.0.0", "")


class Instances:
    """Makes instances for one request."""

    def __init__(self, text: str, text_words: set[str], topics: list[str], random: Random) -> None:
        self._findings = Findings(text, topics, random)
        self._words = text_words
        self._random = random
        self._root: dict[str, Any] = {}

    def make(self, schema: dict[str, Any]) -> Any:
        """Return an instance of a root schema."""
        self._root = schema
        return self._value(schema, "", 0)

    def _value(self, schema: Any, name: str, depth: int) -> Any:  # noqa: PLR0911 one per keyword
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return None
        if "$ref" in schema:
            return self._value(self._resolve(schema["$ref"]), name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if "{" in schema.get("description", ""):
            schema = {**_hints(schema["description"]), **schema}
        if "enum" in schema:
            return self._choice(schema["enum"])
        if "allOf" in schema:
            return self._value(self._merged(schema), name, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self._value(self._alternative(schema[keyword], depth), name, depth + 1)
        return self._typed(schema, name, depth)

    def _typed(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None and "properties" in schema:
            kind = "object"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number":
                return self._number(schema, name, whole=kind == "integer")
            case "boolean":
                return self._random.random() * 2 < 1
            case "null":
                return None
        return self._string(schema, name)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        # The API puts required properties first.
        order = [name for name in properties if name in required]
        if depth < DEEP:
            optional = [name for name in properties if name not in required]
            order += [name for name in optional if self._random.random() < OPTIONAL_SHARE]
        made: dict[str, Any] = dict.fromkeys(required)
        whole_text = self._words
        # The quote comes first, so that what stands beside it is about the same words.
        for name in sorted(order, key=lambda name: not _is_quote(name)):
            made[name] = self._value(properties[name], name, depth + 1)
            if _is_quote(name) and isinstance(made[name], str):
                self._words = words(made[name])
        self._words = whole_text
        return {name: made[name] for name in (*order, *(set(made) - set(order)))}

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(3, least)))
        wished = 0 if depth > DEEP else self._random.randint(1, 3)
        count = max(least, min(most, wished))
        items = schema.get("items", {"type": "string"})
        made: list[Any] = []
        for _ in range(count * 4):
            value = self._value(items, name, depth + 1)
            if not (schema.get("uniqueItems") or "enum" in items) or value not in made:
                made.append(value)
            if len(made) == count:
                break
        return made

    def _number(self, schema: dict[str, Any], name: str, *, whole: bool) -> float:
        # The API's grammar knows no bounds: clients tell them in descriptions, and models listen.
        told = {name: float(bound) for name, bound in _BOUND.findall(schema.get("description", ""))}
        schema = {**told, **schema}
        is_share = not whole and any(part in name.lower() for part in _SHARE_NAMES)
        low: float = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        ceiling = low + (1 if is_share else 10)
        high: float = schema.get("maximum", schema.get("exclusiveMaximum", ceiling))
        if whole:
            least = int(low) + ("exclusiveMinimum" in schema)
            return self._random.randint(least, max(least, int(high)))
        return round(low + (high - low) * self._random.uniform(0.55, 0.95), 2)

    def _string(self, schema: dict[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if "pattern" in schema:
            return self._matching(schema["pattern"])
        text = self._findings.named(name, schema.get("description", ""))
        text = text[: int(schema.get("maxLength", LONGEST_STRING))]
        return text.ljust(int(schema.get("minLength", 0)), ".")

    def _choice(self, options: list[Any]) -> Any:
        named = {option: option for option in options if isinstance(option, str)}
        if not named:
            return self._random.choice(options)
        return named[closest(named, self._words, self._random.random())]

    def _alternative(self, alternatives: list[Any], depth: int) -> Any:
        filled = [one for one in alternatives if one.get("type") != "null"]
        is_optional = len(filled) < len(alternatives)
        is_left_out = is_optional and (depth > DEEP or self._random.random() < NULL_SHARE)
        if not filled or is_left_out:
            return {"type": "null"}
        return filled[0] if is_optional else self._random.choice(filled)

    def _matching(self, pattern: str) -> str:
        try:
            compiled = re.compile(pattern)
        except re.error:
            return ""
        found = self._findings.matching(compiled)
        if found is not None:
            return found
        return next((sample for sample in _PATTERNS if compiled.search(sample)), "")

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in ({**schema, "allOf": []}, *schema["allOf"]):
            for keyword, value in (self._resolve(part["$ref"]) if "$ref" in part else part).items():
                if keyword == "properties":
                    merged.setdefault("properties", {}).update(value)
                elif keyword == "required":
                    merged["required"] = [*merged.get("required", []), *value]
                elif keyword != "allOf":
                    merged[keyword] = value
        return merged

    def _resolve(self, reference: str) -> Any:
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                node = node.get(part.replace("~1", "/").replace("~0", "~"), {})
        return node


def dumps(value: Any) -> str:
    """Return JSON as models write it."""
    return to_json(value).decode()


def miscased(value: Any, schema: dict[str, Any]) -> Any:
    """Return an object with its first enum string in another case, as models sometimes write it."""
    if isinstance(value, dict):
        for name, sub in schema.get("properties", {}).items():
            if name in value and isinstance(sub, dict):
                if "enum" in sub and isinstance(value[name], str):
                    return {**value, name: _other_case(value[name])}
                changed = miscased(value[name], sub)
                if changed != value[name]:
                    return {**value, name: changed}
    if isinstance(value, list) and value and isinstance(schema.get("items"), dict):
        return [miscased(value[0], schema["items"]), *value[1:]]
    return value


def _other_case(value: str) -> str:
    return value.upper() if value != value.upper() else value.lower()


@lru_cache(maxsize=4_096)
def _hints(description: str) -> dict[str, float]:
    """Return the bounds that a description tells.

    The API's grammar knows none: clients move them into the description, and models listen.
    """
    return {name: float(value) for name, value in _HINT.findall(description)}


@lru_cache(maxsize=4_096)
def _is_quote(name: str) -> bool:
    return any(part in name.lower() for part in _QUOTE_NAMES)
