"""From the events of Anthropic's Messages API to chunks.

Source: the Anthropic API reference, "Streaming Messages" and "Handling stop reasons".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy.chat.bound import marked
from understudy.chat.stream import Chunk, make_chunk
from understudy.chat.usage import Usage, detail
from understudy.wire.base import Event
from understudy.wire.body import number_at, object_at, string_at
from understudy.wire.failures import reported

# Not here: pause_turn, which asks to be called again.  It belongs to tools the provider runs, and only a caller of this
# API itself can have sent any.
FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_BLOCKS = frozenset({"text", "tool_use", "thinking", "redacted_thinking"})
# The block each kind of delta belongs to, and its field.
_DELTAS: Mapping[str, tuple[str, str]] = {
    "text_delta": ("text", "text"),
    "input_json_delta": ("tool_use", "partial_json"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
}


@dataclass(slots=True)
class _Block:
    kind: str
    call: int = -1
    input: object = None
    has_arguments: bool = False
    signed: bool = False


class AnthropicDecoder:
    """Chunks of one answer; complete once the stop reason has arrived.

    `native`: chunks carry the events they were read from, and what the chat shape has no word for is carried too.
    """

    def __init__(self, *, native: bool = False, owner: str = "") -> None:
        self._native = native
        self._owner = owner
        self._id = ""
        self._model = ""
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._counts: dict[str, int] = {}
        self._tier = ""
        self._complete = False
        self.ended = False

    @property
    def complete(self) -> bool:
        return self._complete

    def feed(self, event: Event) -> list[Chunk]:
        try:
            payload = json.loads(event.data)
        except RecursionError:
            raise ValueError("an event is nested too deeply") from None
        if not isinstance(payload, Mapping):
            raise ValueError("an event is not a JSON object")
        return self.read(payload)

    def read(self, payload: Mapping[str, Any]) -> list[Chunk]:
        """As `feed`, for an event that is parsed already."""
        again = self._complete and payload.get("type") == "message_delta"
        chunks = self._chunks(payload)
        # ping says nothing: the router keeps its callers' connections alive itself.
        if not self._native or not self._id or again or payload["type"] == "ping":
            return chunks
        first, *rest = chunks or [make_chunk(id=self._id, model=self._model, created=0)]
        return [replace(first, native=self._bound(payload)), *rest]

    def _bound(self, event: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """The event as the caller may have it: what only this provider can read again is marked as its own.

        Thinking that ends without a signature is given an empty one, so that it goes back to whom it came from.
        """
        if not self._owner:
            return (event,)
        match event["type"]:
            case "content_block_start":
                content = event["content_block"]
                name = {"thinking": "signature", "redacted_thinking": "data"}.get(content["type"], "")
                if isinstance(content.get(name), str) and content[name]:
                    self._blocks[event["index"]].signed = True
                    return ({**event, "content_block": {**content, name: marked(content[name], self._owner)}},)
            case "content_block_delta" if event["delta"]["type"] == "signature_delta":
                block, delta = self._block(event), event["delta"]
                if not block.signed and delta["signature"]:
                    block.signed = True
                    return ({**event, "delta": {**delta, "signature": marked(delta["signature"], self._owner)}},)
            case "content_block_stop":
                block = self._block(event)
                if block.kind == "thinking" and not block.signed:
                    delta = {"type": "signature_delta", "signature": unsigned(self._owner)}
                    return {"type": "content_block_delta", "index": event["index"], "delta": delta}, event
        return (event,)

    def _chunks(self, payload: Mapping[str, Any]) -> list[Chunk]:
        match payload.get("type"):
            case "error":
                raise reported(payload)
            case "message_start":
                return self._start(object_at(payload, "message"))
            case "content_block_start":
                return self._open(number_at(payload, "index"), object_at(payload, "content_block"))
            case "content_block_delta":
                return self._delta(self._block(payload), object_at(payload, "delta"))
            case "content_block_stop":
                return self._close(self._block(payload))
            case "message_delta":
                return self._finish(payload)
            case "message_stop":
                self.ended = True
                return []
            case str():
                # The provider asks to ignore types that are not known.
                return []
            case _:
                raise ValueError("an event has no type")

    def _start(self, message: Mapping[str, Any]) -> list[Chunk]:
        if self._id:
            raise ValueError("the message starts twice")
        self._id = "chatcmpl-" + string_at(message, "id")
        self._model = string_at(message, "model")
        self._count(message.get("usage"))
        # Not for the caller, who gets the counts at the end: what is known should the answer break off.
        known = self._usage() if "input_tokens" in self._counts else None
        return [replace(self._chunk({"role": "assistant"}), usage=known)]

    def _open(self, index: int, content: Mapping[str, Any]) -> list[Chunk]:
        kind = string_at(content, "type")
        if kind not in _BLOCKS and not self._native:
            raise ValueError(f"a content block of unknown type {kind!r}")
        if index in self._blocks:
            raise ValueError("a content block starts twice")
        block = _Block(kind)
        if kind not in _BLOCKS:
            self._blocks[index] = block
            return [self._opaque()]
        if kind == "tool_use":
            call = {"id": string_at(content, "id"), "type": "function"}
            function = {"name": string_at(content, "name"), "arguments": ""}
            block.call, block.input = self._calls, content.get("input")
            chunks = [self._chunk({"tool_calls": [{"index": block.call, **call, "function": function}]})]
            self._calls += 1
        else:
            # Redacted thinking is encrypted: there is nothing in it to show, and no place to keep it.
            chunks = self._piece(block, content.get(kind, "") if kind != "redacted_thinking" else "")
        self._blocks[index] = block
        return chunks

    def _delta(self, block: _Block, delta: Mapping[str, Any]) -> list[Chunk]:
        kind = string_at(delta, "type")
        if kind not in _DELTAS or _DELTAS[kind][0] != block.kind:
            if self._native:
                return [self._opaque()]
            raise ValueError(f"a delta of type {kind!r} in a block of type {block.kind!r}")
        piece = string_at(delta, _DELTAS[kind][1])
        # A signature only proves thinking to the provider when it is sent back, which the chat shape cannot do.
        return [] if kind == "signature_delta" else self._piece(block, piece)

    def _piece(self, block: _Block, piece: object) -> list[Chunk]:
        if not isinstance(piece, str):
            raise ValueError("a piece of the answer is not a string")
        if not piece:
            return []
        if block.kind == "tool_use":
            block.has_arguments = True
            return [self._chunk({"tool_calls": [{"index": block.call, "function": {"arguments": piece}}]})]
        return [self._chunk({"content" if block.kind == "text" else "reasoning_content": piece})]

    def _close(self, block: _Block) -> list[Chunk]:
        if block.kind != "tool_use" or block.has_arguments:
            return []
        # Callers parse the arguments, and an empty string is no JSON.
        return self._piece(block, json.dumps(block.input or {}, ensure_ascii=False, separators=(",", ":")))

    def _finish(self, payload: Mapping[str, Any]) -> list[Chunk]:
        reason = object_at(payload, "delta").get("stop_reason")
        known = isinstance(reason, str) and (self._native or reason in FINISH)
        if reason is not None and not known:
            raise ValueError(f"an unknown stop reason {reason!r}")
        self._count(payload.get("usage"))
        if reason is None or self._complete:
            return []
        # An answer that is paused, or ends for a reason nobody knows here, is not empty for having no text.
        chunks = [replace(self._chunk({}, FINISH.get(reason, "stop")), opaque=reason not in FINISH)]
        if "input_tokens" in self._counts:
            chunks.append(make_chunk(id=self._id, model=self._model, created=0, usage=self._usage()))
        self._complete = True
        return chunks

    def _count(self, usage: object) -> None:
        """Counts are running totals; a later one replaces an earlier one."""
        if isinstance(usage, Mapping):
            self._counts.update({n: usage[n] for n in _COUNTS if isinstance(usage.get(n), int)})
            details = usage.get("output_tokens_details")
            if isinstance(details, Mapping) and isinstance(details.get("thinking_tokens"), int):
                self._counts["thinking_tokens"] = details["thinking_tokens"]
            if long := detail(usage.get("cache_creation"), "ephemeral_1h_input_tokens"):
                self._counts["long"] = long
            # "speed" is named where an answer was given in fast mode, which is dearer.
            told = usage.get("speed") if usage.get("speed") == "fast" else usage.get("service_tier")
            self._tier = told if isinstance(told, str) else self._tier

    def _usage(self) -> Usage:
        fresh, read, written, output = (self._counts.get(name, 0) for name in _COUNTS)
        thought = self._counts.get("thinking_tokens", 0)
        return Usage(
            fresh + read + written,
            output,
            cached_tokens=read,
            reasoning_tokens=thought,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(self._counts.get("long", 0), written),
            service_tier=self._tier[:32],
        )

    def _opaque(self) -> Chunk:
        """Something of the answer that the chat shape has no word for."""
        if not self._id:
            raise ValueError("an event comes before the start of the message")
        return replace(make_chunk(id=self._id, model=self._model, created=0), opaque=True)

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> Chunk:
        if not self._id:
            raise ValueError("an event comes before the start of the message")
        # created=0: a wire has no clock; the front stamps every chunk.
        return make_chunk(id=self._id, model=self._model, created=0, delta=delta, finish_reason=finish_reason)

    def _block(self, payload: Mapping[str, Any]) -> _Block:
        block = self._blocks.get(number_at(payload, "index"))
        if block is None:
            raise ValueError("an event of a content block that has not started")
        return block


def unsigned(owner: str) -> str:
    """The mark of an empty signature."""
    return marked("-", owner)[:-1]
