"""The Messages front: what Anthropic's clients send and read.

Source: the Anthropic API reference, "Create a Message", "Streaming Messages", "Count tokens in a Message" and "Errors".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.wire.fronts.base import decoded
from understudy.wire.fronts.messages_errors import message_error
from understudy.wire.fronts.messages_request import count_request, messages_request
from understudy.wire.fronts.messages_stream import MessageWriter, message_of

VERSION_HEADER = "anthropic-version"
"""Every client of this API sends it, whatever it asks for.  Any version is taken: what differs between those that
there are, 2023-06-01 and 2026-10-21, is what a caller may send, and a provider is always asked in its own."""


class MessagesFront:
    """See `understudy.wire.fronts.base.Front`."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest | UnaryRequest:
        return messages_request(decoded(body), headers)

    def writer(self, request: ChatRequest, *, created: int) -> MessageWriter:
        return MessageWriter(request, created=created)

    def whole(self, request: ChatRequest | UnaryRequest, chunks: Iterable[Chunk], *, created: int) -> Mapping[str, Any]:
        """The message, made of the same events that would have been streamed."""
        if isinstance(request, UnaryRequest):
            return next(iter(chunks)).payload
        writer = self.writer(request, created=created)
        return message_of([*(event for chunk in chunks for event in writer.told(chunk)), *writer.rest()])

    def error(self, error: BaseException) -> tuple[int, dict[str, Any]]:
        return message_error(error)


class CountFront(MessagesFront):
    """How many tokens a request would have; an estimate where nobody on the route can count."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> UnaryRequest:
        return count_request(decoded(body), headers)
