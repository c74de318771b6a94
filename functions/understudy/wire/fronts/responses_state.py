"""What a stream of response events has said so far, whoever wrote them.

Source: the OpenAI API reference, "Streaming events" of the Responses API.  It never raises: an event that it cannot
follow is one more that only its reader understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_LIFECYCLE = frozenset({"response.created", "response.in_progress", "response.queued"})
# Where a part stands in its item: the list, the field of the event with its place there.
CONTENT, SUMMARY = ("content", "content_index"), ("summary", "summary_index")
_ADDED = {"response.content_part.added": CONTENT, "response.reasoning_summary_part.added": SUMMARY}
_DONE = {"response.content_part.done": CONTENT, "response.reasoning_summary_part.done": SUMMARY}
_DELTAS = {
    "response.output_text.delta": CONTENT,
    "response.refusal.delta": CONTENT,
    "response.reasoning_text.delta": CONTENT,
    "response.reasoning_summary_text.delta": SUMMARY,
}
_ARGUMENTS = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})


@dataclass(slots=True)
class Part:
    """A part of an item: the object it was opened with, and the pieces of its text."""

    value: dict[str, Any]
    place: tuple[str, str]
    index: int
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    done: bool = False

    @property
    def kind(self) -> str:
        return str(self.value.get("type"))

    def whole(self) -> dict[str, Any]:
        """The object with all its text."""
        if self.done:
            return self.value
        name = "refusal" if self.kind == "refusal" else "text"
        said = {**self.value, name: str(self.value.get(name) or "") + "".join(self.pieces)}
        return {**said, "logprobs": self.logprobs} if self.kind == "output_text" else said


@dataclass(slots=True)
class Item:
    """An output item: the object it was opened with, or is when it is done, its parts, and its arguments in pieces."""

    index: int
    value: dict[str, Any]
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def kind(self) -> str:
        return str(self.value.get("type"))

    @property
    def last(self) -> Part | None:
        """The part that was opened last."""
        return next(reversed(self.parts.values()), None)

    def whole(self, status: str) -> dict[str, Any]:
        """The object with everything that was said of it."""
        if self.done:
            return self.value
        value = dict(self.value)
        for part in self.parts.values():
            kept = value.get(part.place[0])
            value[part.place[0]] = [*(kept if isinstance(kept, list) else ()), part.whole()]
        if self.arguments or self.kind == "function_call":
            name = "arguments" if self.kind == "function_call" else "input"
            value[name] = str(value.get(name) or "") + "".join(self.arguments)
        if "status" in value:
            value["status"] = status
        return value


class State:
    """The response object as it was told last, its items by their place, and the number of the next event."""

    def __init__(self) -> None:
        self.response: dict[str, Any] = {}
        self.items: dict[int, Item] = {}
        self.number = 0
        self.final: dict[str, Any] | None = None

    @property
    def last(self) -> Item | None:
        """The item that was opened last."""
        return self.items[max(self.items)] if self.items else None

    def apply(self, event: Mapping[str, Any]) -> None:
        """Note what an event says."""
        kind, number = event.get("type"), event.get("sequence_number")
        self.number = number + 1 if isinstance(number, int) else self.number + 1
        response = event.get("response")
        if not isinstance(kind, str):
            return
        if isinstance(response, Mapping):
            if kind in TERMINAL:
                self.final = dict(response)
            elif kind in _LIFECYCLE:
                self.response = dict(response)
            return
        index = event.get("output_index")
        if not isinstance(index, int):
            return
        if kind == "response.output_item.added" and isinstance(event.get("item"), Mapping):
            self.items[index] = Item(index, dict(event["item"]))
        elif (item := self.items.get(index)) is not None:
            _note(item, kind, event)

    def output(self) -> list[dict[str, Any]]:
        """All items, in their order."""
        return [self.items[index].whole("incomplete") for index in sorted(self.items)]


def _note(item: Item, kind: str, event: Mapping[str, Any]) -> None:
    delta = event.get("delta")
    if kind in _DELTAS:
        part = item.parts.get(_key(event, _DELTAS[kind]))
        if part is not None and isinstance(delta, str):
            part.pieces.append(delta)
            if logprobs := event.get("logprobs"):
                part.logprobs += logprobs if isinstance(logprobs, list) else ()
    elif kind in _ARGUMENTS:
        if isinstance(delta, str):
            item.arguments.append(delta)
    elif kind in _ADDED:
        key = _key(event, _ADDED[kind])
        if isinstance(event.get("part"), Mapping):
            item.parts[key] = Part(dict(event["part"]), _ADDED[kind], key[1])
    elif kind in _DONE:
        part = item.parts.get(_key(event, _DONE[kind]))
        if part is not None and isinstance(event.get("part"), Mapping):
            part.value, part.done = dict(event["part"]), True
    elif kind == "response.output_text.annotation.added":
        part = item.parts.get(_key(event, CONTENT))
        if part is not None:
            part.value["annotations"] = [*(part.value.get("annotations") or ()), event.get("annotation")]
    elif kind == "response.output_item.done" and isinstance(event.get("item"), Mapping):
        item.value, item.done = dict(event["item"]), True


def _key(event: Mapping[str, Any], place: tuple[str, str]) -> tuple[str, int]:
    index = event.get(place[1])
    return place[0], index if isinstance(index, int) else 0
