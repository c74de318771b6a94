"""The Anthropic Messages wire.

Source: the Anthropic API reference, "Create a Message" and "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Garbage
from understudy.wire import anthropic_request
from understudy.wire.anthropic_stream import AnthropicDecoder
from understudy.wire.base import PLAIN, Call, Decoder, Quirks
from understudy.wire.failures import classify, reported

# Later versions refuse sampling parameters, even at their default values.
VERSION = "2023-06-01"


class AnthropicWire:
    """See `understudy.wire.base.Wire`."""

    protocol = "anthropic"

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:  # noqa: ARG002
        return anthropic_request.cannot_carry(request)

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,
        quirks: Quirks = PLAIN,  # noqa: ARG002
    ) -> Call:
        body = anthropic_request.messages_body(
            request, model=model, stream=stream, drop=drop, max_output_tokens=max_output_tokens
        )
        return Call("/v1/messages", anthropic_request.encoded(body), {"anthropic-version": VERSION})

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> Decoder:  # noqa: ARG002
        return AnthropicDecoder()

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:  # noqa: ARG002
        if body.get("type") == "error":
            raise reported(body)
        content, reason = body.get("content"), body.get("stop_reason")
        if not isinstance(content, list) or reason is None:
            raise Garbage("the answer is not a finished message")
        if not content and reason != "refusal":
            raise Garbage("the answer has no content")
        decoder = AnthropicDecoder()
        return [chunk for event in _replayed(body, content) for chunk in decoder.read(event)]

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)


def _replayed(message: Mapping[str, object], content: list[Any]) -> Iterator[Mapping[str, Any]]:
    """The events that would have streamed this message, one delta per block."""
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(content):
        opened = block
        if isinstance(block, Mapping) and block.get("type") == "tool_use":
            opened = {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        if opened is not block and block.get("input"):
            written = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))
            delta = {"type": "input_json_delta", "partial_json": written}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": message.get("stop_reason")}}
