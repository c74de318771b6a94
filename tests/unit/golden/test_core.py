"""The golden set that comes with the package: its answers are right, and its checkers tell them from wrong ones."""

from __future__ import annotations

import contextlib
import io
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from understudy.control.golden_file import golden_sets
from understudy.golden import sets
from understudy.golden.checkers import judged
from understudy.golden.item import CORE, GoldenSet, Item, body
from understudy.golden.sets import MAX_ITEMS, built_in, core_files, example_message, golden_set

TASKS = ("arithmetic", "extraction", "classification", "instructions", "code", "multilingual", "refusals", "tools")
ITEMS = {item.id: item for item in built_in().items}
ENTRIES = {entry["id"]: entry for data in core_files().values() for entry in data["items"]}
SUMS = {
    "product-of-two-digits": 17 * 23,
    "product-of-three-digits": 387 * 46,
    "two-reductions": Fraction(240) * Fraction(85, 100) * Fraction(90, 100),
    "three-fractions": Fraction(3, 4) + Fraction(5, 6) - Fraction(1, 3),
    "remainder-of-a-power": 7**13 % 11,
    "two-pipes": 60 / (Fraction(1, 6) + Fraction(1, 4)),
    "zeros-of-a-factorial": len(str(math.factorial(60))) - len(str(math.factorial(60)).rstrip("0")),
    "minutes-across-midnight": (24 * 60 - (21 * 60 + 47)) + 6 * 60 + 12,
    "product-of-four-digits": 4829 * 716,
}
MADE = {
    "seven-times": " ".join(["tap"] * 7),
    "falling-list": str([n for n in range(18, 11, -1) if n % 2 == 0]).replace(" ", ""),
    "backwards": "lighthouse"[::-1],
    "reverse-order": ">".join(sorted(["fig", "pear", "apple", "mango", "peach", "melon"], reverse=True)),
}


def of(task: str) -> list[Item]:
    return [item for item in ITEMS.values() if item.task == task]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_checkers_tell_right_from_wrong(entry: dict[str, Any]) -> None:
    """Every question has an example that its checker finds right and a likely mistake that it does not."""
    item = ITEMS[entry["id"]]
    right, wrong = (judged(item, example_message(entry[field]) or {}) for field in ("right", "wrong"))
    assert 1.0 == right.value, right.why
    assert wrong.value is not None and wrong.value < 1


def test_every_task_is_asked_often_enough() -> None:
    """There are 72 questions, nine of each of eight tasks, and any eight numbers in a row ask one of each."""
    items = built_in().items
    assert list(range(72)) == [item.number for item in items]
    assert [TASKS[number % 8] for number in range(72)] == [item.task for item in items]
    assert (CORE, tuple(sorted(TASKS))) == (built_in().name, built_in().tasks)
    assert len({item.id for item in items}) == len(items) <= MAX_ITEMS


def test_arithmetic_is_right() -> None:
    """Every answer of the task is what Python computes."""
    expected = {name: float(value) for name, value in SUMS.items()}
    assert expected == {item.id: item.checker.plain()["value"] for item in of("arithmetic")}


@pytest.mark.parametrize("item", of("code"), ids=lambda item: item.id)
def test_programs_print_what_is_expected(item: Item) -> None:
    """Every program prints the one answer that its checker takes."""
    program = item.messages[0]["content"].partition("\n\n")[2]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, item.id, "exec"), {})  # noqa: S102 - our own program
    assert [printed.getvalue().strip()] == item.checker.plain()["answer"]


def test_made_texts_are_right() -> None:
    """Answers that can be made by rule are what the rule makes."""
    assert MADE == {name: ITEMS[name].checker.plain()["answer"][0] for name in MADE}


def test_the_answers_are_cheap() -> None:
    """All questions together take fewer than 5,000 tokens to ask (four characters each) and 3,000 to answer."""
    asked = sum(len(str(item.messages)) + len(str(item.tools)) for item in ITEMS.values()) / 4
    answered = sum(item.max_tokens for item in ITEMS.values())
    assert asked < 5000
    assert answered < 3000
    right = sum(len(str(entry["right"])) for entry in ENTRIES.values()) / 4
    assert right < 700


@pytest.mark.parametrize("name", core_files())
def test_the_files_pass_the_check_of_users_sets(name: str) -> None:
    """What comes with the package obeys the rules that a user's set must obey, and means the same."""
    path = Path(sets.__file__).parent / CORE / f"{name}.yaml"
    found = golden_sets(path.read_text("utf-8"), name=name, filename=path.name)
    assert of(name) == list(found[name].items)


def test_a_changed_set_has_another_digest() -> None:
    """The digest is short, the same on every machine and in every run, and another one for any other content."""
    small = golden_set(
        "x", {"task": "t", "items": [{"id": "a", "prompt": "?", "checker": {"kind": "words", "max": 3}}]}
    )
    assert "a4d4bec3180c" == small.digest
    core = built_in()
    fewer = GoldenSet(core.name, core.items[1:])
    assert core.digest != fewer.digest
    assert core.digest == GoldenSet("other", core.items, "elsewhere").digest


def test_a_question_is_a_chat_request() -> None:
    """Temperature 0, the item's longest answer, and room to think where a model needs it."""
    asked = body(ITEMS["weather"], "m", reasoning_tokens=1000)
    assert ("m", 0, 1064) == (asked["model"], asked["temperature"], asked["max_tokens"])
    assert ["get_weather"] == [tool["function"]["name"] for tool in asked["tools"]]
    plain = body(ITEMS["two-pipes"], "m")
    assert {"model", "messages", "temperature", "max_tokens"} == set(plain)
    assert 16 == plain["max_tokens"]
