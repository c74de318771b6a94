"""Golden sets in a control document, and in a file of their own."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.control.documents import TEXT, changed, problems
from understudy.control.diff import diff
from understudy.control.document import parse
from understudy.control.golden_file import golden_sets
from understudy.control.load import catalog
from understudy.errors import DocumentError
from understudy.golden.forms import _FIELDS
from understudy.golden.sets import built_in, find, golden_set

GOOD = '{kind: exact, answer: "yes"}'


def document(item: str, *, name: str = "shop", route: str = "") -> str:
    """A document with a set of one question; `item` is the question without its id."""
    text = f"{TEXT}golden_sets:\n  {name}:\n    task: shop\n    items:\n      - {{id: a, {item}}}\n"
    return changed(text, "[lead, second]", f"[lead, second]\n    golden_sets: {route}") if route else text


MISTAKES = {
    "unknown checker": (
        'prompt: "?", checker: {kind: exct}',
        "items[0].checker.kind (line 16, column 40): there is no checker `exct`. Fix: choose one of `exact`, "
        "`normalised`, `number`, `regex`, `json_schema`, `contains_all`, `choice`, `lines`, `words`, `letters`, "
        "`tool_call`, `refusal`, `all_of`, `judge`.",
    ),
    "bad pattern": (
        'prompt: "?", checker: {kind: regex, pattern: "("}',
        "items[0].checker.pattern (line 16, column 53): is not a pattern that can be used: unclosed group. "
        "Fix: write a plain regular expression, such as ^A+$.",
    ),
    "pattern that looks around": (
        "prompt: x, checker: {kind: regex, pattern: '(?=a)'}",
        "items[0].checker.pattern (line 16, column 51): is not a pattern that can be used: look-around, including "
        "look-ahead and look-behind, is not supported. Fix: write a plain regular expression, such as ^A+$.",
    ),
    "negative tolerance": (
        'prompt: "?", checker: {kind: number, value: 3, tolerance: -0.1}',
        "items[0].checker.tolerance (line 16, column 64): is negative (-0.1). Fix: write 0 or more.",
    ),
    "answer that is no option": (
        'prompt: "?", checker: {kind: choice, answer: E}',
        "items[0].checker.answer (line 16, column 54): is none of the options: `E`. "
        "Fix: write one of `A`, `B`, `C`, `D`.",
    ),
    "answer that YAML reads as a boolean": (
        'prompt: "?", checker: {kind: exact, answer: yes}',
        'items[0].checker.answer (line 16, column 53): is not text. Fix: quote it: "True".',
    ),
    "missing field of a checker": (
        'prompt: "?", checker: {kind: exact}',
        "items[0].checker.answer (line 16, column 30): is missing; a checker `exact` needs it. "
        'Fix: write `answer: "yes"`.',
    ),
    "unknown field of a checker": (
        'prompt: "?", checker: {kind: exact, answer: "a", case: any}',
        "items[0].checker.case (line 16, column 66): there is no field `case` here. Fix: there are `answer`.",
    ),
    "no question": (
        f"checker: {GOOD}",
        "items[0] (line 16, column 9): has no question. Fix: write either `prompt`, or `messages`.",
    ),
    "tool that is not offered": (
        'prompt: "?", checker: {kind: tool_call, name: f, arguments: {}}',
        "items[0].checker.name (line 16, column 57): there is no tool `f`. Fix: offer it under `tools` of the item.",
    ),
    "schema outside the subset": (
        'prompt: "?", checker: {kind: json_schema, schema: {if: true}}',
        "items[0].checker.schema (line 16, column 59): cannot be judged: `if` is not judged here. "
        "Fix: leave that part out, or say it in another way.",
    ),
    "checker of nothing": (
        'prompt: "?", checker: {kind: words}',
        "items[0].checker (line 16, column 30): asks for nothing, so every answer is right. "
        "Fix: write one of `min`, `max`.",
    ),
    "judge among others": (
        f'prompt: "?", checker: {{kind: all_of, checkers: [{GOOD}, {{kind: judge, rubric: x}}]}}',
        "items[0].checker.checkers[1].kind (line 16, column 96): a checker `judge` cannot be one of several. "
        "Fix: write the others of the list in its place.",
    ),
    "example that is refused": (
        f'prompt: "?", checker: {GOOD}, right: "no"',
        "items[0].right (line 16, column 69): the checker says 0 of it: is 'no'; expected 'yes'. "
        "Fix: correct the checker, or the example.",
    ),
    "wrong example that is accepted": (
        f'prompt: "?", checker: {GOOD}, wrong: "yes"',
        "items[0].wrong (line 16, column 69): the checker says 1 of it: right. "
        "Fix: correct the checker, or the example.",
    ),
    "weight of nothing": (
        f'prompt: "?", checker: {GOOD}, weight: 0',
        "items[0].weight (line 16, column 69): must be more than 0, found `0`. "
        "Fix: write more than 0; the default is 1.",
    ),
    "misspelt field": (
        f'prompt: "?", checker: {GOOD}, wieght: 1',
        "items[0].wieght (line 16, column 69): there is no field `wieght` here. Fix: did you mean `weight`?",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_of_questions(case: str) -> None:
    """Each mistake is told once, with its place, what is wrong, and what to write instead."""
    item, expected = MISTAKES[case]
    assert [f"golden_sets.shop.{expected}"] == problems(document(item))


@pytest.mark.parametrize("name", ["core", "drift", "liveness"])
def test_names_that_are_taken(name: str) -> None:
    """A set of a document cannot be mistaken for the built-in one or for the drift prompts."""
    expected = (
        f"golden_sets.{name} (line 13, column 3): the name `{name}` is taken by Understudy itself. "
        "Fix: give the set another name."
    )
    assert [expected] == problems(document(f'prompt: "?", checker: {GOOD}', name=name))


def test_names_on_a_route() -> None:
    """A route may name the document's sets and the built-in one, and is told what it may have meant."""
    item = f'prompt: "?", checker: {GOOD}'
    parsed = parse(document(item, route="[shop, core]"))
    assert ["core", "shop"] == parsed["routes"]["chat"]["golden_sets"]
    expected = [
        "routes.chat.golden_sets[0] (line 12, column 19): there is no golden set `shp`. Fix: did you mean `shop`?"
    ]
    assert expected == problems(document(item, route="[shp]"))


