"""Golden sets in a control document: their form, what must hold between them and the routes, their canonical form.

What an item and its checker must be is said by `golden/`, which probes use too; here it is given a place in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from understudy.control import checks
from understudy.control.form import STRICT
from understudy.control.protocols import as_mapping
from understudy.control.source import Finding
from understudy.golden.item import CORE
from understudy.golden.sets import MAX_ITEMS, MAX_NUMBER, RESERVED, golden_set, read_set


def _set_name(value: str) -> str:
    if value in RESERVED:
        raise checks.WrongError(f"the name `{value}` is taken by Understudy itself.", "give the set another name")
    return checks.name(value)


SetName = Annotated[str, AfterValidator(_set_name)]
SetNames = Annotated[list[Annotated[str, AfterValidator(checks.name)]], AfterValidator(checks.once_each)]


class _Form(BaseModel):
    model_config = STRICT


class ItemForm(_Form):
    number: Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None = None
    id: Annotated[str, AfterValidator(checks.name)]
    # One of the two is written, and the canonical form has the second.
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    checker: dict[str, Any]
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    tools: list[dict[str, Any]] = Field(default_factory=list)
    response_format: dict[str, Any] | None = None
    # Examples for the checker, held against it and left out of the canonical form.
    right: Any = None
    wrong: Any = None


class GoldenSetForm(_Form):
    task: Annotated[str, AfterValidator(checks.name)]
    items: Annotated[list[ItemForm], Field(min_length=1, max_length=MAX_ITEMS)]


GoldenSets = Annotated[dict[SetName, GoldenSetForm], Field(default_factory=dict)]


def findings(value: Any) -> Iterator[Finding]:
    """What is wrong in the sets of a document as it was read, and with the names of sets on its routes."""
    document = as_mapping(value)
    sets = as_mapping(document.get("golden_sets"))
    count = 0
    for name, data in sets.items():
        items = as_mapping(data).get("items")
        count += len(items) if isinstance(items, list) else 0
        if count > MAX_ITEMS:
            message = f"there are more than {MAX_ITEMS} items in all sets together."
            yield Finding(("golden_sets",), message, "keep those that tell a good answer from a bad one best")
            break
        for fault in read_set(data)[1]:
            yield Finding(("golden_sets", name, *fault.path), fault.message, fault.fix)
    for route, section in as_mapping(document.get("routes")).items():
        names = as_mapping(section).get("golden_sets")
        for i, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str) and name != CORE and name not in sets:
                fix = checks.guess(name, [CORE, *sets])
                yield Finding(("routes", route, "golden_sets", i), f"there is no golden set `{name}`.", fix)


def canonical(sets: Mapping[str, GoldenSetForm]) -> dict[str, Any]:
    """The sets with every default written out, each in the order of its items' numbers."""
    found = {}
    for name, form in sets.items():
        items = golden_set(name, form.model_dump(exclude_unset=True)).items
        found[name] = {"task": form.task, "items": [item.plain() for item in items]}
    return found
