"""Answers of Anthropic's Messages API: events, and the message that they make.

Source: the Anthropic API reference, "Streaming Messages" and "Create a Message".

Events of a provider of this API are relayed as they came; chunks of any other are told in its words.  One answer may
be both, one after the other: where its lead broke off, the next one goes on in the block that is open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.chat.bound import NOBODY, marked
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, index_of
from understudy.chat.usage import Usage
from understudy.wire.fronts.base import encode
from understudy.wire.fronts.messages_errors import message_error

REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
UNSIGNED = marked("-", NOBODY)
"""The signature of thinking that came without one: it is nobody's, so that it is never sent to anybody."""

Told = dict[str, Any]


@dataclass(slots=True)
class _Call:
    """A tool call that is not whole yet; `key` tells it from the others."""

    key: object
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Words:
    """A text that came after a call, and waits with it."""

    text: str = ""


class MessageWriter:
    """One answer in the making.  Bytes come from `event` and `end`; `told` and `rest` give the same as objects."""

    def __init__(self, request: ChatRequest, *, created: int) -> None:
        self._request = request
        self._created = created
        self._started = False
        self._open: tuple[int, str] | None = None
        self._next = 0
        self._blank = ""
        self._held: list[_Call | _Words] = []
        self._called = False
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._note: object = None
        self._finished = False
        self._last: Mapping[str, Any] = {"type": "message_stop"}

    def event(self, chunk: Chunk) -> bytes:
        return b"".join(map(_bytes, self.told(chunk)))

    def end(self) -> bytes:
        return b"".join(map(_bytes, self.rest()))

    def broken(self, error: BaseException) -> bytes:
        return _bytes(message_error(error)[1])

    def told(self, chunk: Chunk) -> Iterator[Mapping[str, Any]]:
        """The events of one chunk."""
        if chunk.native:
            yield from self._relayed(chunk.native)
            return
        if not self._started:
            yield self._start(chunk)
        for choice in chunk.payload.get("choices") or ():
            if index_of(choice) == 0:
                yield from self._delta(choice.get("delta") or {})
        self._reason = chunk.finish_reasons.get(0, self._reason)
        self._usage = chunk.usage or self._usage
        self._note = chunk.payload.get("understudy") or self._note
        if self._reason is not None and chunk.payload.get("usage"):
            yield from self._finish()

    def rest(self) -> Iterator[Mapping[str, Any]]:
        """The events that close a complete answer."""
        yield from self._finish()
        yield self._last

    def _relayed(self, events: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for event in events:
            match event.get("type"):
                case "message_start":
                    self._started = True
                case "content_block_start":
                    self._open = event["index"], str(event["content_block"].get("type"))
                    self._next = event["index"] + 1
                case "content_block_stop":
                    self._open = None
                case "message_delta":
                    self._finished = event["delta"].get("stop_reason") is not None
                case "message_stop":
                    # Given out at the end, so that nothing can follow it.
                    self._last = event
                    continue
            yield event

    def _start(self, chunk: Chunk) -> Told:
        self._started = True
        message: Told = {
            "id": self._id(chunk),
            "type": "message",
            "role": "assistant",
            "model": chunk.model or self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _counts(chunk.usage or Usage()),
        }
        return {"type": "message_start", "message": message}

    def _id(self, chunk: Chunk) -> str:
        given = chunk.payload.get("id")
        if not isinstance(given, str) or not given:
            # Not every server gives its answers an id.
            said = repr((self._created, chunk.payload, self._request.messages[-1:]))
            given = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:24]
        return "msg_" + given.removeprefix("chatcmpl-").removeprefix("msg_")

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Told]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            yield from self._say("thinking", thought)
        for name in ("content", "refusal"):
            if isinstance(piece := delta.get(name), str):
                yield from self._say("text", piece)
        for call in delta.get("tool_calls") or ():
            self._hold(call.get("index", len(self._held)), call.get("id"), call.get("function"))
        if delta.get("function_call"):
            self._hold("function_call", None, delta["function_call"])

    def _say(self, kind: str, piece: str) -> Iterator[Told]:
        if self._held and kind == "text":
            last = self._held[-1]
            if not isinstance(last, _Words):
                last = _Words()
                self._held.append(last)
            last.text += piece
            return
        if self._open is None or self._open[1] != kind:
            # The API takes no text without a visible character back, so none is begun with one.
            piece = self._blank + piece if kind == "text" else piece
            if not piece.strip():
                self._blank = piece if kind == "text" else self._blank
                return
            yield from self._begin(_EMPTY[kind])
        self._blank = ""
        if piece and self._open:
            delta = {"type": f"{kind}_delta", kind: piece}
            yield {"type": "content_block_delta", "index": self._open[0], "delta": delta}

    def _hold(self, key: object, identifier: object, function: object) -> None:
        """Note a piece of a call.  Blocks come one after the other, pieces of several calls as they like, and the
        router gives none of them out before all are whole: so nobody waits for this."""
        call = next((one for one in self._held if isinstance(one, _Call) and one.key == key), None)
        if call is None:
            call = _Call(key)
            self._held.append(call)
        given = function if isinstance(function, Mapping) else {}
        call.id = identifier if isinstance(identifier, str) and identifier else call.id
        call.name = given["name"] if isinstance(given.get("name"), str) and given["name"] else call.name
        call.arguments += given["arguments"] if isinstance(given.get("arguments"), str) else ""

    def _begin(self, block: Mapping[str, Any]) -> Iterator[Told]:
        yield from self._close()
        self._open = self._next, block["type"]
        self._next += 1
        yield {"type": "content_block_start", "index": self._open[0], "content_block": dict(block)}

    def _close(self) -> Iterator[Told]:
        self._blank = ""
        if self._open is None:
            return
        index, kind = self._open
        if kind == "thinking":
            delta = {"type": "signature_delta", "signature": UNSIGNED}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
        self._open = None

    def _finish(self) -> Iterator[Told]:
        """Everything but the end marker."""
        if self._finished:
            return
        self._finished = True
        held, self._held = self._held, []
        for place, one in enumerate(held):
            if isinstance(one, _Words):
                yield from self._say("text", one.text)
            else:
                yield from self._use(one, place)
        yield from self._close()
        event: Told = {
            "type": "message_delta",
            "delta": {"stop_reason": self._stop_reason(), "stop_sequence": None},
            "usage": _counts(self._usage or Usage()),
        }
        if self._note is not None:
            event["understudy"] = self._note
        yield event

    def _use(self, call: _Call, place: int) -> Iterator[Told]:
        self._called = True
        identifier = call.id or f"call_{self._created}_{place}"
        yield from self._begin({"type": "tool_use", "id": identifier, "name": call.name, "input": {}})
        text = call.arguments.strip()
        if text and read_object(text) is None and self._reason != "length":
            # An input is an object.  What is none reaches the tool as it is, and can be refused there.
            text = json.dumps({"arguments": call.arguments}, ensure_ascii=False)
        if text:
            delta = {"type": "input_json_delta", "partial_json": text}
            yield {"type": "content_block_delta", "index": self._next - 1, "delta": delta}

    def _stop_reason(self) -> str:
        reason = REASONS.get(self._reason or "stop", "end_turn")
        if reason in ("end_turn", "tool_use"):
            # Some servers say "stop" after a call.
            return "tool_use" if self._called else "end_turn"
        return reason


