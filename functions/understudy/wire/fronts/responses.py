"""The Responses front: what callers of OpenAI's Responses API send and read.

Source: the OpenAI API reference, "Responses".  Nothing is stored here: an answer cannot be fetched again by its id, and
`previous_response_id` goes on with an answer only where the target that gave it speaks this API itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.wire.fronts.base import decoded, encode
from understudy.wire.fronts.errors import error_answer, error_body
from understudy.wire.fronts.responses_events import Answer, Events
from understudy.wire.fronts.responses_request import responses_request

# Errors name what the request became; callers know what they wrote.
_WRITTEN: Mapping[str, str] = {
    "logprobs": "include",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}


class ResponsesFront:
    """See `understudy.wire.fronts.base.Front`."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:  # noqa: ARG002
        return responses_request(decoded(body))

    def writer(self, request: ChatRequest, *, created: int) -> EventWriter:
        return EventWriter(request, created=created)

    def whole(self, request: ChatRequest | UnaryRequest, chunks: Iterable[Chunk], *, created: int) -> dict[str, Any]:
        if isinstance(request, UnaryRequest):
            raise TypeError("the Responses API has no such operation")
        answer = Answer(request, created=created)
        for chunk in chunks:
            answer.read(chunk)
        answer.end()
        return answer.final or {}

    def error(self, error: BaseException) -> tuple[int, dict[str, Any]]:
        status, body = error_answer(error)
        param = body["error"]["param"]
        if isinstance(param, str):
            # Items are not messages one by one, so that of a path only its root can be told.
            body["error"]["param"] = _WRITTEN.get(param.partition("[")[0], param)
        return status, body


class EventWriter:
    """Events as server-sent events; the last one brings the whole response, and no end marker follows it."""

    def __init__(self, request: ChatRequest, *, created: int) -> None:
        self._answer = Answer(request, created=created)

    def event(self, chunk: Chunk) -> bytes:
        return _lines(self._answer.read(chunk))

    def end(self) -> bytes:
        return _lines(self._answer.end())

    def broken(self, error: BaseException) -> bytes:
        """What SDKs raise: an error event, and no response after it that looks complete."""
        return _lines([self._answer.failed(error_body(error)["error"])])


def _lines(events: Events) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (_name(one), encode(one)) for one in events)


def _name(event: Mapping[str, Any]) -> bytes:
    # A provider's own word, which must not end the line.
    return "".join(str(event.get("type")).split()).encode("utf-8", "replace")
