"""From the events of the Responses API to chunks, which carry the events themselves for a caller who speaks it too.

Source: the OpenAI API reference, "Streaming events" of the Responses API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from understudy.chat.bound import marked, marked_id
from understudy.chat.stream import Chunk, make_chunk
from understudy.chat.usage import Usage, detail, with_tier
from understudy.errors import AttemptFailed
from understudy.wire.base import Event
from understudy.wire.body import decode_object, number_at, object_at, string_at
from understudy.wire.failures import reported

# Why a response stopped early, in chat's words.  Any other reason is told by the event itself.
INCOMPLETE: Mapping[str, str] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_BEGUN = frozenset({"response.created", "response.in_progress", "response.queued"})
_TEXTS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_content",
    "response.reasoning_summary_text.delta": "reasoning_content",
}
_ARGUMENTS = {
    "response.function_call_arguments.delta": "function",
    "response.custom_tool_call_input.delta": "custom",
}
_ANSWERS = frozenset({"message", "reasoning"})
# Items that ask the caller to do something: half of one is of no use.
_ASKS = frozenset(
    ["apply_patch_call", "computer_call", "local_shell_call", "mcp_approval_request", "shell_call", "tool_search_call"]
)
# Pieces of what a provider's own tool makes.
_PIECES = (".delta", ".partial_image")


class ResponsesDecoder:
    """Chunks of one answer; complete once its last event has arrived, after which nothing comes."""

    def __init__(self, *, native: bool = False, owner: str = "") -> None:
        self._native = native
        self._owner = owner
        self._id = ""
        self._model = ""
        self._created = 0
        self._calls: dict[int, int] = {}
        self._written: set[int] = set()
        self._asks = False
        self._complete = False
        self.ended = False

    @property
    def complete(self) -> bool:
        return self._complete

    def feed(self, event: Event) -> list[Chunk]:
        data = event.data.strip()
        if data in ("", "[DONE]"):
            self.ended = self.ended or data == "[DONE]"
            return []
        payload = decode_object(data)
        return self.read(payload if "type" in payload else {"type": event.name, **payload})

    def read(self, payload: Mapping[str, Any]) -> list[Chunk]:
        """As `feed`, for an event that is parsed already."""
        kind = payload.get("type")
        if not isinstance(kind, str) or not kind:
            raise ValueError("an event has no type")
        if kind == "error":
            raise reported(payload)
        if kind in ("response.failed", "response.cancelled"):
            raise _failed(payload)
        marked_payload = _marked_event(payload, self._owner) if self._owner else payload
        if kind in _BEGUN:
            self._begin(object_at(marked_payload, "response"))
        chunk = self._chunk(kind, payload, marked_payload)
        if self._native:
            return [replace(chunk, native=(marked_payload,))]
        said = chunk.payload["choices"] or chunk.usage or chunk.opaque
        return [chunk] if said else []

    def _chunk(self, kind: str, payload: Mapping[str, Any], marked_payload: Mapping[str, Any]) -> Chunk:
        if kind in ("response.completed", "response.incomplete"):
            return self._finish(kind, object_at(marked_payload, "response"))
        if kind in _TEXTS:
            return self._delta({_TEXTS[kind]: string_at(payload, "delta")})
        if kind in _ARGUMENTS:
            return self._piece(_ARGUMENTS[kind], number_at(payload, "output_index"), string_at(payload, "delta"))
        if kind == "response.output_item.added":
            return self._open(number_at(payload, "output_index"), object_at(payload, "item"))
        if kind == "response.output_item.done":
            return self._close(number_at(payload, "output_index"), object_at(payload, "item"))
        return replace(self._nothing(), opaque=kind.endswith(_PIECES))

    def _begin(self, response: Mapping[str, Any]) -> None:
        self._id = str(response.get("id") or self._id)
        model, created = response.get("model"), response.get("created_at")
        self._model = model if isinstance(model, str) else self._model
        self._created = int(created) if isinstance(created, int | float) and 0 <= created < 1e12 else self._created

    def _open(self, index: int, item: Mapping[str, Any]) -> Chunk:
        kind = str(item.get("type"))
        if kind in ("function_call", "custom_tool_call"):
            return self._call(index, item, kind)
        if kind in _ANSWERS:
            return self._nothing()
        self._asks = self._asks or kind in _ASKS
        # A call to the caller is kept back until it is whole, as tool calls are.
        return replace(self._nothing(), opaque=True, has_tool_calls=kind in _ASKS)

    def _call(self, index: int, item: Mapping[str, Any], kind: str) -> Chunk:
        self._asks = True
        place = self._calls[index] = len(self._calls)
        name, words = ("function", "arguments") if kind == "function_call" else ("custom", "input")
        held = {"name": string_at(item, "name"), words: item.get(words) or ""}
        if held[words]:
            self._written.add(index)
        call = {"index": place, "id": string_at(item, "call_id"), "type": name, name: held}
        return self._delta({"tool_calls": [call]})

    def _piece(self, name: str, index: int, piece: str) -> Chunk:
        if index not in self._calls:
            raise ValueError("arguments of a call that has not started")
        self._written.add(index)
        held = {"arguments" if name == "function" else "input": piece}
        return self._delta({"tool_calls": [{"index": self._calls[index], name: held}]})

    def _close(self, index: int, item: Mapping[str, Any]) -> Chunk:
        """A call may bring its arguments only when it is done; a server may name an item only then."""
        kind = str(item.get("type"))
        if kind in ("function_call", "custom_tool_call"):
            if index not in self._calls:
                return self._call(index, item, kind)
            name, words = ("function", "arguments") if kind == "function_call" else ("custom", "input")
            if index not in self._written and item.get(words):
                return self._piece(name, index, string_at(item, words))
        return self._nothing()

    def _finish(self, kind: str, response: Mapping[str, Any]) -> Chunk:
        self._begin(response)
        if kind == "response.incomplete":
            details = response.get("incomplete_details")
            why = details.get("reason") if isinstance(details, Mapping) else None
            reason = INCOMPLETE.get(str(why), "length")
        else:
            reason = "tool_calls" if self._asks else "stop"
        self._complete = self.ended = True
        return make_chunk(
            id=self._id,
            model=self._model,
            created=self._created,
            delta={},
            finish_reason=reason,
            usage=with_tier(_usage(response.get("usage")), response.get("service_tier")),
        )

    def _delta(self, delta: Mapping[str, Any]) -> Chunk:
        return make_chunk(id=self._id, model=self._model, created=self._created, delta=delta)

    def _nothing(self) -> Chunk:
        return make_chunk(id=self._id, model=self._model, created=self._created)


def _failed(payload: Mapping[str, Any]) -> AttemptFailed:
    response = payload.get("response")
    error = response.get("error") if isinstance(response, Mapping) else None
    said = error if isinstance(error, Mapping) else {"message": f"the provider ended the answer with {payload['type']}"}
    return reported({"error": said})


def _usage(counts: object) -> Usage | None:
    if not isinstance(counts, Mapping) or not isinstance(counts.get("input_tokens"), int):
        return None
    read, said = counts.get("input_tokens_details"), counts.get("output_tokens_details")
    return Usage(
        prompt_tokens=counts["input_tokens"],
        completion_tokens=detail(counts, "output_tokens"),
        cached_tokens=detail(read, "cached_tokens"),
        reasoning_tokens=detail(said, "reasoning_tokens"),
        cache_write_tokens=detail(read, "cache_write_tokens"),
        audio_input_tokens=detail(read, "audio_tokens"),
        audio_output_tokens=detail(said, "audio_tokens"),
        image_input_tokens=detail(read, "image_tokens"),
        image_output_tokens=detail(said, "image_tokens"),
    )


def _marked_event(event: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The event with its owner's mark on everything that only the owner can read again."""
    told = dict(event)
    if isinstance(response := event.get("response"), Mapping):
        told["response"] = _marked_response(response, owner)
    if isinstance(item := event.get("item"), Mapping):
        told["item"] = _marked_item(item, owner)
    if isinstance(name := event.get("item_id"), str):
        told["item_id"] = marked_id(name, owner)
    return told


def _marked_response(response: Mapping[str, Any], owner: str) -> dict[str, Any]:
    told = dict(response)
    for name in ("id", "previous_response_id"):
        if isinstance(value := response.get(name), str):
            told[name] = marked_id(value, owner)
    if isinstance(output := response.get("output"), list):
        told["output"] = [_marked_item(one, owner) if isinstance(one, Mapping) else one for one in output]
    return told


def _marked_item(item: Mapping[str, Any], owner: str) -> dict[str, Any]:
    told = dict(item)
    if isinstance(value := item.get("id"), str):
        told["id"] = marked_id(value, owner)
    if isinstance(value := item.get("encrypted_content"), str):
        told["encrypted_content"] = marked(value, owner)
    return told
