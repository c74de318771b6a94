"""The embeddings of the OpenAI protocol.  Source: the OpenAI API reference, "Create embeddings"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy.chat.embeddings import inputs, packed, unpacked
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest, unary_chunk
from understudy.chat.usage import usage_from
from understudy.errors import AttemptFailed, Garbage
from understudy.wire.base import PLAIN, Call, Quirks
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported

PATH = "/embeddings"


class OpenAIEmbeddings:
    """See `understudy.wire.base.UnaryWire`."""

    def call(self, request: UnaryRequest, *, model: str, quirks: Quirks = PLAIN) -> Call:
        """The caller's body with the target's model and the server's own names."""
        names = quirks.rename
        kept = request.body
        body = {names.get(k, k): v for k, v in kept.items() if names.get(k) not in kept}
        return Call(PATH, encode({**body, "model": model}))

    def chunk(self, request: UnaryRequest, body: Mapping[str, object]) -> Chunk:
        """The answer as the provider wrote it, its vectors in the order of the inputs and in the form asked for.

        Garbage where there are not as many vectors as inputs: they could not be told apart.
        """
        if body.get("error") or body.get("object") == "error":
            raise reported(body)
        data, wanted = body.get("data"), inputs(request.body)
        if not isinstance(data, list):
            raise ValueError("`data` is not a list")
        if len(data) != wanted:
            raise Garbage(f"it gave {len(data)} embeddings for {wanted} inputs", status=200)
        form = request.body.get("encoding_format", "float")
        made = sorted(_vectors(data, form), key=lambda one: one["index"])
        if [one["index"] for one in made] != list(range(wanted)):
            raise Garbage("its embeddings are not one for each input", status=200)
        answer = {**body, "object": "list", "data": made, "usage": _usage(body.get("usage"))}
        if answer["usage"] is None:
            del answer["usage"]
        return unary_chunk(answer, usage_from(answer.get("usage")))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)


def _vectors(data: list[Any], form: str) -> Iterator[dict[str, Any]]:
    """Raises Garbage and ValueError where something is no vector."""
    for place, one in enumerate(data):
        vector = one.get("embedding") if isinstance(one, Mapping) else None
        if not isinstance(vector, str | list) or not vector:
            raise Garbage(f"embedding {place} is empty", status=200)
        # Both forms are made, whichever was asked for, because making the other one proves what is there.
        text = packed(vector)
        numbers = unpacked(vector if isinstance(vector, list) else text)
        index = one.get("index")
        yield {
            "object": "embedding",
            **one,
            "index": index if isinstance(index, int) else place,
            "embedding": text if form == "base64" else numbers,
        }


def _usage(counts: object) -> dict[str, Any] | None:
    """The counts; some servers give only the sum, which is the prompt's."""
    if not isinstance(counts, Mapping):
        return None
    prompt = counts.get("prompt_tokens", counts.get("total_tokens"))
    return {**counts, "prompt_tokens": prompt, "total_tokens": prompt} if isinstance(prompt, int) else None
