"""What is read off a chunk."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.chat.stream import chunk_from, make_chunk
from understudy.chat.usage import Usage

# delta -> (text, tool calls, thinking): what the caller would see of the answer.
DELTAS: list[tuple[dict[str, Any] | None, tuple[str, bool, bool]]] = [
    (None, ("", False, False)),
    ({"role": "assistant", "content": ""}, ("", False, False)),
    ({"content": "hi"}, ("hi", False, False)),
    ({"refusal": "no"}, ("no", False, False)),
    ({"content": "a", "refusal": "b"}, ("ab", False, False)),
    ({"tool_calls": []}, ("", False, False)),
    ({"tool_calls": [{"index": 0}]}, ("", True, False)),
    ({"function_call": {"name": "f"}}, ("", True, False)),
    ({"reasoning_content": "hm"}, ("", False, True)),
    ({"reasoning": "hm"}, ("", False, True)),
    ({"reasoning_content": None, "reasoning": ""}, ("", False, False)),
]


@pytest.mark.parametrize(("delta", "expected"), DELTAS)
def test_what_a_delta_shows(delta: dict[str, Any] | None, expected: tuple[str, bool, bool]) -> None:
    """Text, refusal, tool calls and thinking are content; a role, empty texts and empty lists are not."""
    chunk = chunk_from({"choices": [{"index": 0, "delta": delta}]})
    assert expected == (chunk.text, chunk.has_tool_calls, chunk.has_reasoning)
    assert chunk.has_content is any(expected)


@pytest.mark.parametrize(
    "choices",
    [
        "x",
        5,
        ["x"],
        [{"delta": []}, 1],
        [{"delta": "x"}],
        [{"delta": {"content": 1}}],
        [{"delta": {"refusal": []}}],
        [{"delta": {"tool_calls": "x"}}],
        [{"delta": {"tool_calls": ["x"]}}],
    ],
)
def test_another_shape_is_no_chunk(choices: object) -> None:
    """What has not the shape of a chunk is a ValueError and nothing else."""
    with pytest.raises(ValueError, match="not"):
        chunk_from({"choices": choices})


def test_a_choice_without_a_place_is_the_first() -> None:
    """Stop reasons are kept by the choice's place; a missing or odd one counts as the first."""
    choices = [{"index": 1, "finish_reason": "stop"}, {"index": None, "finish_reason": "length"}]
    assert {1: "stop", 0: "length"} == chunk_from({"choices": choices}).finish_reasons


def test_a_made_chunk_reads_as_it_was_made() -> None:
    """A chunk of another wire has one choice, or none where it only counts."""
    said = make_chunk(id="c", model="m", created=1, delta={"content": "hi"})
    counted = make_chunk(id="c", model="m", created=1, usage=Usage(3, 2))
    assert ("hi", "m", None) == (said.text, said.model, said.usage)
    assert ([], Usage(3, 2)) == (counted.payload["choices"], counted.usage)
