"""The chat-completions front: what OpenAI clients send and read.  Source: the OpenAI API reference, "Chat"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk, index_of
from understudy.chat.unary import UnaryRequest
from understudy.wire.fronts.base import decoded, encode
from understudy.wire.fronts.errors import error_answer, error_body

DONE = b"data: [DONE]\n\n"
# What every chunk of an answer says alike.
_ENVELOPE = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


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
    """Chunks as server-sent events for one answer: one id and one creation time throughout, the role first, usage only
    if asked, and then once, as the last event before the end marker."""

    def __init__(self, request: ChatRequest, *, created: int) -> None:
        self._include_usage = request.include_usage
        self._created = created
        self._id: object = None
        self._begun: set[int] = set()
        self._counts: dict[str, Any] | None = None

    def event(self, chunk: Chunk) -> bytes:
        """The bytes of one chunk; empty where there is nothing to say yet."""
        payload, choices = chunk.payload, chunk.payload.get("choices")
        if self._include_usage and payload.get("usage"):
            self._counts = _counts(payload)
        if not choices:
            return b""
        if self._id is None:
            # An answer that another target goes on with stays one answer.
            self._id, self._created = payload.get("id"), payload.get("created") or self._created
        return _event(self._payload(payload, [self._choice(choice) for choice in choices]))

    def end(self) -> bytes:
        if self._counts is None:
            return DONE
        return _event(self._payload(self._counts, []) | {"usage": self._counts["usage"]}) + DONE

    def broken(self, error: BaseException) -> bytes:
        """What SDKs raise: an error event, and neither a stop reason nor the end marker after it."""
        return _event(error_body(error))

    def _payload(self, payload: Mapping[str, Any], choices: list[Mapping[str, Any]]) -> dict[str, Any]:
        whole = {
            **payload,
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "choices": choices,
            "usage": None,
        }
        if not self._include_usage:
            del whole["usage"]
        return whole

    def _choice(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """The choice with its role in its first delta, and in no other: programs join what comes twice."""
        index, delta = index_of(choice), choice.get("delta") or {}
        first = index not in self._begun
        if first:
            self._begun.add(index)
            delta = {"role": "assistant", **{k: v for k, v in delta.items() if k != "role" or v}}
        elif "role" in delta:
            delta = {k: v for k, v in delta.items() if k != "role"}
        else:
            return choice
        return {**choice, "delta": delta}


def _counts(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The chunk that says the counts and nothing of the answer."""
    kept = payload if not payload.get("choices") else {k: payload[k] for k in _ENVELOPE if k in payload}
    return {**kept, "usage": payload["usage"]}


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + encode(payload) + b"\n\n"
