"""From the events of ConverseStream to chunks.

Source: the Amazon Bedrock API reference, "ConverseStream", "ContentBlockDelta" and "TokenUsage".

A model's thinking is given out as `reasoning_content`.  Its signature and thinking that is encrypted are left out: they
only prove the thinking to the model when it is sent back, which the chat shape cannot do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.chat.stream import Chunk, make_chunk
from understudy.chat.usage import Usage
from understudy.errors import Garbage
from understudy.wire.base import Event
from understudy.wire.body import decode_object, number_at, string_at
from understudy.wire.failures import reported

EXCEPTION = "exception:"
"""What the name of an event begins with that is an exception; the exception's own name follows."""
FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
# The model wrote what its own API cannot read: another try may go better.
_BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})
_COUNTS = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "outputTokens")


@dataclass(slots=True)
class _Block:
    kind: str
    call: int = -1
    has_arguments: bool = False


class BedrockDecoder:
    """Chunks of one answer; complete once the stop reason has arrived, ended with the counts behind it."""

    def __init__(self) -> None:
        self._started = False
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._complete = False
        self.ended = False

    @property
    def complete(self) -> bool:
        return self._complete

    def feed(self, event: Event) -> list[Chunk]:
        if event.name.startswith(EXCEPTION):
            raise reported({**_report(event.data), "__type": event.name.removeprefix(EXCEPTION)})
        return self.read(event.name, decode_object(event.data))

    def read(self, name: str, payload: Mapping[str, Any]) -> list[Chunk]:
        """As `feed`, for an event that is parsed already."""
        match name:
            case "messageStart":
                return self._start(payload)
            case "contentBlockStart":
                return self._open(number_at(payload, "contentBlockIndex"), payload.get("start"))
            case "contentBlockDelta":
                return self._delta(number_at(payload, "contentBlockIndex"), _union(payload.get("delta"), "delta"))
            case "contentBlockStop":
                return self._close(self._blocks.get(number_at(payload, "contentBlockIndex")))
            case "messageStop":
                return self._finish(payload.get("stopReason"))
            case "metadata":
                self.ended = True
                return self._count(payload.get("usage"), payload.get("serviceTier"))
            case "initial-response":
                return []
        raise ValueError(f"an event of unknown type {name!r}")

    def _start(self, payload: Mapping[str, Any]) -> list[Chunk]:
        if self._started:
            raise ValueError("the message starts twice")
        if payload.get("role") != "assistant":
            raise ValueError("the message is not the assistant's")
        self._started = True
        return [self._chunk({"role": "assistant"})]

    def _open(self, index: int, start: object) -> list[Chunk]:
        if index in self._blocks:
            raise ValueError("a content block starts twice")
        if start in (None, {}):
            # Some models announce their texts too.
            return []
        kind, tool = _union(start, "start")
        if kind != "toolUse" or not isinstance(tool, Mapping) or tool.get("type") is not None:
            raise ValueError(f"a content block of unknown type {kind!r}")
        call = {"id": string_at(tool, "toolUseId"), "type": "function"}
        function = {"name": string_at(tool, "name"), "arguments": ""}
        chunk = self._chunk({"tool_calls": [{"index": self._calls, **call, "function": function}]})
        self._blocks[index] = _Block("toolUse", self._calls)
        self._calls += 1
        return [chunk]

    def _delta(self, index: int, delta: tuple[str, Any]) -> list[Chunk]:
        kind, value = delta
        block = self._blocks.get(index) or _Block(kind)
        known = kind in ("text", "reasoningContent") or (kind == "toolUse" and block.call >= 0)
        if not known or kind != block.kind:
            raise ValueError(f"a delta of type {kind!r} in a block of type {block.kind!r}")
        self._blocks[index] = block
        if kind == "text":
            return self._piece("content", value)
        if kind == "reasoningContent":
            kind, value = _union(value, "reasoningContent")
            if kind not in ("text", "signature", "redactedContent"):
                raise ValueError(f"thinking of unknown type {kind!r}")
            return self._piece("reasoning_content", value) if kind == "text" else []
        if not isinstance(value, Mapping):
            raise ValueError("`toolUse` is not an object")
        return self._arguments(block, string_at(value, "input"))

    def _piece(self, name: str, piece: object) -> list[Chunk]:
        if not isinstance(piece, str):
            raise ValueError("a piece of the answer is not a string")
        return [self._chunk({name: piece})] if piece else []

    def _arguments(self, block: _Block, piece: str) -> list[Chunk]:
        if not piece:
            return []
        block.has_arguments = True
        return [self._chunk({"tool_calls": [{"index": block.call, "function": {"arguments": piece}}]})]

    def _close(self, block: _Block | None) -> list[Chunk]:
        # Callers parse the arguments, and an empty string is no JSON.
        needed = block is not None and block.kind == "toolUse" and not block.has_arguments
        return self._arguments(block, "{}") if block is not None and needed else []

    def _finish(self, reason: object) -> list[Chunk]:
        if not isinstance(reason, str) or reason not in {*FINISH, *_BROKEN}:
            raise ValueError(f"an unknown stop reason {reason!r}")
        if reason in _BROKEN:
            raise Garbage(f"the model's answer was malformed ({reason})", status=200)
        if self._complete:
            raise ValueError("the message stops twice")
        finish = FINISH[reason]
        if finish == "stop" and self._calls:
            # Some models say so of an answer that ends with calls.
            finish = "tool_calls"
        chunk = self._chunk({}, finish)
        self._complete = True
        return [chunk]

    def _count(self, usage: object, tier: object) -> list[Chunk]:
        if not isinstance(usage, Mapping) or not isinstance(usage.get("inputTokens"), int):
            return []
        fresh, read, written, output = (_number(usage.get(name)) for name in _COUNTS)
        named = tier.get("type") if isinstance(tier, Mapping) else None
        counted = Usage(
            prompt_tokens=fresh + read + written,
            completion_tokens=output,
            cached_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(_for_an_hour(usage.get("cacheDetails")), written),
            service_tier=named[:32] if isinstance(named, str) else "",
        )
        return [make_chunk(id="", model="", created=0, usage=counted)]

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> Chunk:
        if not self._started:
            raise ValueError("an event comes before the start of the message")
        # The protocol names neither the answer nor the model, and a wire has no clock: who asked fills them in.
        return make_chunk(id="", model="", created=0, delta=delta, finish_reason=finish_reason)


