"""The Anthropic Messages wire.

Source: the Anthropic API reference, "Create a Message" and "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Garbage
from understudy.wire import anthropic_fit, anthropic_request
from understudy.wire.anthropic_native import native_body
from understudy.wire.anthropic_stream import FINISH, AnthropicDecoder
from understudy.wire.base import PLAIN, Call, Decoder, Quirks
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported

# Later versions refuse sampling parameters, even at their default values.
VERSION = "2023-06-01"
PATH = "/v1/messages"


class AnthropicWire:
    """See `understudy.wire.base.Wire`."""

    protocol = "anthropic"

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:
        return anthropic_fit.cannot_carry(request, quirks)

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,
        quirks: Quirks = PLAIN,
    ) -> Call:
        headers = {"anthropic-version": VERSION}
        native = request.native
        if native is not None and native.protocol == self.protocol:
            body = native_body(request, model=model, stream=stream, drop=drop, owner=quirks.owner)
            return Call(PATH, encode(body), headers | dict(native.headers))
        body = anthropic_request.messages_body(
            request, model=model, stream=stream, drop=drop, max_output_tokens=max_output_tokens, quirks=quirks
        )
        return Call(PATH, anthropic_request.encoded(body), headers)

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> Decoder:  # noqa: ARG002
        return AnthropicDecoder(native=native, owner=owner)

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:
        if body.get("type") == "error":
            raise reported(body)
        content, reason = body.get("content"), body.get("stop_reason")
        if not isinstance(content, list) or not isinstance(reason, str):
            raise Garbage("the answer is not a finished message")
        if not content and FINISH.get(reason) in ("stop", "tool_calls"):
            raise Garbage("the answer has no content")
        decoder = AnthropicDecoder(native=native, owner=owner)
        return [chunk for event in _replayed(body, content) for chunk in decoder.read(event)]

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)


def _replayed(message: Mapping[str, object], content: list[Any]) -> Iterator[Mapping[str, Any]]:
    """The events that would have streamed this message, one delta for each field that comes in pieces."""
    told = ("stop_reason", "stop_sequence", "stop_details", "container")
    end = {name: message[name] for name in told if name in message}
    start = {**message, **dict.fromkeys(end), "content": []}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(content):
        opened, deltas = _in_pieces(block) if isinstance(block, Mapping) else (block, [])
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": end, "usage": message.get("usage")}
    yield {"type": "message_stop"}


def _in_pieces(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it would have been opened, and its deltas."""
    opened, deltas = dict(block), []
    for field, kind, piece in _PIECES.get(str(block.get("type")), ()):
        whole = block.get(field)
        if isinstance(whole, Mapping) and whole:
            opened[field], whole = {}, json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        elif isinstance(whole, str) and whole:
            opened[field] = ""
        else:
            continue
        deltas.append({"type": kind, piece: whole})
    return opened, deltas


_TYPED = ("input", "input_json_delta", "partial_json")
_PIECES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "text": [("text", "text_delta", "text")],
    "thinking": [("thinking", "thinking_delta", "thinking"), ("signature", "signature_delta", "signature")],
    "tool_use": [_TYPED],
    "server_tool_use": [_TYPED],
}
"""Of each kind of block: a field, and the delta and its field in which it comes."""
