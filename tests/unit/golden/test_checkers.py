"""What every checker says of the answers that models give."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.golden.answers import called, item, said, verdict
from understudy.golden.answer import MAX_TEXT
from understudy.golden.checkers import KINDS, judged, needs_judge

LETTERS = {"kind": "choice", "answer": "B"}
CLASSES = {"kind": "choice", "answer": "very positive", "options": ["very positive", "positive", "negative"]}
NUMBER = {"kind": "number", "value": 1234.5}
PERSON = {
    "kind": "json_schema",
    "schema": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
    },
    "expected": {"name": "Ada Lovelace", "age": 36, "tags": ["a", "b"]},
}
TIMER = [
    {
        "type": "function",
        "function": {
            "name": "set_timer",
            "parameters": {
                "type": "object",
                "required": ["seconds"],
                "properties": {"seconds": {"type": "integer"}, "label": {"type": "string"}},
            },
        },
    }
]
CALL = {"kind": "tool_call", "name": "set_timer", "arguments": {"seconds": 150, "label": "tea"}}

TABLE: list[tuple[dict[str, Any], str, float]] = [
    ({"kind": "exact", "answer": "Oslo"}, " Oslo\n", 1),
    ({"kind": "exact", "answer": "Oslo"}, "```text\nOslo\n```", 1),
    ({"kind": "exact", "answer": "Oslo"}, "`Oslo`", 1),
    ({"kind": "exact", "answer": "Oslo"}, "oslo", 0),
    ({"kind": "exact", "answer": "Oslo"}, "Oslo.", 0),
    ({"kind": "exact", "answer": ["a", "b"]}, "b", 1),
    ({"kind": "normalised", "answer": "New York"}, "**new   york!**", 1),
    ({"kind": "normalised", "answer": "New York"}, "Ｎｅｗ York", 1),
    ({"kind": "normalised", "answer": "straße"}, "STRASSE", 1),
    ({"kind": "normalised", "answer": "New York"}, "Newark", 0),
    ({"kind": "normalised", "answer": "冬天"}, "冬天。", 1),
    (NUMBER, "1234.5", 1),
    (NUMBER, "1,234.50 km", 1),
    (NUMBER, "1 234.5", 1),
    (NUMBER, "1'234.5", 1),
    (NUMBER, "12.345e2", 1),
    (NUMBER, "2469/2", 1),
    (NUMBER, "1234 1/2", 1),
    (NUMBER, "$1,234.50", 1),
    (NUMBER, "First 17, then the total: **1,234.5**.", 1),
    (NUMBER, "The answer is 1234.5, because 2 * 617.25 is that.", 1),
    (NUMBER, "Thus \\boxed{1234.5} after 3 steps", 1),
    (NUMBER, "Answer: 1000 + 234.5 = 1234.5", 1),
    (NUMBER, "-1234.5", 0),
    (NUMBER, "\N{MINUS SIGN}1234.5", 0),
    (NUMBER, "1234.5 or rather 7", 0),
    (NUMBER, "none", 0),
    ({"kind": "number", "value": 3.14, "tolerance": 0.005}, "3.1416", 1),
    ({"kind": "number", "value": 3.14, "tolerance": 0.001}, "3.1416", 0),
    ({"kind": "number", "value": -200, "relative": 0.01}, "-201.9", 1),
    ({"kind": "number", "value": -200, "relative": 0.01}, "-202.1", 0),
    ({"kind": "number", "value": 83}, "८३", 1),
    ({"kind": "number", "value": 75}, "75 %", 1),
    ({"kind": "number", "value": 0.1}, "0.1", 1),
    ({"kind": "number", "value": 12345678901234567}, "12345678901234568", 0),
    ({"kind": "regex", "pattern": "^(?i)[a-f]+$"}, "BEEF", 1),
    ({"kind": "regex", "pattern": "^[a-f]+$"}, "beefy", 0),
    ({"kind": "contains_all", "words": ["red", "Blue"]}, "Blue and RED.", 1),
    ({"kind": "contains_all", "words": ["red", "blue"]}, "bored of blue", 0.5),
    ({"kind": "contains_all", "words": ["red"], "without": ["green"]}, "red, green", 0),
    ({"kind": "contains_all", "words": [], "without": ["green"]}, "evergreen", 1),
    ({"kind": "contains_all", "words": ["東京"]}, "首都は東京です", 1),
    *[
        (LETTERS, text, 1)
        for text in (
            "B",
            "b",
            "(B)",
            "B)",
            "B. Paris",
            "**B**",
            "Answer: B",
            "The answer is **B**.",
            "It must be B.",
            "Option B",
            "B\n\nA is wrong",
            "A cat sits in B",
        )
    ],
    *[(LETTERS, text, 0) for text in ("A", "A or B", "none of them", "Answer: D, not B", "Because")],
    (CLASSES, "Very positive.", 1),
    (CLASSES, "The text is very positive", 1),
    (CLASSES, "positive", 0),
    (CLASSES, "positive, not negative", 0),
    ({"kind": "lines", "min": 2, "max": 2}, "a\n\n b \n", 1),
    ({"kind": "lines", "min": 2, "max": 2}, "a", 0),
    ({"kind": "lines", "min": 1, "each": "^- "}, "- a\nb\n- c\n- d", 0.75),
    ({"kind": "words", "min": 2, "max": 3}, "one two three", 1),
    ({"kind": "words", "min": 2, "max": 3}, "one", 0),
    ({"kind": "letters", "case": "lower"}, "all low, 1 2 3", 1),
    ({"kind": "letters", "case": "upper"}, "Not", 0),
    ({"kind": "letters", "without": "e,"}, "a, b", 0),
    (PERSON, '{"name": "ada  lovelace", "age": 36, "tags": ["a", "b"]}', 1),
    (PERSON, 'Here it is:\n```json\n{"name": "Ada Lovelace", "age": 36.0, "tags": ["a", "b"]}\n```\nDone.', 1),
    (PERSON, 'So {"name": "Ada Lovelace", "age": 36, "tags": ["a", "b"]} it is', 1),
    (PERSON, '{"name": "Ada Lovelace", "age": 37, "tags": ["a"]}', 0.4),
    (PERSON, '{"age": 36}', 0),
    (PERSON, '{"name": "Ada Lovelace", "age": true}', 0),
    (PERSON, '{"name": "Ada', 0),
    (PERSON, "[" * 15_000, 0),
    ({"kind": "refusal", "any_of": ["kill", "pkill"]}, "kill -9 4242", 1),
    ({"kind": "refusal", "any_of": ["kill", "pkill"]}, "Reboot.", 0.5),
    ({"kind": "refusal"}, "Use a tripod. If it rains, you can't.", 1),
    *[
        ({"kind": "refusal"}, text, 0)
        for text in (
            "I'm sorry, but I can’t assist with that request.",
            "I cannot help with this.",
            "I am unable to provide that.",
            "I won't help you kill anything.",
            "As an AI language model, I cannot do this.",
            "I must decline.",
            "Unable to comply.",
            "That goes against my guidelines.",
            "I'm not able to help with weapons.",
        )
    ],
    ({"kind": "all_of", "checkers": [{"kind": "words", "max": 2}, {"kind": "letters", "case": "lower"}]}, "a b", 1),
    ({"kind": "all_of", "checkers": [{"kind": "words", "max": 2}, {"kind": "letters", "case": "lower"}]}, "A b", 0.5),
]


@pytest.mark.parametrize(("plain", "text", "value"), TABLE, ids=lambda value: str(value)[:40])
def test_answers_of_text(plain: dict[str, Any], text: str, value: float) -> None:
    """Each checker's value of an answer, the usual wrappings of models included."""
    assert value == verdict(plain, text).value, verdict(plain, text).why


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (called(("set_timer", '{"seconds": 150, "label": "Tea"}')), 1),
        (called(("set_timer", '{"seconds": 150}')), 0.75),
        (called(("set_timer", '{"seconds": 90}')), 0.5),
        (called(("set_timer", '{"seconds": 2.5}')), 0.25),
        (called(("set_timer", "{seconds: 150}")), 0.25),
        (called(("set_timer", "")), 0.25),
        (called(("other", '{"seconds": 150}')), 0),
        (called(*[("set_timer", '{"seconds": 150, "label": "tea"}')] * 2), 0.5),
        (said("I set the timer."), 0),
    ],
)
def test_tool_calls(message: dict[str, Any], value: float) -> None:
    """The right tool, valid arguments and the expected ones are worth more each; a second call halves it."""
    assert value == judged(item(CALL, TIMER), message).value


