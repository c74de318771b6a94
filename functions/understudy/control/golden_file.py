"""Golden sets in a file of their own, for those who write and try them before they go into the control document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from understudy.control import golden, wording
from understudy.control.document import MAX_PROBLEMS, fields
from understudy.control.source import Finding, Tree, UnreadableError, read
from understudy.errors import DocumentError
from understudy.golden.item import GoldenSet
from understudy.golden.sets import golden_set

_SETS: TypeAdapter[Any] = TypeAdapter(dict[golden.SetName, golden.GoldenSetForm])


def golden_sets(text: str, *, name: str, filename: str) -> dict[str, GoldenSet]:
    """The sets of a YAML text: `golden_sets: {NAME: {task, items}}`, what stands below it, or a single `{task, items}`,
    which is then called `name`.

    Raises DocumentError with every problem, each with its place in the file.
    """
    try:
        tree = read(text)
    except UnreadableError as unreadable:
        raise DocumentError(wording.problems([unreadable.finding], Tree(), filename, MAX_PROBLEMS)) from None
    sets, tree = _placed(tree, name)
    findings = list(tree.findings)
    if not isinstance(sets, Mapping) or not sets:
        findings.append(Finding((), "holds no golden set.", "write `{task: NAME, items: [...]}`"))
    try:
        _SETS.validate_python(sets)
        errors: list[Mapping[str, Any]] = []
    except ValidationError as error:
        errors = [{**one, "loc": ("golden_sets", *one["loc"])} for one in error.errors(include_url=False)]
    found = wording.first_of_each(
        findings, wording.findings(errors, tree, fields()), golden.findings({"golden_sets": sets})
    )
    if found:
        raise DocumentError(wording.problems(found, tree, filename, MAX_PROBLEMS))
    return {one: golden_set(one, data) for one, data in sets.items()}


def _placed(tree: Tree, name: str) -> tuple[Any, Tree]:
    """The sets, and the tree as if they stood in a control document."""
    value = tree.value
    if isinstance(value, Mapping) and value.keys() & {"golden_sets", "schema"}:
        return value.get("golden_sets"), tree
    single = isinstance(value, Mapping) and "items" in value
    above = ("golden_sets", name) if single else ("golden_sets",)
    marks = {(*above, *path): mark for path, mark in tree.marks.items()}
    bare = {(*above, *path): text for path, text in tree.bare.items()}
    found = [Finding((*above, *one.path), one.message, one.fix, one.mark) for one in tree.findings]
    return ({name: value} if single else value), Tree(value, marks, bare, found)
