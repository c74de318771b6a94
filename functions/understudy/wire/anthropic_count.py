"""How many tokens a request of Anthropic's Messages API would have, counted by the provider.

Source: the Anthropic API reference, "Count tokens in a Message".
"""

from __future__ import annotations

from collections.abc import Mapping

from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest, unary_chunk
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed, InvalidRequest, NotOffered
from understudy.wire.anthropic_native import counted_body
from understudy.wire.base import PLAIN, Call, Quirks
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported

PATH = "/v1/messages/count_tokens"
ABSENT = frozenset({404, 405, 501})


class AnthropicCountWire:
    """See `understudy.wire.base.UnaryWire`."""

    def __init__(self, version: str) -> None:
        self._version = version

    def call(self, request: UnaryRequest, *, model: str, quirks: Quirks = PLAIN) -> Call:
        if request.native is None:
            raise InvalidRequest("Tokens can only be counted for a request of the Anthropic Messages API.")
        body = counted_body(request, model=model, owner=quirks.owner)
        return Call(PATH, encode(body), {"anthropic-version": self._version, **request.native.headers})

    def chunk(self, request: UnaryRequest, body: Mapping[str, object]) -> Chunk:  # noqa: ARG002
        if body.get("type") == "error":
            raise reported(body)
        if not isinstance(body.get("input_tokens"), int):
            raise ValueError("`input_tokens` is not a number")
        # Counting costs nothing.
        return unary_chunk(body, Usage())

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        failure = classify(status, headers, body)
        if status in ABSENT:
            # A server without this path is not broken: it answers messages as before.
            return NotOffered(failure.message, status=status, quoted=failure.quoted)
        return failure