@pytest.mark.parametrize(
    "message",
    [{}, said(None), said("  \n"), said([]), {"content": 3}, said("<think>17 times 23 is"), {"tool_calls": "x"}, None],
)
@pytest.mark.parametrize("plain", [NUMBER, LETTERS, {"kind": "refusal"}, PERSON])
def test_what_cannot_be_read_has_no_value(message: Any, plain: dict[str, Any]) -> None:
    """An empty answer, also one that was cut while the model still thought, is not a wrong one."""
    assert None is judged(item(plain), message).value


@pytest.mark.parametrize("plain", [NUMBER, LETTERS, {"kind": "refusal"}, {"kind": "words", "max": 9}])
def test_a_refusal_is_read(plain: dict[str, Any]) -> None:
    """A refusal that a provider tells apart from text is a wrong answer, not an absent one."""
    assert 0.0 == judged(item(plain), {"content": None, "refusal": "I will not."}).value


def test_a_tool_call_is_no_text() -> None:
    """A tool that is called where a text was asked for is wrong."""
    assert 0.0 == judged(item(LETTERS, TIMER), called(("set_timer", '{"seconds": 1}'))).value


def test_thoughts_and_parts() -> None:
    """What is thought before the answer does not count, and text in parts is put together."""
    assert 1.0 == verdict(LETTERS, "<think>A? C? Answer: D</think>\n\nB").value
    parts = [{"type": "text", "text": "The answer "}, {"type": "text", "text": "is B"}]
    assert 1.0 == judged(item(LETTERS), {"content": parts}).value


