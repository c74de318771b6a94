"""Whether a JSON value is what a JSON Schema asks for, as far as that can be said cheaply and surely.

A subset of JSON Schema 2020-12 (json-schema.org, "Core" and "Validation"): what people write for tools and for
structured answers.  A schema is its author's, and may be anything; so steps and depth are bounded, and patterns, which
can take for ever, are not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from understudy.chat.steps import DEPTH, KEYWORDS, STEPS, Budget, SpentError

_LONGEST_REFERENCE = 500
_LARGEST = 1024
"""Bits of a whole number that is divided."""

_NOTES = frozenset(
    {"$comment", "$defs", "$schema", "default", "definitions", "deprecated", "description", "example", "examples"}
    | {"contentEncoding", "contentMediaType", "format", "readOnly", "title", "writeOnly"}
)
"""Keywords that ask for nothing by themselves; `format` is a note too (Validation, section 7.2.1)."""

_At = tuple[Any, "str | int"] | None
"""The way to a value: the way to what holds it, and its name or number in there."""


class Unjudgeable(Exception):
    """Neither valid nor invalid can be said: the schema has something outside the subset, or takes too long."""


_Verdict = str | Unjudgeable | None
"""What is wrong, or why that cannot be said, or None where all is well."""


def violation(schema: object, value: object, budget: Budget | None = None) -> str | None:
    """The first thing in which a decoded JSON value is not what the schema asks for, in words; None where it is valid.

    The words name fields and never quote the value.  A violation that is sure is told even where something else cannot
    be judged.  Raises Unjudgeable, and nothing else whatever it is given.  The steps are taken from `budget`.
    """
    budget = budget or Budget()
    allowed = budget.left
    try:
        found = _Judge(schema, budget).verdict(schema, value, None, 0)
    except SpentError:
        raise Unjudgeable(f"it takes more than {allowed} steps, or is more than {DEPTH} deep") from None
    if isinstance(found, Unjudgeable):
        raise found
    return found


def check_schema(schema: object) -> None:
    """See that every part of a schema can be judged, for those who write one.  Raises Unjudgeable naming the part."""
    try:
        _walk(_Judge(schema, Budget()), schema, None, 0)
    except SpentError:
        raise Unjudgeable(f"the schema has more than {STEPS} parts, or is more than {DEPTH} deep") from None


class _Judge:
    """One judgement: the schema that references lead into, and the steps that are left."""

    def __init__(self, root: object, budget: Budget) -> None:
        self.root = root
        self.budget = budget

    def verdict(self, schema: object, value: object, at: _At, depth: int) -> _Verdict:
        self.budget.spend(depth)
        if isinstance(schema, bool):
            return None if schema else f"{_named(at)} is not allowed"
        if not isinstance(schema, Mapping):
            return Unjudgeable("a schema must be an object, or true or false")
        here = _Here(self, schema, value, at, depth + 1)
        unjudged: _Verdict = None
        self.budget.passed(schema, KEYWORDS)
        for keyword, asked in schema.items():
            if isinstance(asked, list):
                self.budget.passed(asked)
            check = _checked(keyword, asked)
            found = check if check is None or isinstance(check, Unjudgeable) else check(here, asked)
            if isinstance(found, str):
                return found
            unjudged = unjudged or found
        return unjudged

    def every(self, parts: Iterable[tuple[object, object, _At]], depth: int) -> _Verdict:
        """On pairs of schema and value that must all be valid."""
        unjudged: _Verdict = None
        for schema, value, at in parts:
            found = self.verdict(schema, value, at, depth)
            if isinstance(found, str):
                return found
            unjudged = unjudged or found
        return unjudged

    def same(self, one: object, other: object, depth: int = 0) -> bool:
        """Equality as JSON has it: 1 is 1.0, and true is no number."""
        self.budget.spend(depth)
        if isinstance(one, dict | list):
            self.budget.passed(one)
        if isinstance(one, dict) and isinstance(other, dict):
            pairs = ((each, other[name]) for name, each in one.items() if name in other)
            return one.keys() == other.keys() and all(self.same(a, b, depth + 1) for a, b in pairs)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self.same, one, other, [depth + 1] * len(one)))
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        return isinstance(one, int | float | str | None) and one == other

    def referred(self, reference: str) -> object:
        """What `#/$defs/NAME` and the like lead to; no schema where they lead nowhere."""
        found = self.root
        self.budget.passed(reference)
        for step in reference.split("/")[1:]:
            self.budget.spend()
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                return None
            found = found[name]
        return found


@dataclass(slots=True)
class _Here:
    """One value held against one schema."""

    judge: _Judge
    schema: Mapping[str, Any]
    value: Any
    at: _At
    depth: int

    def wrong(self, words: str) -> str:
        return f"{_named(self.at)} {words}"

    def against(self, schema: object) -> _Verdict:
        return self.judge.verdict(schema, self.value, self.at, self.depth)

    def valid(self, schemas: Iterable[object]) -> tuple[int, _Verdict]:
        """How many of several schemas the value is surely valid against, and why it may be more."""
        verdicts = [self.against(schema) for schema in schemas]
        return verdicts.count(None), next((one for one in verdicts if isinstance(one, Unjudgeable)), None)


_Check = Callable[[_Here, Any], _Verdict]


def _checked(keyword: object, asked: object) -> _Check | Unjudgeable | None:
    """What judges a keyword, once its own value is what it must be; None where there is nothing to judge."""
    known = _KEYWORDS.get(keyword) if isinstance(keyword, str) else None
    if known is not None:
        shape, check = known
        if shape(asked):
            return check
        return Unjudgeable(f"`{keyword}` is not what it must be, or not in a way that is judged here")
    if isinstance(keyword, str) and (keyword in _NOTES or keyword.startswith("x-")):
        return None
    return Unjudgeable(f"`{str(keyword)[:40]}` is not judged here")


def _walk(judge: _Judge, schema: object, at: _At, depth: int) -> None:
    judge.budget.spend(depth)
    if isinstance(schema, bool):
        return
    where = f" (in {_named(at)})" if at else ""
    if not isinstance(schema, Mapping):
        raise Unjudgeable(f"a schema must be an object, or true or false{where}")
    for name, asked in schema.items():
        if isinstance(found := _checked(name, asked), Unjudgeable):
            raise Unjudgeable(f"{found}{where}")
        if name == "$ref" and judge.referred(asked) is None:
            raise Unjudgeable(f"`$ref` leads nowhere{where}")
        for step, part in _parts(name, asked):
            _walk(judge, part, ((at, name), step) if step is not None else (at, name), depth + 1)


def _parts(name: str, asked: Any) -> Iterable[tuple[str | int | None, object]]:
    """The schemas inside a keyword."""
    if name in ("properties", "$defs", "definitions") and isinstance(asked, Mapping):
        return asked.items()
    if name in ("allOf", "anyOf", "oneOf", "prefixItems"):
        return enumerate(asked)
    return [(None, asked)] if name in ("items", "additionalProperties", "not") else []


def _named(at: _At) -> str:
    if at is None:
        return "the value"
    steps: list[str] = []
    while at is not None:
        at, step = at
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    path = "".join(reversed(steps)).removeprefix(".")
    return f"`{path if len(path) <= 100 else '...' + path[-97:]}`"


def _is_number(value: object) -> bool:
    # In Python True is an int; in JSON it is not a number.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_TYPES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "string": ("a string", lambda value: isinstance(value, str)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "null": ("null", lambda value: value is None),
    "integer": ("an integer", _is_whole),
    "number": ("a number", _is_number),
}


def _type(here: _Here, asked: Any) -> _Verdict:
    names = [asked] if isinstance(asked, str) else asked
    if any(_TYPES[name][1](here.value) for name in names):
        return None
    found = next((words for words, fits in _TYPES.values() if fits(here.value)), "something else")
    return here.wrong(f"must be {' or '.join(_TYPES[name][0] for name in names)}; it is {found}")


def _enum(here: _Here, asked: Any) -> _Verdict:
    found = any(here.judge.same(one, here.value) for one in asked)
    return None if found else here.wrong(f"must be one of the {len(asked)} values that are listed")


def _const(here: _Here, asked: Any) -> _Verdict:
    return None if here.judge.same(asked, here.value) else here.wrong("must be the one value that is given")


def _required(here: _Here, asked: Any) -> _Verdict:
    missing = [name for name in asked if name not in here.value] if isinstance(here.value, dict) else []
    return f"{_named((here.at, missing[0]))} is missing" if missing else None


def _properties(here: _Here, asked: Any) -> _Verdict:
    if not isinstance(here.value, dict):
        return None
    here.judge.budget.passed(here.value)
    known = ((asked[name], part, (here.at, name)) for name, part in here.value.items() if name in asked)
    return here.judge.every(known, here.depth)


def _additional(here: _Here, asked: Any) -> _Verdict:
    if not isinstance(here.value, dict):
        return None
    known = here.schema.get("properties", {})
    if "patternProperties" in here.schema or not isinstance(known, Mapping):
        return Unjudgeable("`additionalProperties` cannot be judged beside what is not")
    here.judge.budget.passed(here.value)
    others = ((asked, part, (here.at, name)) for name, part in here.value.items() if name not in known)
    return here.judge.every(others, here.depth)


def _prefix(here: _Here, asked: Any) -> _Verdict:
    if not isinstance(here.value, list):
        return None
    pairs = enumerate(zip(asked, here.value, strict=False))
    return here.judge.every(((part, each, (here.at, i)) for i, (part, each) in pairs), here.depth)


def _items(here: _Here, asked: Any) -> _Verdict:
    if not isinstance(here.value, list):
        return None
    before = here.schema.get("prefixItems", [])
    if not isinstance(before, list):
        return Unjudgeable("`items` cannot be judged beside what is not")
    others = islice(enumerate(here.value), len(before), None)
    return here.judge.every(((asked, each, (here.at, i)) for i, each in others), here.depth)


def _unique(here: _Here, asked: Any) -> _Verdict:
    if not asked or not isinstance(here.value, list):
        return None
    pairs = ((one, other) for i, one in enumerate(here.value) for other in islice(here.value, i))
    return here.wrong("must not hold anything twice") if any(here.judge.same(*pair) for pair in pairs) else None


def _all_of(here: _Here, asked: Any) -> _Verdict:
    return here.judge.every(((part, here.value, here.at) for part in asked), here.depth)


def _any_of(here: _Here, asked: Any) -> _Verdict:
    count, unjudged = here.valid(asked)
    if count or unjudged is not None:
        return None if count else unjudged
    return here.wrong(f"is none of the {len(asked)} things that it may be")


def _one_of(here: _Here, asked: Any) -> _Verdict:
    count, unjudged = here.valid(asked)
    if count < 2 and unjudged is not None:
        return unjudged
    return None if count == 1 else here.wrong(f"must be one of {len(asked)} things; it is {count or 'none'} of them")


def _not(here: _Here, asked: Any) -> _Verdict:
    found = here.against(asked)
    return here.wrong("is what it must not be") if found is None else found if isinstance(found, Unjudgeable) else None


def _ref(here: _Here, asked: Any) -> _Verdict:
    found = here.judge.referred(asked)
    return Unjudgeable("`$ref` leads nowhere") if found is None else here.against(found)


def _multiple(here: _Here, asked: Any) -> _Verdict:
    if not _is_number(here.value):
        return None
    if any(isinstance(number, int) and number.bit_length() > _LARGEST for number in (here.value, asked)):
        return Unjudgeable("`multipleOf` cannot be judged of such a number")
    try:
        # By their decimals, as they are written: 0.3 is a multiple of 0.1.
        numbers = isinstance(here.value, int) and isinstance(asked, int)
        rest = here.value % asked if numbers else Decimal(repr(here.value)) % Decimal(repr(asked))
    except (ArithmeticError, ValueError):
        return Unjudgeable("`multipleOf` cannot be judged of such a number")
    return None if rest == 0 else here.wrong("must be a multiple of the number that is given")


def _bound(fits: Callable[[Any, Any], bool], words: str) -> _Check:
    """For numbers."""

    def check(here: _Here, asked: Any) -> _Verdict:
        held = not _is_number(here.value) or fits(here.value, asked)
        return None if held else here.wrong(f"must be {words} the number that is given")

    return check


def _length(of: type[str] | type[list[Any]] | type[dict[str, Any]], words: str, *, least: bool) -> _Check:
    """For what is counted: the characters of a string, the parts of a list, the fields of an object."""

    def check(here: _Here, asked: Any) -> _Verdict:
        held = not isinstance(here.value, of) or (len(here.value) >= asked if least else len(here.value) <= asked)
        return None if held else here.wrong(f"has too {'few' if least else 'many'} {words}")

    return check


def _are_types(asked: object) -> bool:
    names = asked if isinstance(asked, list) else [asked]
    return 0 < len(names) <= len(_TYPES) and all(isinstance(name, str) and name in _TYPES for name in names)


def _are_names(asked: object) -> bool:
    return isinstance(asked, list) and all(isinstance(name, str) for name in asked)


def _is_schema(asked: object) -> bool:
    return isinstance(asked, Mapping | bool)


def _are_schemas(asked: object) -> bool:
    return isinstance(asked, list) and bool(asked)


def _is_reference(asked: object) -> bool:
    if not isinstance(asked, str) or len(asked) > _LONGEST_REFERENCE:
        return False
    return (asked == "#" or asked.startswith("#/")) and "%" not in asked


_KEYWORDS: Mapping[str, tuple[Callable[[object], bool], _Check]] = {
    "type": (_are_types, _type),
    "enum": (lambda asked: isinstance(asked, list), _enum),
    "const": (lambda _: True, _const),
    "required": (_are_names, _required),
    "properties": (lambda asked: isinstance(asked, Mapping), _properties),
    "additionalProperties": (_is_schema, _additional),
    "prefixItems": (_are_schemas, _prefix),
    "items": (_is_schema, _items),
    "uniqueItems": (lambda asked: isinstance(asked, bool), _unique),
    "allOf": (_are_schemas, _all_of),
    "anyOf": (_are_schemas, _any_of),
    "oneOf": (_are_schemas, _one_of),
    "not": (_is_schema, _not),
    "$ref": (_is_reference, _ref),
    "multipleOf": (lambda asked: _is_number(asked) and asked > 0, _multiple),  # type: ignore[operator]
    "minimum": (_is_number, _bound(lambda value, asked: value >= asked, "at least")),
    "maximum": (_is_number, _bound(lambda value, asked: value <= asked, "at most")),
    "exclusiveMinimum": (_is_number, _bound(lambda value, asked: value > asked, "more than")),
    "exclusiveMaximum": (_is_number, _bound(lambda value, asked: value < asked, "less than")),
    "minLength": (_is_whole, _length(str, "characters", least=True)),
    "maxLength": (_is_whole, _length(str, "characters", least=False)),
    "minItems": (_is_whole, _length(list, "parts", least=True)),
    "maxItems": (_is_whole, _length(list, "parts", least=False)),
    "minProperties": (_is_whole, _length(dict, "fields", least=True)),
    "maxProperties": (_is_whole, _length(dict, "fields", least=False)),
}
