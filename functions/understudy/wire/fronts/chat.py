"""The chat-completions front: what OpenAI clients send and read.  Source: the OpenAI API reference, "Chat"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.wire.fronts.base import decoded, encode
from understudy.wire.fronts.errors import error_answer, error_body

DONE = b"data: [DONE]\n\n"


class ChatFront:
    """See `understudy.wire.fronts.base.Front`."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:  # noqa: ARG002
        return chat_request(decoded(body))

    def writer(self, request: ChatRequest, *, created: int) -> StreamWriter:
        return StreamWriter(request, created=created)

    def whole(
        self,
        request: ChatRequest | UnaryRequest,  # noqa: ARG002
        chunks: Iterable[Chunk],
        *,
        created: int,
    ) -> dict[str, Any]:
        whole = completion_from_chunks(chunks)
        whole["created"] = whole.get("created") or created
        return whole

    def error(self, error: BaseException) -> tuple[int, dict[str, Any]]:
        return error_answer(error)


class StreamWriter:
    """Chunks as server-sent events for one answer: one id and one creation time throughout, usage only if asked."""

    def __init__(self, request: ChatRequest, *, created: int) -> None:
        self._include_usage = request.include_usage
        self._created = created
        self._id: object = None

    def event(self, chunk: Chunk) -> bytes:
        """The bytes of one chunk; empty where there is nothing left to say."""
        if not chunk.payload.get("choices") and not chunk.payload.get("usage"):
            return b""
        payload = dict(chunk.payload)
        if not self._include_usage and "usage" in payload:
            del payload["usage"]
            if not payload.get("choices"):
                return b""
        if self._id is None:
            # An answer that another target goes on with stays one answer.
            self._id, self._created = payload.get("id"), payload.get("created") or self._created
        payload["id"] = self._id
        payload["object"] = "chat.completion.chunk"
        payload["created"] = self._created
        return _event(payload)

    def end(self) -> bytes:
        return DONE

    def broken(self, error: BaseException) -> bytes:
        """What SDKs raise: an error event, and neither a stop reason nor the end marker after it."""
        return _event(error_body(error))


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + encode(payload) + b"\n\n"
