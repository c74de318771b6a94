"""The embeddings front.  Source: the OpenAI API reference, "Create embeddings" and "The embedding object"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.embeddings import packed, unpacked
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import InvalidRequest
from understudy.wire.fronts.base import Writer, decoded
from understudy.wire.fronts.errors import error_answer

FORMATS = ("float", "base64")


class EmbeddingsFront:
    """See `understudy.wire.fronts.base.Front`."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> UnaryRequest:  # noqa: ARG002
        return embeddings_request(decoded(body))

    def writer(self, request: ChatRequest, *, created: int) -> Writer:  # noqa: ARG002 - nobody streams a vector
        raise InvalidRequest("Embeddings are not streamed.", param="stream")

    def whole(
        self,
        request: ChatRequest | UnaryRequest,
        chunks: Iterable[Chunk],
        *,
        created: int,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """The provider's answer, its vectors in the form that was asked for: some servers know only one of them."""
        answer = next(iter(chunks)).payload
        turn = packed if request.body.get("encoding_format") == "base64" else unpacked
        data = [{**one, "embedding": turn(one["embedding"])} for one in answer["data"]]
        return {"model": request.model, **answer, "data": data}

    def error(self, error: BaseException) -> tuple[int, dict[str, Any]]:
        return error_answer(error)


def embeddings_request(body: object) -> UnaryRequest:
    """Check a decoded JSON body.  Raises InvalidRequest naming the field and what it should be."""
    if not isinstance(body, Mapping):
        raise InvalidRequest("The body must be a JSON object.")
    given = {name: value for name, value in body.items() if value is not None}
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise _wrong("model", "the name of a route")
    _check_input(given.get("input"))
    if given.get("encoding_format", "float") not in FORMATS:
        raise _wrong("encoding_format", "`float` or `base64`")
    dimensions = given.get("dimensions", 1)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or dimensions < 1:
        raise _wrong("dimensions", "an integer of at least 1")
    if not isinstance(given.get("user", ""), str):
        raise _wrong("user", "a string")
    return UnaryRequest("embeddings", model, given)


def _check_input(value: object) -> None:
    if isinstance(value, str) and value:
        return
    if not isinstance(value, list) or not value:
        raise _wrong("input", "a text, a list of texts, a list of token ids or a list of such lists, and not empty")
    if isinstance(value[0], list):
        for place, tokens in enumerate(value):
            if not isinstance(tokens, list) or not tokens or not all(map(_is_token, tokens)):
                raise _wrong(f"input[{place}]", "a list of token ids, as the first one is, and not empty")
        return
    kind, fits = ("a text", _is_text) if isinstance(value[0], str) else ("a token id", _is_token)
    wrong = next((place for place, one in enumerate(value) if not fits(one)), None)
    if wrong is not None:
        raise _wrong(f"input[{wrong}]", f"{kind}, as all of `input` must be of one kind")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong(path: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}` must be {wanted}.", param=path, code="invalid_type")