def test_ids_and_numbers_are_given_once() -> None:
    """Two questions of one set share neither their name nor their number, also where one number is only a place."""
    text = document(f'prompt: "?", number: 1, checker: {GOOD}') + f'      - {{id: a, prompt: "!", checker: {GOOD}}}\n'
    fix = "Fix: give each question one of its own, and never one that another had before."
    expected = [
        f"golden_sets.shop.items[1].number (line 17, column 9): is `1`, as that of items[0]. {fix}",
        f"golden_sets.shop.items[1].id (line 17, column 10): is `a`, as that of items[0]. {fix}",
    ]
    assert sorted(expected) == sorted(problems(text))


def test_the_number_of_questions_is_bounded() -> None:
    """A document holds at most 500 questions, all sets together."""
    items = "".join(f'      - {{id: i{n}, prompt: "?", checker: {GOOD}}}\n' for n in range(300))
    one = f"{TEXT}golden_sets:\n  one:\n    task: shop\n    items:\n{items}"
    assert 300 == len(parse(one)["golden_sets"]["one"]["items"])
    (found,) = problems(f"{one}  two:\n    task: shop\n    items:\n{items}")
    assert "golden_sets (line 12, column 1): there are more than 500 items in all sets together." in found


def test_the_canonical_form_is_a_document_again() -> None:
    """Defaults are written out, examples left out, questions in the order of their numbers; it says the same again."""
    text = document(f'prompt: "?", number: 7, checker: {GOOD}, right: "yes"')
    text += '      - {id: b, number: 2, prompt: "!", checker: {kind: lines, max: 3}}\n'
    parsed = parse(text)
    first, second = parsed["golden_sets"]["shop"]["items"]
    expected: dict[str, Any] = {
        "number": 7,
        "id": "a",
        "messages": [{"role": "user", "content": "?"}],
        "checker": {"kind": "exact", "answer": ["yes"]},
        "weight": 1.0,
        "max_tokens": 64,
        "tools": [],
        "response_format": None,
    }
    assert expected == second
    assert {"kind": "lines", "min": 0, "max": 3, "each": ""} == first["checker"]
    assert parsed == parse(yaml.safe_dump(parsed, sort_keys=False))
    assert golden_set("shop", parsed["golden_sets"]["shop"]) == golden_set(
        "shop", yaml.safe_load(text)["golden_sets"]["shop"]
    )


