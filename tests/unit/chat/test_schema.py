"""Whether a value is what a JSON Schema asks for."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from understudy.chat.schema import Unjudgeable, check_schema, violation

PERSON: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "Who"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "role": {"enum": ["cook", "guest"]},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/friend"}, "maxItems": 2, "uniqueItems": True},
        "address": {"anyOf": [{"type": "null"}, {"type": "object", "required": ["city"]}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"friend": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "Ann"}, None),
        ({"name": "Ann", "age": 30.0, "role": "cook", "friends": [{"name": "Bo"}], "address": None}, None),
        ([], "the value must be an object; it is a list"),
        ({}, "`name` is missing"),
        ({"name": ""}, "`name` has too few characters"),
        ({"name": "Ann", "age": True}, "`age` must be an integer; it is true or false"),
        ({"name": "Ann", "age": 151}, "`age` must be at most the number that is given"),
        ({"name": "Ann", "role": "king"}, "`role` must be one of the 2 values that are listed"),
        ({"name": "A", "friends": [{"name": ""}, {"name": 7}]}, "`friends[1].name` must be a string; it is an integer"),
        ({"name": "Ann", "friends": [{"name": "Bo"}, {"name": "Bo"}]}, "`friends` must not hold anything twice"),
        ({"name": "Ann", "friends": [{"name": c} for c in "abc"]}, "`friends` has too many parts"),
        ({"name": "Ann", "address": {}}, "`address` is none of the 2 things that it may be"),
        ({"name": "Ann", "secret": 1}, "`secret` is not allowed"),
    ],
)  # fmt: skip
def test_a_violation_names_the_place_and_never_the_value(value: object, expected: str | None) -> None:
    """What is wrong is told in words by the path of the field, since a value is its caller's."""
    assert expected == violation(PERSON, value)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "pattern": "(a+)+$"}, "`pattern` is not judged here"),
        ({"items": [{"type": "string"}]}, "`items` is not what it must be, or not in a way that is judged here"),
        ({"type": "text"}, "`type` is not what it must be, or not in a way that is judged here"),
        ({"minimum": 1, "exclusiveMinimum": True}, "`exclusiveMinimum` is not what it must be, or not in a way that"),
        ({"$ref": "https://example.com/other.json"}, "`$ref` is not what it must be, or not in a way that is judged"),
        ({"$ref": "#/$defs/nobody"}, "`$ref` leads nowhere"),
        ({"$ref": "#"}, "it takes more than 5000 steps, or is more than 64 deep"),
        (7, "a schema must be an object, or true or false"),
    ],
)
def test_what_is_outside_the_subset_is_not_judged(schema: object, words: str) -> None:
    """A schema that cannot be judged gives neither a yes nor a no."""
    for value in ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", ["x"], 5):
        try:
            assert violation(schema, value) is not None
        except Unjudgeable as reason:
            assert words == str(reason)[: len(words)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"pattern": "x"}, "b": {"type": "string"}}}, {"a": "y", "b": 1}),
        ({"pattern": "x", "type": "integer"}, "y"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "pattern": "x"}, "y"),
        ({"oneOf": [{}, {}, {"pattern": "x"}]}, "y"),
    ],
)
def test_a_sure_violation_counts_beside_what_cannot_be_judged(schema: object, value: object) -> None:
    """What is wrong for one reason is wrong, whatever the other reasons may be."""
    assert violation(schema, value) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"type": "integer"}, {"pattern": "x"}]},
        {"oneOf": [{}, {"pattern": "x"}]},
        {"not": {"pattern": "x"}},
        {"additionalProperties": False, "patternProperties": {"a": {}}},
    ],
)
def test_doubt_is_not_taken_for_a_violation(schema: object) -> None:
    """Where the part that is not judged decides, nothing is said."""
    for value in ("y", {"a": 1}):
        with pytest.raises(Unjudgeable):
            violation(schema, value)


def test_judging_takes_bounded_time() -> None:
    """Schemas and values of any size, made to take long, are given up after a while."""
    many: dict[str, Any] = {"anyOf": [{"anyOf": [{"type": "null"}] * 100}] * 100}
    ones: list[Any] = list(range(100_000))
    nested: Any = 0
    for _ in range(500):
        nested = [nested]
    began = time.process_time()
    for schema, value in [
        ({"items": many}, ones),
        ({"uniqueItems": True}, ones),
        ({"enum": ones}, -1),
        ({"const": nested}, nested),
        ({"type": "array", "items": {"$ref": "#"}}, nested),
    ]:
        with pytest.raises(Unjudgeable, match="it takes more than 5000 steps"):
            violation(schema, value)
    assert max(0.5, time.process_time() - began) == 0.5


