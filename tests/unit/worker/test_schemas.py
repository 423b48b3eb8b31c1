"""Schemas that answers must satisfy, and the part of them that the API's grammar enforces."""

import os
import time
from typing import Any

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic_core import to_json

from services.worker.errors import PermanentError
from services.worker.library import PromptLibrary
from services.worker.schemas import OutputSchema, for_people, for_the_model
from services.worker.subset import MAX_OPTIONAL, MAX_UNIONS, to_subset
from sluice_contracts import FailureCode


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "strin"}, "not a JSON Schema"),
        ({"properties": {"a": 5}}, "not a JSON Schema"),
        ({"items": [{"type": "null"}]}, "not a JSON Schema"),
        ({"pattern": "("}, "linear time"),
        ({"pattern": "(?=x)"}, "linear time"),
        ({"pattern": "a{9999999999}"}, "linear time"),
        ({"patternProperties": {"(": {}}}, "linear time"),
        ({"properties": {f"p{n}": {"pattern": f"^{n}$"} for n in range(33)}}, "33 patterns"),
        ({"$ref": "#"}, "refers to itself"),
        ({"allOf": [{"$ref": "#"}]}, "refers to itself"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "refers to itself"),
        ({"const": 1, "$ref": "#", "$anchor": "a"}, "anchor is not taken"),
        ({"$id": "https://example.com/schema"}, "id is not taken"),
        ({"$dynamicRef": "#nowhere"}, "dynamicRef is not taken"),
        ({"items": {"$dynamicAnchor": "a"}}, "dynamicAnchor is not taken"),
        ({"$ref": "https://example.com/schema"}, "points to no schema"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "points to no schema"),
        ({"$ref": "#/$defs/a/enum/hush", "$defs": {"a": {"enum": ["x"]}}}, "points to no schema"),
        ({"$ref": "#/enum/0", "enum": ["x"]}, "points to no schema"),
        ({"$ref": "#/x", "x": {}}, "points to no schema"),
        (
            {
                "$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(40)} | {"d40": {}},
                "$ref": "#/$defs/d0",
            },
            "more than 32 schemas in a chain",
        ),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "checked together"),
    ],
)
def test_what_is_no_schema_is_refused_before_anything_is_paid(
    schema: dict[str, Any], why: str
) -> None:
    """Nor what not every answer could be checked against; no address is ever fetched for one."""
    with pytest.raises(PermanentError, match=why) as caught:
        OutputSchema.compile(to_json(schema))
    assert FailureCode.INVALID_EVENT == caught.value.code
    assert "hush" not in caught.value.detail


def test_the_place_of_the_fault_is_told_to_people_only() -> None:
    """Names of properties are the caller's words."""
    with pytest.raises(PermanentError) as caught:
        OutputSchema.compile(to_json({"properties": {"hush": 5}}))
    assert (False, "at properties/hush") == ("hush" in caught.value.detail, caught.value.quoted)


