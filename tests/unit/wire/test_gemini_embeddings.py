"""Embeddings of the Gemini wire: asked for and answered as OpenAI's clients know them."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from understudy.chat.unary import UnaryRequest
from understudy.errors import InvalidRequest, Overloaded
from understudy.wire import UNARY_WIRES

WIRE = UNARY_WIRES["gemini", "embeddings"]


def request(**body: Any) -> UnaryRequest:
    return UnaryRequest("embeddings", "route", {"model": "route", **body})


def sent(**body: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(WIRE.call(request(**body), model="embed-1").body)
    return made


def answered(*vectors: list[Any], body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    answer = {"embeddings": [{"values": vector} for vector in vectors], **more}
    chunk = WIRE.chunk(request(**(body or {"input": ["a"] * len(vectors)})), answer)
    assert (True, {0: "stop"}) == (chunk.answers, chunk.finish_reasons)
    return dict(chunk.payload)


def test_every_input_is_one_request_of_a_batch() -> None:
    """One text or many go the same way, with the dimensions that are wanted."""
    assert "/models/embed-1:batchEmbedContents" == WIRE.call(request(input="a"), model="embed-1").path
    one = {"model": "models/embed-1", "content": {"parts": [{"text": "a"}]}}
    assert {"requests": [one]} == sent(input="a", encoding_format="float", user="")
    assert [8, 8] == [each["outputDimensionality"] for each in sent(input=["a", "b"], dimensions=8)["requests"]]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [1, 2]}, "input"),
        ({"input": [[1], [2]]}, "input"),
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": ["a"] * 101}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "8"}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "user": "u"}, "user"),
        ({"input": "a", "input_type": "query"}, "input_type"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    """Tokens, too many texts, and fields that the API has no place for."""
    with pytest.raises(InvalidRequest) as caught:
        sent(**body)
    assert param == caught.value.param


def test_the_answer_is_openais() -> None:
    """A list of numbered vectors with the counts, which OpenAI's own types take."""
    payload = answered([0.5, -1.0], [1, 0], usageMetadata={"promptTokenCount": 4})
    assert ("list", {"prompt_tokens": 4, "total_tokens": 4}) == (payload["object"], payload["usage"])
    assert [(0, [0.5, -1.0]), (1, [1, 0])] == [(one["index"], one["embedding"]) for one in payload["data"]]
    CreateEmbeddingResponse.model_validate(payload | {"model": "m"})


def test_tokens_that_are_counted_by_text_are_added_up() -> None:
    """Some models count for each text; where nobody counts, nothing is known."""
    counted = {"values": [1.0], "statistics": {"tokenCount": 3}}
    body = request(input=["a", "b"])
    assert 6 == WIRE.chunk(body, {"embeddings": [counted, counted]}).payload["usage"]["prompt_tokens"]
    assert None is WIRE.chunk(body, {"embeddings": [counted, {"values": [1.0]}]}).usage


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_base64_is_little_endian_floats(vector: list[float]) -> None:
    """What OpenAI's clients unpack is the vector."""
    payload = answered(vector, body={"input": "a", "encoding_format": "base64"})
    raw = base64.b64decode(payload["data"][0]["embedding"])
    assert vector == list(struct.unpack(f"<{len(raw) // 4}f", raw))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"embeddings": {}},
        {"embeddings": []},
        {"embeddings": [{"values": [1.0]}] * 2},
        {"embeddings": [{"values": []}]},
        {"embeddings": [{}]},
        {"embeddings": ["a"]},
        {"embeddings": [{"values": ["a"]}]},
        {"embeddings": [{"values": [1e39]}]},
    ],
)
def test_another_shape_cannot_be_read(answer: dict[str, Any]) -> None:
    """Not one vector of numbers for each text: a ValueError."""
    with pytest.raises(ValueError):
        WIRE.chunk(request(input="a", encoding_format="base64"), answer)


def test_errors_are_classified() -> None:
    """An error with a status, or in the place of an answer, is the failure that it names."""
    error = {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}
    assert Overloaded is type(WIRE.failure(503, {}, json.dumps(error).encode()))
    with pytest.raises(Overloaded):
        WIRE.chunk(request(input="a"), error)