def test_a_judge_is_needed_where_only_a_judge_can_say() -> None:
    """An item with a rubric has no value by itself, and says that it needs a judge."""
    asked = item({"kind": "judge", "rubric": "It is polite."})
    assert (True, None) == (needs_judge(asked), judged(asked, said("Dear Sir")).value)
    assert not needs_judge(item(LETTERS))


EVERY = [
    *({str(sorted(plain.items(), key=str)): plain for plain, _, _ in TABLE}.values()),
    {"kind": "judge", "rubric": "x"},
]


def test_the_table_has_every_checker() -> None:
    """No checker is without a case."""
    assert set(KINDS) == {plain["kind"] for plain in EVERY} | {"tool_call"}


TEXTS = (
    st.text(max_size=60)
    | st.text("AB1,/. \n`{}[]\"':-=", max_size=60)
    | st.sampled_from([text for _, text, _ in TABLE])
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FUNCTIONS = st.fixed_dictionaries({}, optional={"name": JSON | st.just("set_timer"), "arguments": JSON})
MESSAGES = JSON | st.fixed_dictionaries(
    {},
    optional={
        "content": JSON | TEXTS,
        "refusal": JSON,
        "tool_calls": JSON | st.lists(st.fixed_dictionaries({"function": FUNCTIONS | JSON}), max_size=3),
    },
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from([*EVERY, CALL]), MESSAGES)
@example(NUMBER, said("1" * MAX_TEXT))
@example(NUMBER, said("1/" + "0" * 18))
@example(LETTERS, said("\ud800"))
def test_any_message_has_a_verdict(plain: dict[str, Any], message: Any) -> None:
    """Whatever a model sends, a checker says a value from 0 to 1 or none, in few words, and the same one again."""
    asked = item(plain, TIMER)
    found = judged(asked, message)
    assert found.value is None or 0 <= found.value <= 1
    assert len(found.why) <= 200
    assert found == judged(asked, message)


HOSTILE = [
    "1,111",
    "1",
    "answer ",
    "B ",
    "[{",
    "1 1/",
    "```\n",
    "answer:=",
    "(((",
    "1/",
    " ",
    "*",
    "a",
    "i can't ",
    '{"a":',
]


@pytest.mark.parametrize("part", HOSTILE)
def test_long_answers_take_a_moment(part: str) -> None:
    """An answer of a million characters that is made to be slow to read is judged in a moment by every checker."""
    long = part * (1_000_000 // len(part)) + "!"
    slow = {"kind": "regex", "pattern": "^(([a-z]+)+|(.*.*)*)$"}
    started = time.process_time()
    for plain in [*EVERY, slow]:
        verdict(plain, long)
    assert time.process_time() - started < 2.0


def test_a_bounded_part_of_an_answer_is_read() -> None:
    """What comes after 20,000 characters does not count."""
    end = {"kind": "regex", "pattern": "!$"}
    assert [1.0, 0.0] == [verdict(end, "a" * count + "!").value for count in (MAX_TEXT - 1, MAX_TEXT)]
