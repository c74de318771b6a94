"""Embeddings: what a caller may ask, what a provider is sent, and which answers are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.embeddings import packed, unpacked
from understudy.chat.unary import UnaryRequest
from understudy.errors import AttemptFailed, Garbage, InvalidRequest, Overloaded
from understudy.wire import UNARY_WIRES
from understudy.wire.base import Quirks
from understudy.wire.fronts import FRONTS

FRONT = FRONTS["/embeddings"]
WIRE = UNARY_WIRES["openai", "embeddings"]
HALVES = "AAAAPwAAAL8="
"""[0.5, -0.5] as base64 of 32-bit floats."""


def read(**fields: Any) -> UnaryRequest:
    asked = FRONT.read(json.dumps({"model": "r", "input": "a", **fields}).encode(), {})
    assert isinstance(asked, UnaryRequest)
    return asked


def answer(*vectors: Any, **fields: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return {
        "object": "list",
        "data": data,
        "model": "e-1",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
        **fields,
    }


INPUTS = [("a", 1), (["a"], 1), (["a", "b", ""], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)]


@pytest.mark.parametrize(("given_input", "count"), INPUTS)
def test_inputs_are_texts_or_token_ids(given_input: Any, count: int) -> None:
    """One vector for a text or for a list of token ids, one each for a list of them; another number is garbage."""
    asked = read(input=given_input)
    assert count == len(WIRE.chunk(asked, answer(*[[0.5]] * count)).payload["data"])
    for other in (count - 1, count + 1):
        with pytest.raises(Garbage, match=f"it gave {other} embeddings for {count} inputs"):
            WIRE.chunk(asked, answer(*[[0.5]] * other))


REFUSED = [
    ("input", None),
    ("input", ""),
    ("input", []),
    ("input", 7),
    ("input", {"text": "a"}),
    ("input[1]", ["a", 1]),
    ("input[1]", [1, "a"]),
    ("input[0]", [True]),
    ("input[0]", [-1]),
    ("input[0]", [[]]),
    ("input[1]", [[1], 2]),
    ("input[1]", [[1], ["a"]]),
]


@pytest.mark.parametrize(("param", "value"), REFUSED)
def test_other_inputs_are_refused_by_name(param: str, value: Any) -> None:
    """What is no text and no token id is a 400 that names the place."""
    with pytest.raises(InvalidRequest) as caught:
        read(input=value)
    assert param == caught.value.param


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", None),
        ("model", 7),
        ("encoding_format", "hex"),
        ("encoding_format", 7),
        ("encoding_format", []),
        ("dimensions", 0),
        ("dimensions", True),
        ("dimensions", 1.5),
        ("user", 7),
    ],
)
def test_other_fields_are_checked(name: str, value: Any) -> None:
    """Fields of the wrong type are refused by name."""
    with pytest.raises(InvalidRequest) as caught:
        read(**{name: value})
    assert name == caught.value.param


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"{", b""])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """As for a chat."""
    with pytest.raises(InvalidRequest):
        FRONT.read(body, {})


def test_the_request_goes_out_as_it_came() -> None:
    """Only the model changes, and a name that the server has another word for; unknown fields pass, nulls do not."""
    asked = read(input=["é", "b"], dimensions=4, zzz={"a": [1]}, user=None)
    call = WIRE.call(asked, model="e-1", quirks=Quirks(rename={"dimensions": "output_dimension"}))
    expected = '{"model":"e-1","input":["é","b"],"output_dimension":4,"zzz":{"a":[1]}}'
    assert ("/embeddings", expected) == (call.path, call.body.decode())


FORMS = [
    ("float", [0.5, -0.5], [0.5, -0.5]),
    ("float", HALVES, [0.5, -0.5]),
    ("base64", [0.5, -0.5], HALVES),
    ("base64", HALVES, HALVES),
]


@pytest.mark.parametrize(("form", "given_vector", "expected"), FORMS)
def test_vectors_come_in_the_form_that_was_asked_for(form: str, given_vector: Any, expected: Any) -> None:
    """Some servers know only one of the two."""
    asked = read(encoding_format=form)
    body = FRONT.whole(asked, [WIRE.chunk(asked, answer(given_vector))], created=1)
    assert [expected] == [one["embedding"] for one in body["data"]]
    assert ("list", "e-1", {"prompt_tokens": 5, "total_tokens": 5}) == (body["object"], body["model"], body["usage"])


def test_vectors_are_in_the_order_of_the_inputs() -> None:
    """By the index that the server gives, else by their place."""
    asked, body = read(input=["a", "b"]), answer([1.0], [2.0])
    body["data"][0]["index"], body["data"][1]["index"] = 1, 0
    assert [[2.0], [1.0]] == [one["embedding"] for one in WIRE.chunk(asked, body).payload["data"]]
    bare = {"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}
    whole = FRONT.whole(asked, [WIRE.chunk(asked, bare)], created=1)
    assert [(0, "embedding"), (1, "embedding")] == [(one["index"], one["object"]) for one in whole["data"]]
    assert ("list", "r", False) == (whole["object"], whole["model"], "usage" in whole)


@pytest.mark.parametrize("counts", [{"total_tokens": 5}, {"prompt_tokens": 5}, {"prompt_tokens": 5, "total_tokens": 9}])
def test_counts_are_the_prompts(counts: dict[str, int]) -> None:
    """Nothing is generated, so the total is the prompt."""
    chunk = WIRE.chunk(read(), answer([1.0], usage={**counts, "zzz": 1}))
    assert {"prompt_tokens": 5, "total_tokens": 5, "zzz": 1} == chunk.payload["usage"]
    assert chunk.usage is not None
    assert (5, 0) == (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)


NO_ANSWERS: list[Any] = [
    {},
    {"data": {}},
    answer([]),
    answer(""),
    answer(None),
    answer(7),
    answer(["a"]),
    answer([1e39]),
    answer("not base64!"),
    answer("AAAA"),
    {"data": [7]},
    {"data": [{"index": 3, "embedding": [1.0]}]},
]


@pytest.mark.parametrize("body", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
def test_what_is_no_vector_is_no_answer(body: Any) -> None:
    """Empty or unreadable vectors count against the provider, so that another one is asked."""
    for form in ("float", "base64"):
        with pytest.raises((ValueError, Garbage)):
            WIRE.chunk(read(encoding_format=form), body)


def test_an_error_with_status_200_is_one() -> None:
    """As on every wire."""
    with pytest.raises(Overloaded):
        WIRE.chunk(read(), {"error": {"message": "busy", "type": "overloaded_error"}})
    failure = WIRE.failure(503, {}, b"")
    assert isinstance(failure, AttemptFailed)


FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9)


@given(FLOATS)
def test_packing_loses_nothing(vector: list[float]) -> None:
    """There and back, numbers of 32 bits are the same."""
    assert vector == unpacked(packed(vector))
    assert packed(vector) == packed(unpacked(packed(vector)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["index", "embedding"]), inner),
    max_leaves=6,
)


@given(JSON, JSON)
def test_any_json_is_an_answer_or_refused(data: Any, value: Any) -> None:
    """Whatever callers and providers write, it is read or refused in the words of the contract."""
    try:
        asked = FRONT.read(json.dumps({"model": "r", "input": value}).encode(), {})
        assert isinstance(asked, UnaryRequest)
        whole = FRONT.whole(asked, [WIRE.chunk(asked, {"data": data})], created=1)
    except (InvalidRequest, AttemptFailed, ValueError):
        return
    assert whole["data"]