def test_a_changed_question_is_one_line_of_the_diff() -> None:
    """Questions are compared by their id."""
    old, new = (parse(document(f'prompt: "{text}", checker: {GOOD}')) for text in ("?", "!"))
    assert ["golden_sets.shop.items[a].messages"] == [change.path for change in diff(old, new)]


def test_the_catalog_keeps_sets_as_they_are() -> None:
    """The data plane's form holds the plain section, from which the control plane makes the sets it asks."""
    parsed = parse(document(f'prompt: "?", checker: {GOOD}', route="[shop]"))
    compiled = catalog(parsed, 1)
    assert parsed["golden_sets"] == compiled.golden_sets
    assert {"shop"} == compiled.routes["chat"].golden_sets
    found = find("shop", compiled.golden_sets)
    assert found is not None
    assert ("shop", ["a"]) == (found.name, [item.id for item in found.items])
    assert (built_in(), None) == (find("core", compiled.golden_sets), find("other", compiled.golden_sets))


def test_wrong_data_is_refused_with_its_path() -> None:
    """A stored set that cannot be read names every place."""
    with pytest.raises(DocumentError) as caught:
        golden_set("shop", {"task": "shop", "items": [{"id": "a", "prompt": "?", "checker": {"kind": "x"}}, 3]})
    expected = ["golden_sets.shop.items[0].checker.kind", "golden_sets.shop.items[1]"]
    assert expected == [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize("above", ["golden_sets:\n  shop:\n    ", "shop:\n    ", ""])
def test_a_file_of_sets_has_three_forms(above: str) -> None:
    """A file is the section, what stands below it, or one set; mistakes are told at their line."""
    indent = "    " if above else ""
    text = f'{above}task: shop\n{indent}items: [{{id: a, prompt: "?", checker: {GOOD}}}]\n'
    found = golden_sets(text, name="shop", filename="f.yaml")
    assert {"shop": ["a"]} == {name: [item.id for item in one.items] for name, one in found.items()}
    with pytest.raises(DocumentError) as caught:
        golden_sets(text.replace("exact", "exct"), name="shop", filename="f.yaml")
    line = text.count("\n")
    assert f"golden_sets.shop.items[0].checker.kind (line {line}, " in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "a: 1", "a: [", "schema: 1", "golden_sets: {}", "items: 3", "x: {items: []}"]
)
def test_files_without_sets_are_refused(text: str) -> None:
    """Whatever else a file holds, it is refused in order."""
    with pytest.raises(DocumentError):
        golden_sets(text, name="shop", filename="f.yaml")


WORDS = sorted({"kind", "checkers", *(name for known in _FIELDS.values() for name in known)})
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*_FIELDS, "all_of"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
        | st.dictionaries(st.just("kind"), st.sampled_from([*_FIELDS, "all_of"]), min_size=1).flatmap(
            lambda kind: st.dictionaries(st.sampled_from(WORDS), inner, max_size=4).map(lambda rest: rest | kind)
        )
    ),
    max_leaves=12,
)
FIELDS = ["id", "number", "prompt", "messages", "checker", "weight", "max_tokens", "tools", "response_format", "right"]


@settings(max_examples=60, deadline=None)
@given(ANY, st.sampled_from(FIELDS), ANY)
def test_any_question_is_read_or_refused(checker: Any, field: str, value: Any) -> None:
    """Whatever a question holds, it becomes an item or problems with a place, and nothing else is raised."""
    entry = {"id": "a", "prompt": "?", "checker": checker, field: value}
    try:
        found = golden_set("shop", {"task": "t", "items": [entry]})
    except DocumentError as error:
        assert all(problem.path.startswith("golden_sets.shop") for problem in error.problems)
    else:
        assert 1 == len(found.items)
