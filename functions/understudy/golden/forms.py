"""Plain data -> checkers, with everything that is wrong with it: where, what, and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from understudy.chat.schema import Unjudgeable, check_schema
from understudy.golden.checkers import KINDS, AllOf, Checker, Judge, Tools
from understudy.golden.pattern import mistake
from understudy.golden.text import normalised

MAX_TEXTS = 50
MAX_TEXT = 4000
MAX_CHECKERS = 10

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a golden set; `path` is from the set, or from the part that was read."""

    path: Path
    message: str
    fix: str = ""


class WrongError(ValueError):
    """One value is wrong: what is wrong with it, and what to write instead."""

    def __init__(self, message: str, fix: str, path: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.path = path


def listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def checker(plain: Any, tools: Tools, path: Path, faults: list[Fault]) -> Checker | None:
    """The checker that `plain` describes, or None; what is wrong is added to `faults`."""
    found = _kind(plain, path, faults)
    if found is None:
        return None
    kind, form = found
    if kind == AllOf.kind:
        return _all_of(plain, tools, path, faults)
    known, values, before = _FIELDS[kind], {}, len(faults)
    faults += _unknown(plain, list(known), path)
    for field in fields(form):
        given = plain.get(field.name)
        if field.name not in plain or (given is None and field.default is None):
            if field.default is MISSING:
                fix = f"write `{field.name}: {_EXAMPLES.get(field.name, '…')}`"
                faults.append(Fault((*path, field.name), f"is missing; a checker `{kind}` needs it.", fix))
            continue
        try:
            values[field.name] = known[field.name](given)
        except WrongError as wrong:
            faults.append(Fault((*path, field.name, *wrong.path), wrong.message, wrong.fix))
    if len(faults) > before:
        return None
    made: Checker = form(**values)
    faults += _across(made, tools, path)
    return made if len(faults) == before else None


def _kind(plain: Any, path: Path, faults: list[Fault]) -> tuple[str, type[Any]] | None:
    known = list(KINDS)
    if not isinstance(plain, Mapping):
        faults.append(Fault(path, "is not a checker.", "write for example `{kind: exact, answer: yes}` with quotes"))
    elif "kind" not in plain:
        faults.append(Fault((*path, "kind"), "is missing.", f"choose one of {listed(known)}"))
    elif not isinstance(kind := plain["kind"], str) or kind not in KINDS:
        message = f"there is no checker `{kind!s:.60}`."
        faults.append(Fault((*path, "kind"), message, f"choose one of {listed(known)}"))
    else:
        return kind, KINDS[kind]
    return None


def _unknown(plain: Mapping[Any, Any], known: Sequence[str], path: Path) -> Iterator[Fault]:
    for name in plain:
        if name not in known and name != "kind":
            yield Fault((*path, str(name)), f"there is no field `{name!s:.60}` here.", f"there are {listed(known)}")


def _all_of(plain: Mapping[str, Any], tools: Tools, path: Path, faults: list[Fault]) -> Checker | None:
    faults += _unknown(plain, ["checkers"], path)
    parts, place = plain.get("checkers"), (*path, "checkers")
    if not isinstance(parts, list) or not 1 < len(parts) <= MAX_CHECKERS:
        faults.append(Fault(place, f"must be a list of 2 to {MAX_CHECKERS} checkers.", "write them as a list"))
        return None
    made = []
    for i, part in enumerate(parts):
        if isinstance(part, Mapping) and part.get("kind") in (AllOf.kind, Judge.kind):
            message = f"a checker `{part['kind']}` cannot be one of several."
            faults.append(Fault((*place, i, "kind"), message, "write the others of the list in its place"))
        else:
            made.append(checker(part, tools, (*place, i), faults))
    whole = [one for one in made if one is not None]
    return AllOf(tuple(whole)) if len(whole) == len(parts) else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongError("is not text.", f'quote it: "{value!s:.40}"')
    if not value.strip() or len(value) > MAX_TEXT:
        raise WrongError("is empty or too long.", f"write 1 to {MAX_TEXT} characters")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return (_text(value),)
    found = _some_texts(value)
    if not found:
        raise WrongError("is empty.", 'write at least one text, such as "yes"')
    return found


def _some_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_TEXTS:
        raise WrongError(f"is no list of up to {MAX_TEXTS} texts.", 'write for example ["one", "two"]')
    found = []
    for i, one in enumerate(value):
        try:
            found.append(_text(one))
        except WrongError as wrong:
            raise WrongError(wrong.message, wrong.fix, (i,)) from None
    return tuple(found)


def _plain_texts(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    if not all(map(normalised, found)):
        raise WrongError("is nothing but punctuation, which does not count here.", "use the checker `exact`")
    return found


def _options(value: Any) -> tuple[str, ...]:
    found = _some_texts(value)
    if len(found) < 2 or len({normalised(one) for one in found}) < len(found):
        raise WrongError("must be at least two options that differ in their letters.", "write for example [A, B, C, D]")
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WrongError("is not a number.", "write digits only, without quotes or units")
    return value


def _not_negative(value: Any) -> float:
    if _number(value) < 0:
        raise WrongError(f"is negative ({value}).", "write 0 or more")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise WrongError("is not a count.", "write a whole number from 0 to 10000")
    return value


def _pattern(value: Any) -> str:
    if wrong := mistake(_text(value)):
        raise WrongError(
            f"is not a pattern that can be used: {wrong}.", "write a plain regular expression, such as ^A+$"
        )
    return str(value)


def _case(value: Any) -> str:
    if value not in ("any", "lower", "upper"):
        raise WrongError("is not a case.", "choose one of `any`, `lower`, `upper`")
    return str(value)


def _or_empty(read: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if value == "" else read(value)


def _schema(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongError("is not a JSON schema.", "write for example {type: object, required: [name]}")
    try:
        check_schema(value)
    except Unjudgeable as reason:
        raise WrongError(f"cannot be judged: {reason}.", "leave that part out, or say it in another way") from None
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongError("is not a mapping.", "write `{name: value}`, or `{}` for none")
    return value


_EXAMPLES = {
    "answer": '"yes"',
    "value": "42",
    "pattern": '"^[a-z]+$"',
    "words": '["one", "two"]',
    "schema": "{type: object}",
    "name": "the_tool",
    "arguments": "{}",
    "rubric": "…",
}
_FIELDS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "exact": {"answer": _texts},
    "normalised": {"answer": _plain_texts},
    "number": {"value": _number, "tolerance": _not_negative, "relative": _not_negative},
    "regex": {"pattern": _pattern},
    "contains_all": {"words": _some_texts, "without": _some_texts},
    "choice": {"answer": _text, "options": _options},
    "lines": {"min": _count, "max": _count, "each": _or_empty(_pattern)},
    "words": {"min": _count, "max": _count},
    "letters": {"case": _case, "without": _or_empty(_text)},
    "json_schema": {"schema": _schema, "expected": lambda value: value},
    "tool_call": {"name": _text, "arguments": _mapping},
    "refusal": {"any_of": _some_texts},
    "judge": {"rubric": _text},
}
_NO_EFFECT: Mapping[str, dict[str, Any]] = {
    "contains_all": {"words": [], "without": []},
    "lines": {"min": 0, "max": None, "each": ""},
    "words": {"min": 0, "max": None},
    "letters": {"case": "any", "without": ""},
}


def _across(made: Checker, tools: Tools, path: Path) -> Iterator[Fault]:
    """What is wrong between the fields of a checker, or between it and the tools of its question."""
    plain = made.plain()
    if (nothing := _NO_EFFECT.get(made.kind)) is not None and plain == {"kind": made.kind} | nothing:
        yield Fault(path, "asks for nothing, so every answer is right.", f"write one of {listed(list(nothing))}")
    if (most := plain.get("max")) is not None and most < plain["min"]:
        yield Fault((*path, "max"), f"is less than `min` ({plain['min']}).", f"write {plain['min']} or more")
    if made.kind == "choice" and plain["answer"] not in plain["options"]:
        message = f"is none of the options: `{plain['answer']:.60}`."
        yield Fault((*path, "answer"), message, f"write one of {listed(plain['options'])}")
    if made.kind == "tool_call":
        offered = [name for tool in tools if (name := _offered(tool))]
        if plain["name"] not in offered:
            fix = f"name one of {listed(offered)}" if offered else "offer it under `tools` of the item"
            yield Fault((*path, "name"), f"there is no tool `{plain['name']:.60}`.", fix)


def _offered(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""