def test_what_is_only_passed_over_counts_as_well() -> None:
    """Names, keywords and fields that a check goes through without judging them are paid for at every visit."""
    names = [f"n{i}" for i in range(5000)]
    ones, fields = [1] * 4900, dict.fromkeys(names, 1)
    began = time.process_time()
    for schema, value in [
        ({"items": {"required": names}}, ones),
        ({"items": {f"x-{name}": 1 for name in names}}, ones),
        ({"items": {"$ref": "#/" + "a/" * 200}}, ones),
        ({"items": {"$ref": "#/" + "a/" * 50_000}}, ones),
        ({"allOf": [{"properties": {}}] * 5000}, fields),
        ({"allOf": [{"additionalProperties": True, "properties": fields}] * 5000}, fields),
        ({"anyOf": [{"const": dict.fromkeys(names, 2)}] * 5000}, fields),
        ({"items": {"multipleOf": 10**2000 + 1}}, [10**4200] * 15),
    ]:
        with pytest.raises(Unjudgeable):
            violation(schema, value)
    assert max(0.5, time.process_time() - began) == 0.5


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"pattern": "x"}}}, "`pattern` is not judged here (in `properties.a`)"),
        ({"$defs": {"b": {"anyOf": [{}, {"if": {}}]}}}, "`if` is not judged here (in `$defs.b.anyOf[1]`)"),
        ({"required": "name"}, "`required` is not what it must be, or not in a way that is judged here"),
        ({"items": {"$ref": "#/$defs/c"}}, "`$ref` leads nowhere (in `items`)"),
    ],
)
def test_an_author_is_told_what_cannot_be_judged(schema: object, words: str) -> None:
    """The whole schema is looked through, and the first part outside the subset is named with its place."""
    with pytest.raises(Unjudgeable) as raised:
        check_schema(schema)
    assert words == str(raised.value)


def test_an_authors_good_schema_passes() -> None:
    """A schema within the subset, references and all, raises nothing."""
    assert (None, None) == (check_schema(PERSON), check_schema({"items": {"$ref": "#"}}))  # type: ignore[func-returns-value]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.0, 1e300])
    | st.text("ab", max_size=3)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)  # fmt: skip
TYPES = st.sampled_from(["object", "array", "string", "boolean", "null", "integer", "number"])
COUNTS = st.integers(0, 3)
LEAVES = {
    "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "const": VALUES,
    "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
    "uniqueItems": st.booleans(),
    "multipleOf": st.integers(1, 3),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.integers(-2, 2)),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), COUNTS),
}


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    holding = {
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        "additionalProperties": inner,
        "items": inner,
        "prefixItems": several,
        "allOf": several,
        "anyOf": several,
        "oneOf": several,
        "not": inner,
        "$ref": st.sampled_from(["#/$defs/d", "#/$defs/e~1f"]),
    }
    return st.fixed_dictionaries({}, optional={**LEAVES, **holding})


SCHEMAS = st.recursive(st.booleans() | st.fixed_dictionaries({}, optional=LEAVES), _deeper, max_leaves=6)


@given(schema=SCHEMAS, value=VALUES)
@settings(max_examples=150, deadline=None)
def test_verdicts_agree_with_a_full_validator(schema: Any, value: Any) -> None:
    """Within the subset, valid is what the reference implementation calls valid."""
    defined = {"d": {"type": ["string", "object"]}, "e/f": {"maxItems": 1}}
    root = {"allOf": [schema], "$defs": defined}
    check_schema(root)
    assert Draft202012Validator(root).is_valid(value) == (violation(root, value) is None)


NAMES = [*LEAVES, "properties", "items", "anyOf", "not", "$ref", "#", 7]
ANYTHING = st.recursive(
    SCALARS | st.sampled_from([float("nan"), float("inf"), 10**4000, b"x", object()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
)  # fmt: skip


@given(schema=ANYTHING, value=ANYTHING)
@settings(max_examples=200, deadline=None)
def test_anything_is_judged_or_not_and_nothing_else_is_raised(schema: object, value: object) -> None:
    """Whatever is given for a schema and a value, the end is valid, invalid, or that it cannot be said."""
    try:
        assert isinstance(violation(schema, value), str | None)
        check_schema(schema)
    except Unjudgeable as reason:
        assert str(reason)