def test_an_older_dialect_is_read_as_the_present_one() -> None:
    """Tools write draft 7 by habit; inside it, the library would change its meaning half-way."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"A": {"type": "string", "$schema": "http://json-schema.org/draft-04/schema"}},
        "properties": {"a": {"$ref": "#/definitions/A"}},
    }  # fmt: skip
    compiled = OutputSchema.compile(to_json(schema))
    assert (True, False) == (compiled.accepts({"a": "x"}), compiled.accepts({"a": 1}))


DOUBLING: dict[str, Any] = {
    "$defs": {"n": {"anyOf": [
        {"properties": {"c": {"$ref": "#/$defs/n"}}, "required": ["x"]},
        {"properties": {"c": {"$ref": "#/$defs/n"}}, "required": ["y"]},
    ]}},
    "$ref": "#/$defs/n",
}  # fmt: skip


def _nested(levels: int, key: str | None) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = [value] if key is None else {key: value}
    return value


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (DOUBLING, _nested(40, "c")),
        ({"type": "array", "items": {"$ref": "#"}}, _nested(500, None)),
        ({"type": "number", "multipleOf": 0.5}, 10**400),
        ({"type": "string", "pattern": "^(a+)+$"}, "a" * 50_000 + "!"),
        ({"patternProperties": {"^(a+)+$": False}}, {"a" * 50_000: 1}),
        ({"type": "array", "uniqueItems": True}, [*({"n": n} for n in range(5_000)), {"n": 1}]),
    ],
)
def test_no_answer_holds_up_the_process(schema: dict[str, Any], answer: Any) -> None:
    """What cannot be checked in bounded time did not pass, and says so."""
    compiled = OutputSchema.compile(to_json(schema))
    began = time.process_time()
    assert not compiled.accepts(answer)
    assert not compiled.accepts(compiled.with_case_mended(answer))
    assert compiled.problems(answer)
    assert time.process_time() - began < 8


def test_equal_schemas_are_compiled_once() -> None:
    """The compiled one is found by its text."""
    text = to_json({"type": "object"})
    assert OutputSchema.compile(text) is OutputSchema.compile(bytes(text))


@pytest.mark.parametrize(
    ("schema", "subset"),
    [
        ({"type": ["string", "null"], "maxLength": 3},
         {"anyOf": [{"type": "string", "description": "{maxLength: 3}"}, {"type": "null"}]}),
        ({"enum": ["a", "b"], "type": "string"}, {"enum": ["a", "b"]}),
        ({"type": "string", "format": "email"}, {"type": "string", "format": "email"}),
        ({"type": "string", "format": "iban", "description": "Account."},
         {"type": "string", "description": "Account.\n\n{format: iban}"}),
        ({"type": "string", "pattern": "^[a-z]+$"}, {"type": "string", "pattern": "^[a-z]+$"}),
        ({"type": "string", "pattern": "(?=x)"},
         {"type": "string", "description": "{pattern: (?=x)}"}),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1},
         {"type": "array", "items": {"type": "integer"}, "minItems": 1}),
        ({"properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {"A": {"type": "null"}}},
         {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "required": [],
          "additionalProperties": False, "$defs": {"A": {"type": "null"}}}),
        ({"allOf": [{"type": "integer"}], "title": "N"}, {"title": "N", "type": "integer"}),
        ({"type": "object", "anyOf": [
            {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
            {"type": "null"}]},
         {"anyOf": [
            {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
             "additionalProperties": False},
            {"type": "null"}]}),
    ],
)  # fmt: skip
def test_what_the_grammar_knows_is_kept_and_the_rest_is_told(
    schema: dict[str, Any], subset: dict[str, Any]
) -> None:
    """Bounds become hints; the answer is checked against the original anyway."""
    assert subset == to_subset(schema)


def _wide(places: int, part: dict[str, Any], *, required: bool) -> dict[str, Any]:
    properties = {f"p{n}": part for n in range(places)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required else [],
    }


_CLOSED = {"type": "object", "properties": {"a": {"type": "null"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "array"},
        {"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "null"}},
        {"enum": [{"a": 1}]},
        {"$defs": {"T": {"type": "array", "items": {"$ref": "#/$defs/T"}}}, "$ref": "#/$defs/T"},
        {"allOf": [{"type": "object"}, {"required": ["a"]}]},
        {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {"type": "null"}}, "minProperties": 2},
        {"type": "object", "properties": {"a": {"type": "null"}},
         "dependentRequired": {"a": ["b"]}},
        {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
         "anyOf": [{"type": "object", "properties": {"b": {"type": "null"}}}]},
        {"$ref": "#/$defs/A", "required": ["b"], "$defs": {"A": _CLOSED}},
        {"allOf": [{"$ref": "#/$defs/A"}], "required": ["b"], "$defs": {"A": _CLOSED}},
        {"properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/definitions/A"}},
         "$defs": {"A": {"type": "null"}}, "definitions": {"A": {"type": "string"}}},
        _wide(MAX_OPTIONAL + 1, {"type": "null"}, required=False),
        _wide(MAX_UNIONS + 1, {"type": ["null", "string"]}, required=True),
    ],
)  # fmt: skip
def test_what_the_grammar_would_spoil_is_told_in_words(schema: Any) -> None:
    """No subset is better than one that forbids valid answers, or that the API refuses."""
    assert to_subset(schema) is None


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"type": "boolean"},
        {"enum": ["a", "b", 3]},
        {"type": "string", "format": "date"},
    ]
)


def _objects(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def build(properties: dict[str, Any], cut: int) -> dict[str, Any]:
        required = sorted(properties)[:cut]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    return st.builds(
        build, st.dictionaries(st.sampled_from("uvwx"), parts, min_size=1), st.integers(0, 4)
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        _objects(parts),
        st.builds(lambda items: {"type": "array", "items": items}, parts),
        st.builds(lambda a, b: {"anyOf": [a, b]}, parts, parts),
    ),
    max_leaves=6,
)


@given(SCHEMAS)
def test_it_agrees_with_the_sdk_where_the_sdks_is_sound(schema: dict[str, Any]) -> None:
    """On plain schemas the two rewritings are the same."""
    subset = to_subset(schema)
    assert subset is not None
    assert anthropic.transform_schema(schema) == subset


RICH = st.recursive(
    st.one_of(
        LEAVES,
        st.sampled_from(
            [
                {"type": ["string", "null"], "minLength": 1, "title": "t"},
                {"type": "integer", "minimum": -1, "maximum": 1},
                {"type": "number", "maximum": 1.5},
                {"minimum": 0},
                {"maxLength": 0},
                {"const": "a"},
                {"const": 1},
                {"enum": ["a", "B"], "type": "string"},
                {"required": ["u"]},
                {"exclusiveMinimum": 0},
            ]
        ),
    ),
    lambda parts: st.one_of(
        _objects(parts),
        st.builds(
            lambda items, least, most: {"items": items, "minItems": least, "maxItems": most},
            parts, st.integers(0, 2), st.integers(0, 2),
        ),
        st.builds(lambda part: {"type": "object", "properties": {"u": part}}, parts),
        st.builds(lambda a, b: {"anyOf": [a, b]}, parts, parts),
    ),
    max_leaves=5,
)  # fmt: skip
INSTANCES = st.recursive(
    st.sampled_from([None, True, False, -2, 0, 1, 1.0, 1.5, 3, "a", "A", "B", ""]),
    lambda parts: st.one_of(
        st.lists(parts, max_size=3), st.dictionaries(st.sampled_from("uvwxy"), parts, max_size=3)
    ),
    max_leaves=6,
)


@given(RICH, INSTANCES)
def test_a_schema_accepts_what_jsonschema_accepts(schema: dict[str, Any], instance: Any) -> None:
    """Whatever is done to be fast, the verdict is the reference implementation's."""
    expected = Draft202012Validator(schema).is_valid(instance)
    assert expected == OutputSchema.compile(to_json(schema)).accepts(instance)