def _report(data: str) -> dict[str, Any]:
    try:
        return decode_object(data)
    except ValueError:
        return {"message": data}


def _union(value: object, name: str) -> tuple[str, Any]:
    """The one member of a union that is set."""
    members = [(k, v) for k, v in value.items() if v is not None] if isinstance(value, Mapping) else []
    if len(members) != 1:
        raise ValueError(f"`{name}` has not one member")
    return members[0]


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _for_an_hour(details: object) -> int:
    """Tokens that were written to a cache to be kept for an hour."""
    parts = [one for one in details if isinstance(one, Mapping)] if isinstance(details, list) else []
    return sum(_number(one.get("inputTokens")) for one in parts if one.get("ttl") == "1h")


def replayed(message: Mapping[str, Any], reason: object, usage: object) -> list[tuple[str, Mapping[str, Any]]]:
    """The events that would have streamed a whole message, one delta per block.  Raises ValueError on another shape."""
    events: list[tuple[str, Mapping[str, Any]]] = [("messageStart", {"role": message.get("role")})]
    for index, block in enumerate(message["content"]):
        kind, value = _union(block, "content block")
        place = {"contentBlockIndex": index}
        if kind == "toolUse" and isinstance(value, Mapping):
            events.append(("contentBlockStart", {**place, "start": {kind: value}}))
            written = json.dumps(value.get("input") or {}, ensure_ascii=False, separators=(",", ":"))
            deltas: list[Any] = [{kind: {"input": written}}]
        elif kind == "reasoningContent" and isinstance(value, Mapping):
            thought = value.get("reasoningText")
            pieces = thought if isinstance(thought, Mapping) else value
            deltas = [{kind: {name: piece}} for name, piece in pieces.items() if piece is not None]
        else:
            deltas = [{kind: value}]
        events += [("contentBlockDelta", {**place, "delta": delta}) for delta in deltas]
        events.append(("contentBlockStop", place))
    return [*events, ("messageStop", {"stopReason": reason}), ("metadata", {"usage": usage})]
