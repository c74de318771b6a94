"""What is said about the difference of two documents."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.control.documents import EXAMPLE, TEXT, changed
from understudy.control.diff import Change, diff
from understudy.control.document import parse

JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=15,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["routes", "targets", "health", "a.b"]), JSON, max_size=4)


def lines(old: str | None, new: str) -> list[str]:
    return [str(change) for change in diff(parse(old) if old else None, parse(new))]


def test_a_changed_value_is_one_line() -> None:
    """A single edit is told as one line, with its path, the old value and the new one."""
    expected = ['changed targets.lead.model: "big" -> "bigger"']
    assert expected == lines(TEXT, changed(TEXT, "model: big", "model: bigger"))


def test_targets_of_a_route_are_compared_by_name() -> None:
    """Putting a target in front moves the others; it does not look as if all of them were replaced."""
    expected = [
        "changed routes.chat.targets[lead].order: 1 -> 2",
        "changed routes.chat.targets[second].order: 2 -> 1",
    ]
    assert expected == lines(TEXT, changed(TEXT, "[lead, second]", "[second, lead]"))


def test_new_and_removed_things_are_one_line_each() -> None:
    """A target that comes and one that goes are one line each, together with their places on the route."""
    new = changed(TEXT, "second: {provider: alpha, model: small}", "third: {provider: alpha, model: new}")
    told = lines(TEXT, changed(new, "[lead, second]", "[lead, third]"))
    expected = [
        'removed routes.chat.targets[second] (was {"order": 2, "target": "second", "weight": 1.0})',
        'added   routes.chat.targets[third]: {"order": 2, "target": "third", "weight": 1.0}',
        "removed targets.second (was {",
        "added   targets.third: {",
    ]
    assert expected == told[:2] + [line.split("{")[0] + "{" for line in told[2:]]
    assert all(len(line) < 200 and "\n" not in line for line in told)


def test_the_first_document_adds_everything_by_name() -> None:
    """Before the first publication every section and every named thing is told as added."""
    expected = ["alerts", "data_classes", "defaults", "golden_sets", "health", "providers.alpha", "routes.chat",
                "schema", "targets.lead", "targets.second"]  # fmt: skip
    changes = diff(None, parse(TEXT))
    assert expected == [change.path for change in changes]
    assert all(str(change).startswith("added ") for change in changes)


def test_declaring_a_fact_is_an_addition() -> None:
    """A value that was not set and now is, is told as added, even where it is zero or false."""
    old = parse(TEXT)
    new: dict[str, Any] = copy.deepcopy(old)
    new["targets"]["lead"]["data"] |= {"retention_days": 0, "trains_on_data": False}
    expected = [
        "added   targets.lead.data.retention_days: 0",
        "added   targets.lead.data.trains_on_data: false",
    ]
    assert expected == [str(change) for change in diff(old, new)]


def test_names_with_dots_keep_a_readable_path() -> None:
    """A route named like a version does not look like two steps of a path."""
    old = changed(TEXT, "  chat:", "  gpt-4.1:")
    expected = ['changed routes["gpt-4.1"].assured: false -> true']
    assert expected == lines(old, old + "    assured: true\n")


def test_a_change_is_a_value() -> None:
    """Changes can be compared and carry what was and what is."""
    expected = [Change("a", 1, 1.0)]
    assert expected == diff({"a": 1}, {"a": 1.0})


@given(DOCUMENTS)
def test_nothing_differs_from_itself(document: dict[str, Any]) -> None:
    """A document and its copy have no difference."""
    expected: list[Change] = []
    assert expected == diff(document, json.loads(json.dumps(document)))


@given(DOCUMENTS, DOCUMENTS)
def test_the_way_back_is_the_mirror(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Going back changes the same places the other way round, and every change can be printed on one line."""
    there, back = diff(old, new), diff(new, old)
    assert {(c.path, str(c.before), str(c.after)) for c in there} == {
        (c.path, str(c.after), str(c.before)) for c in back
    }
    assert all("\n" not in str(change) for change in there)
    assert (json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)) <= (not there)


def test_every_edit_of_the_example_is_seen() -> None:
    """No single value of a complete document can change without being told."""
    document = parse(EXAMPLE.read_text())
    edited = list(edits(document))
    assert len(edited) > 150
    for path, new in edited:
        expected = 1
        assert expected == len(diff(document, new)), path


def edits(document: dict[str, Any]) -> Any:
    """Copies of the document with one scalar changed; names of targets on a route and of questions stay."""

    def places(part: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(part, dict | list):
            for step, inner in part.items() if isinstance(part, dict) else enumerate(part):
                yield from places(inner, (*path, step))
        elif path[-1] not in ("target", "id"):
            yield path

    for path in places(document, ()):
        new = copy.deepcopy(document)
        part: Any = new
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = "edited"
        yield path, new
