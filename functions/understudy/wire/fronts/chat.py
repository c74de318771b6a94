"""The chat-completions front: what OpenAI clients send and read.  Source: the OpenAI API reference, "Chat"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk
from understudy.errors import InvalidRequest
from understudy.wire.fronts.errors import error_body

DONE = b"data: [DONE]\n\n"
# Kept, because json.dumps builds one for every call with options of its own.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def read_request(body: bytes) -> ChatRequest:
    """Decode and check a body.  Raises InvalidRequest on anything but a well-formed request."""
    try:
        parsed = json.loads(body)
        if b"\\u" in body:
            # Half a surrogate pair is valid JSON but no text; no provider could be sent it.
            json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise InvalidRequest("The body is not valid UTF-8 text.") from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    return chat_request(parsed)


class StreamWriter:
    """Chunks as server-sent events for one answer: one id and one creation time throughout, usage only if asked."""

    def __init__(self, request: ChatRequest, *, created: int) -> None:
        self._include_usage = request.include_usage
        self._created = created
        self._id: object = None

    def event(self, chunk: Chunk) -> bytes:
        """The bytes of one chunk; empty where there is nothing left to say."""
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


def completion(chunks: Iterable[Chunk], *, created: int) -> dict[str, Any]:
    """The whole answer for a caller that does not stream."""
    whole = completion_from_chunks(chunks)
    whole["created"] = whole.get("created") or created
    return whole


def models(names: Iterable[str], *, created: int) -> dict[str, Any]:
    """The list of routes as `GET /models` gives it."""
    return {
        "object": "list",
        "data": [{"id": n, "object": "model", "created": created, "owned_by": "understudy"} for n in names],
    }


def encode(payload: Mapping[str, Any]) -> bytes:
    """JSON for an HTTP body."""
    return _ENCODER.encode(payload).encode("utf-8", "replace")


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + encode(payload) + b"\n\n"
