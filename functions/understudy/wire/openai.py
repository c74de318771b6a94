"""The OpenAI chat-completions wire, as spoken by OpenAI and by every compatible server.

The caller's body is passed on as it is; only what must change is changed.  Source: the OpenAI API reference, "Create
chat completion" and "Streaming".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.response import chunks_from_completion
from understudy.chat.stream import Chunk, chunk_from
from understudy.errors import AttemptFailed, Garbage
from understudy.wire.base import Call, Decoder, Event
from understudy.wire.failures import classify, failure_from_body


class OpenAIDecoder:
    """Chunks of one stream; complete when every choice that began has given its reason to stop."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._finished: set[int] = set()

    @property
    def complete(self) -> bool:
        return bool(self._finished) and self._finished >= self._seen

    def feed(self, event: Event) -> list[Chunk]:
        if event.data.strip() == "[DONE]":
            return []
        payload = json.loads(event.data)
        if not isinstance(payload, Mapping):
            raise ValueError("an event is not a JSON object")
        if payload.get("error") or event.name == "error":
            raise _reported(payload)
        chunk = chunk_from(payload)
        self._seen.update(choice.get("index") or 0 for choice in payload.get("choices") or ())
        self._finished.update(chunk.finish_reasons)
        return [chunk]


class OpenAIWire:
    """See `understudy.wire.base.Wire`."""

    def cannot_carry(self, request: ChatRequest) -> Set[str]:  # noqa: ARG002 - this wire is the canonical shape
        return frozenset()

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,  # noqa: ARG002 - the provider has its own default
    ) -> Call:
        body = {name: value for name, value in request.body.items() if name not in drop}
        body["model"] = model
        body["stream"] = stream
        if stream:
            body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
        else:
            body.pop("stream_options", None)
        return Call("/chat/completions", json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())

    def decoder(self) -> Decoder:
        return OpenAIDecoder()

    def chunks(self, body: Mapping[str, object]) -> list[Chunk]:
        if body.get("error"):
            raise _reported(body)
        if not body.get("choices"):
            raise Garbage("the answer has no choices")
        return chunks_from_completion(body)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return failure_from_body(status, headers, body)


def _reported(payload: Mapping[str, Any]) -> AttemptFailed:
    """An error object inside a 200 answer or a stream, where no status says more."""
    error = payload.get("error") or payload
    if not isinstance(error, Mapping):
        error = {"message": str(error)}
    code = error.get("code")
    # Some servers put the HTTP status they would have sent into `code`.
    status = code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else None
    return classify(
        status,
        {},
        code=code if isinstance(code, str) else "",
        type=str(error.get("type") or ""),
        message=str(error.get("message") or "the provider reported an error in its answer"),
    )