def test_shipped_schemas_are_checked_quickly() -> None:
    """Prompts use nothing that the quick check does not know."""
    assert all(p.schema is not None and p.schema.is_quick for p in PromptLibrary().prompts)


@given(SCHEMAS, INSTANCES)
def test_mending_the_case_never_spoils_a_valid_answer(
    schema: dict[str, Any], instance: Any
) -> None:
    """It only ever turns a listed value's capitals into the schema's."""
    compiled = OutputSchema.compile(to_json(schema))
    mended = compiled.with_case_mended(instance)
    if compiled.accepts(instance):
        assert compiled.accepts(mended)
    assert to_json(instance).lower() == to_json(mended).lower()


NAMES = st.sampled_from(["a", "b", "$ref", "~", "/", "%25"])
NUMBERS = st.sampled_from([0, 1, 2, -1, 0.5, 1e300, 5e-324, 2**70])
POINTERS = st.sampled_from(
    ["#", "#/$defs/a", "#/properties/a", "#/anyOf/0", "#/items", "#/$defs/~1", "#/enum/0", "#a",
     "https://example.com", "", "#/$defs/%2525"]
)  # fmt: skip


def _anything(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, min_size=1, max_size=2)
    named = st.dictionaries(NAMES, parts, max_size=2)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "$ref": POINTERS,
        "type": st.sampled_from(["object", "array", "string", "number", ["null", "integer"], "no"]),
        "enum": st.lists(st.sampled_from([1, True, "a", None, {"a": 1}]), max_size=3),
        "const": st.sampled_from([1, "a", [], {"$ref": "#"}]),
        "pattern": st.sampled_from(["a", "(a+)+$", "(", r"\d", "(?!a)"]),
        "format": st.sampled_from(["date", "regex", "no"]),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=1), max_size=1),
        "uniqueItems": st.booleans(),
        "$schema": st.sampled_from(["http://json-schema.org/draft-04/schema#", "x"]),
        "$id": st.just("x"),
        "$anchor": st.just("a"),
        "$dynamicRef": POINTERS,
        **dict.fromkeys(("minimum", "exclusiveMaximum", "multipleOf"), NUMBERS),
        **dict.fromkeys(("minLength", "maxItems", "minProperties", "minContains"), NUMBERS),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several),
        **dict.fromkeys(
            ("not", "if", "then", "else", "items", "contains", "propertyNames",
             "additionalProperties", "unevaluatedItems", "unevaluatedProperties"), parts,
        ),
        **dict.fromkeys(
            ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), named
        ),
    }  # fmt: skip
    return st.fixed_dictionaries({}, optional=keywords) | st.fixed_dictionaries(
        {}, optional={name: keywords[name] for name in ("properties", "items", "anyOf", "$ref")}
    )


ODD_SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.just({}), _anything, max_leaves=4
).filter(lambda schema: isinstance(schema, dict))
ODD_ANSWERS = st.recursive(
    st.sampled_from([None, True, 0, 1.5, -3, 10**400, 1e308, "a", "", "aaaaaaaaaaaaaaaaaaaa!"]),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(NAMES, parts, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=int(os.environ.get("EXAMPLES", "200")))
@given(ODD_SCHEMAS, st.lists(ODD_ANSWERS, min_size=1, max_size=3))
def test_every_schema_is_refused_or_fit_for_every_answer(
    schema: dict[str, Any], answers: list[Any]
) -> None:
    """Nothing escapes after an answer was paid for, and the two ways to ask agree."""
    try:
        compiled = OutputSchema.compile(to_json(schema))
    except PermanentError as exc:
        assert FailureCode.INVALID_EVENT == exc.code  # noqa: PT017 -- a verdict like the other
        return
    for answer in answers:
        accepted = compiled.accepts(answer)
        compiled.with_case_mended(answer)
        problems = compiled.problems(answer)
        assert accepted == (not problems)
        assert for_the_model(problems) == "" or problems
        assert for_people(problems)