_EMPTY: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


def message_of(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The message that a stream of events makes, with everything that they carried."""
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    for event in events:
        match event.get("type"):
            case "message_start":
                message = dict(event["message"])
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                delta = event["delta"]
                if delta.get("type") == "input_json_delta":
                    inputs[event["index"]] = inputs.get(event["index"], "") + str(delta.get("partial_json", ""))
                else:
                    _grow(blocks[event["index"]], delta)
            case "message_delta":
                # Counts are running totals; one that does not apply is left out, or null.
                counts = {name: count for name, count in _object(event.get("usage")).items() if count is not None}
                usage = {**_object(message.get("usage")), **counts}
                more = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
                message |= {**event["delta"], **more, "usage": usage}
    for index, text in inputs.items():
        if text.strip():
            blocks[index]["input"] = read_object(text) or {}
    message["content"] = [blocks[index] for index in sorted(blocks)]
    return message


def _grow(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add a piece to its block: texts are continued, a citation joins the others."""
    for name, piece in delta.items():
        if name == "citation":
            known = block.get("citations")
            block["citations"] = [*(known if isinstance(known, list) else ()), piece]
        elif name != "type" and isinstance(piece, str) and isinstance(block.get(name), str):
            block[name] += piece
        elif name != "type":
            block[name] = piece


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_object(text: str) -> dict[str, Any] | None:
    """The object that a text spells, or None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _counts(usage: Usage) -> dict[str, Any]:
    """Usage in this API's way: what was read from a cache or written to one is no input."""
    counts: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def _bytes(event: Mapping[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encode(event) + b"\n\n"
