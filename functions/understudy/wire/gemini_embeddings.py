"""Embeddings of the Gemini API, asked for and answered in OpenAI's shape.

Sources: the Gemini API reference, "Embeddings" (batchEmbedContents), and the OpenAI API reference, "Embeddings".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.chat.embeddings import packed
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest, unary_chunk
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed, InvalidRequest
from understudy.wire.base import PLAIN, Call, Quirks
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported
from understudy.wire.gemini import model_path

MOST_INPUTS = 100
"""Texts that one request may hold."""

_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format"})
_NO_OPS: Mapping[str, object] = {"user": ""}
_FORMATS = ("float", "base64")


class GeminiEmbeddings:
    """See `understudy.wire.base.UnaryWire`."""

    def call(self, request: UnaryRequest, *, model: str, quirks: Quirks = PLAIN) -> Call:  # noqa: ARG002
        body = request.body
        unknown = sorted(name for name in body.keys() - _FIELDS if name not in _NO_OPS or body[name] != _NO_OPS[name])
        if unknown:
            raise InvalidRequest(f"`{unknown[0]}` has no equivalent in the Gemini API.", param=unknown[0])
        if body.get("encoding_format", "float") not in _FORMATS:
            raise InvalidRequest("`encoding_format` must be `float` or `base64`.", param="encoding_format")
        path = model_path(model)
        same: dict[str, Any] = {"model": path.removeprefix("/")}
        dimensions = body.get("dimensions")
        if dimensions is not None:
            if not isinstance(dimensions, int) or isinstance(dimensions, bool) or dimensions < 1:
                raise InvalidRequest("`dimensions` must be an integer of at least 1.", param="dimensions")
            same["outputDimensionality"] = dimensions
        requests = [{**same, "content": {"parts": [{"text": text}]}} for text in _texts(body.get("input"))]
        return Call(f"{path}:batchEmbedContents", encode({"requests": requests}))

    def chunk(self, request: UnaryRequest, body: Mapping[str, object]) -> Chunk:
        if body.get("error"):
            raise reported(body)
        embeddings = body.get("embeddings")
        if not isinstance(embeddings, list) or len(embeddings) != len(_texts(request.body.get("input"))):
            raise ValueError("the answer has not one embedding for each input")
        as_bytes = request.body.get("encoding_format") == "base64"
        vectors = [_values(embedding) for embedding in embeddings]
        data = [
            {"object": "embedding", "index": index, "embedding": packed(vector) if as_bytes else vector}
            for index, vector in enumerate(vectors)
        ]
        # The shape has no word for "not counted".
        tokens = _tokens(body, embeddings)
        usage = {"prompt_tokens": tokens or 0, "total_tokens": tokens or 0}
        # The answer does not name its model; whoever asked knows it.
        return unary_chunk({"object": "list", "data": data, "usage": usage}, None if tokens is None else Usage(tokens))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(
            "`input` must be a text or a list of texts; the Gemini API takes no tokens.", param="input"
        )
    if len(texts) > MOST_INPUTS:
        raise InvalidRequest(f"`input` has {len(texts)} texts; the Gemini API takes {MOST_INPUTS}.", param="input")
    return texts


def _values(embedding: object) -> list[float]:
    values = embedding.get("values") if isinstance(embedding, Mapping) else None
    if not isinstance(values, list) or not values:
        raise ValueError("an embedding has no values")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise ValueError("an embedding's value is not a number")
    return values


def _tokens(body: Mapping[str, object], embeddings: list[Any]) -> int | None:
    """Tokens of all inputs, where the answer counts them."""
    usage = body.get("usageMetadata")
    if isinstance(usage, Mapping) and isinstance(usage.get("promptTokenCount"), int):
        return int(usage["promptTokenCount"])
    statistics = [embedding.get("statistics") for embedding in embeddings]
    counts = [one["tokenCount"] for one in statistics if isinstance(one, Mapping) and "tokenCount" in one]
    return sum(counts) if len(counts) == len(embeddings) and all(isinstance(count, int) for count in counts) else None
