"""Drift prompts, and how the beginning of an answer is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.golden.drift import MAX_FIRST, PROMPTS, First, drift_body, first_token


def chunk(text: str | None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, **more}]}


def test_the_prompts_are_few_and_cheap() -> None:
    """20 to 40 short questions with numbers of their own, each for one to four tokens."""
    assert 20 <= len(PROMPTS) <= 40
    assert list(range(len(PROMPTS))) == [prompt.number for prompt in PROMPTS]
    assert len({prompt.text for prompt in PROMPTS}) == len(PROMPTS)
    assert all(1 <= prompt.max_tokens <= 4 and len(prompt.text) <= 120 for prompt in PROMPTS)


def test_a_prompt_is_a_chat_request() -> None:
    """Temperature 0, room to think where a model needs it, probabilities only where they are asked for."""
    body = drift_body(PROMPTS[0], "m", reasoning_tokens=512)
    assert ("m", 0, 513, False) == (body["model"], body["temperature"], body["max_tokens"], "logprobs" in body)
    assert drift_body(PROMPTS[0], "m", logprobs=True)["logprobs"] is True


LOGPROBS = {"content": [{"token": " Te", "logprob": -0.25}, {"token": "a", "logprob": 0}]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"role": "assistant", "content": "Tea, of course"}, First("Tea")),
        ({"content": " tea"}, First(" tea")),
        ({"content": "42nd"}, First("42")),
        ({"content": "\N{RIGHT DOUBLE QUOTATION MARK}x"}, First("\N{RIGHT DOUBLE QUOTATION MARK}")),
        ({"content": "a" * 500}, First("a" * MAX_FIRST)),
        ({"content": [{"type": "text", "text": "Tea"}]}, First("Tea")),
        ({"choices": [{"message": {"content": "Tea"}, "logprobs": LOGPROBS}]}, First(" Te", -0.25)),
        ({"choices": [{"message": {"content": "Tea"}, "logprobs": None}]}, First("Tea")),
        ([chunk(""), chunk("Te"), chunk("a"), chunk(" or")], First("Tea")),
        ([chunk(None), chunk(" Te", logprobs=LOGPROBS), chunk("a")], First(" Te", -0.25)),
        ([{"choices": []}, chunk("Tea")], First("Tea")),
        ({"content": ""}, None),
        ({"content": None, "refusal": "no"}, None),
        ([], None),
        (
            {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"token": "x", "logprob": 3}]}}]},
            First("x"),
        ),
    ],
)
def test_first_tokens(answer: Any, expected: First | None) -> None:
    """The token where the provider tells tokens apart, else the first word; nothing of it is changed."""
    assert expected == first_token(answer)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "message", "content", "logprobs", "token", "text"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["choices", "content", "message"]), PLAIN) | st.lists(PLAIN, max_size=4))
def test_anything_is_read(answer: Any) -> None:
    """Whatever a provider sends, there is a short first token or none."""
    found = first_token(answer)
    assert found is None or 0 < len(found.text) <= MAX_FIRST
    assert found is None or found.logprob is None or -1000 < found.logprob <= 0


@pytest.mark.parametrize(
    ("given", "expected"), [(-0.25, -0.25), (0, 0.0), (1e-7, 0.0), (-9999.0, None), (0.5, None), (True, None)]
)
def test_a_probability_is_one_or_none(given: Any, expected: float | None) -> None:
    """A rounding error above certainty is certainty; what stands for an unknown one, or is none, is left out."""
    logprobs = {"content": [{"token": "x", "logprob": given}]}
    assert First("x", expected) == first_token({"choices": [{"message": {"content": "x"}, "logprobs": logprobs}]})
