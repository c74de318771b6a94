"""From chunks to the events of one response.

Chunks that bring the provider's own events are relayed, event for event.  When the engine goes on with another target
in the middle of an answer, its chunks have none: they are told as events of ours that go on in the item, the part and
the numbering where the relayed ones stopped.

Source: the OpenAI API reference, "Streaming events" of the Responses API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, index_of
from understudy.chat.usage import Usage
from understudy.wire.fronts import responses_object as objects
from understudy.wire.fronts.responses_state import CONTENT, SUMMARY, TERMINAL, Item, Part, State

Events = list[Mapping[str, Any]]

# The events of a part's text, without the ending that says whether it is a piece or all of it.
_SAID = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning_text": "response.reasoning_text",
    "summary_text": "response.reasoning_summary_text",
}
_AROUND = {CONTENT: "response.content_part", SUMMARY: "response.reasoning_summary_part"}
_BLANK: Mapping[str, dict[str, Any]] = {
    "output_text": {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
    "refusal": {"type": "refusal", "refusal": ""},
    "summary_text": {"type": "summary_text", "text": ""},
}


class Answer:
    """One answer in the making; `final` is the whole response object once it is complete."""

    def __init__(self, request: ChatRequest, *, created: int) -> None:
        native = request.native
        self._asked: Mapping[str, Any] = native.body if native else {}
        tools = self._asked.get("tools") or ()
        self._custom = {tool.get("name") for tool in tools if tool.get("type") == "custom"}
        self._created = created
        self._state = State()
        self._events: Events = []
        self._calls: dict[int, Item] = {}
        self._raw: set[int] = set()
        self._told: dict[str, Any] = {}
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._note: object = None

    @property
    def final(self) -> dict[str, Any] | None:
        return self._state.final

    def read(self, chunk: Chunk) -> Events:
        """The events of one chunk, often none."""
        if chunk.native:
            for event in chunk.native:
                self._relay(event)
        elif self.final is None:
            self._translate(chunk)
        return self._taken()

    def end(self) -> Events:
        """What is left to say of a complete answer."""
        if self.final is None and (self._reason is not None or self._state.response):
            self._complete()
        return self._taken()

    def failed(self, error: Mapping[str, Any]) -> Mapping[str, Any]:
        """The event that says that the answer broke off.

        The reference has its fields at the top; OpenAI's SDKs raise where they stand in an `error` object.
        """
        told = {name: error.get(name) for name in ("message", "param")}
        return {
            "type": "error",
            "code": error.get("code") or error.get("type"),
            **told,
            "error": dict(error),
            "sequence_number": self._state.number,
        }

    # relayed

    def _relay(self, event: Mapping[str, Any]) -> None:
        self._state.apply(event)
        if event.get("type") in TERMINAL and isinstance((final := self.final), dict) and final.get("output") is None:
            # Some servers leave out of the last event what the stream has said.
            final["output"] = self._state.output()
        self._events.append(event)

    # translated

    def _translate(self, chunk: Chunk) -> None:
        payload = chunk.payload
        if not self._state.response:
            self._state.response = objects.blank(self._asked, payload, self._created)
            for kind in ("response.created", "response.in_progress"):
                self._say(kind, response=self._state.response)
        # Who answered last: an answer may have been gone on with by another.
        self._told |= {name: payload[name] for name in ("model", "service_tier") if isinstance(payload.get(name), str)}
        self._note = payload.get("understudy", self._note)
        for choice in payload.get("choices") or ():
            # This API has no way to ask for a second answer.
            if index_of(choice) == 0:
                self._choice(choice)
        if isinstance(chunk.usage, Usage):
            self._usage = objects.usage(chunk.usage)
            if self._reason is not None:
                self._complete()

    def _choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or {}
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            self._write("reasoning", SUMMARY, "summary_text", thought)
        if text := delta.get("content"):
            self._write("message", CONTENT, "output_text", text, logprobs=objects.logprobs(choice))
        for annotation in objects.citations(delta):
            self._annotate(annotation)
        if refusal := delta.get("refusal"):
            self._write("message", CONTENT, "refusal", refusal)
        calls = delta.get("tool_calls") or []
        if isinstance(delta.get("function_call"), Mapping):
            calls = [*calls, {"index": 0, "function": delta["function_call"]}]
        for call in calls:
            self._call(call)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and self._reason is None:
            self._reason = reason
            self._close_all(objects.ending(reason)["status"])

    def _write(self, kind: str, place: tuple[str, str], part_kind: str, text: str, **more: Any) -> None:
        """A piece of text in the part that is open, or in a new one."""
        item = self._item(kind)
        part = item.last
        if part is None or part.done or part.kind != part_kind:
            if part is not None:
                self._close_part(item, part)
            index = len([one for one in item.parts.values() if one.place == place])
            where = self._where(item) | {place[1]: index}
            self._say(f"{_AROUND[place]}.added", **where, part=dict(_BLANK[part_kind]))
            part = item.parts[place[0], index]
        self._say(f"{_SAID[part_kind]}.delta", **self._where(item, part), delta=text, **more)

    def _annotate(self, annotation: Mapping[str, Any]) -> None:
        item = self._state.last
        part = item.last if item else None
        if item is not None and part is not None and part.kind == "output_text" and not part.done:
            fields = self._where(item, part) | {"annotation_index": len(part.value.get("annotations") or ())}
            self._say("response.output_text.annotation.added", **fields, annotation=annotation)

    def _item(self, kind: str) -> Item:
        """The item of this kind that is open, or a new one, for which the one before is closed."""
        last = self._state.last
        if last is not None and last.kind == kind and not last.done:
            return last
        if last is not None and last.index not in {item.index for item in self._calls.values()}:
            self._close(last, "completed")
        if kind == "message":
            return self._open("msg", {"type": kind, "status": "in_progress", "role": "assistant", "content": []})
        return self._open("rs", {"type": kind, "summary": []})

    def _open(self, prefix: str, value: dict[str, Any]) -> Item:
        index = max(self._state.items, default=-1) + 1
        identifier = objects.made_id(prefix, self._state.response.get("id"), index)
        self._say("response.output_item.added", output_index=index, item={"id": identifier, **value})
        return self._state.items[index]

    def _call(self, call: Mapping[str, Any]) -> None:
        """A tool call, or a piece of its arguments; a custom tool's are its `input` and told when they are whole."""
        place, raw = call.get("index"), isinstance(call.get("custom"), Mapping)
        index = place if isinstance(place, int) else len(self._calls)
        function = call.get("custom" if raw else "function")
        function = function if isinstance(function, Mapping) else {}
        item = self._calls.get(index)
        if item is None:
            item = self._calls[index] = self._called(call.get("id"), str(function.get("name") or ""), raw=raw)
        piece = function.get("input" if raw else "arguments")
        if not isinstance(piece, str) or not piece:
            return
        if item.kind == "function_call":
            self._say("response.function_call_arguments.delta", **self._where(item), delta=piece)
        else:
            item.arguments.append(piece)

    def _called(self, identifier: object, name: str, *, raw: bool) -> Item:
        last = self._state.last
        if last is not None and not self._calls:
            self._close(last, "completed")
        custom = raw or name in self._custom
        if not isinstance(identifier, str) or not identifier:
            identifier = objects.made_id("call", self._state.response.get("id"), len(self._calls))
        value = {"type": "custom_tool_call" if custom else "function_call", "status": "in_progress"}
        value |= {"call_id": identifier, "name": name, "input" if custom else "arguments": ""}
        item = self._open("ctc" if custom else "fc", value)
        if raw:
            self._raw.add(item.index)
        return item

    # closed

    def _close_all(self, status: str) -> None:
        for index in sorted(self._state.items):
            self._close(self._state.items[index], status)

    def _close(self, item: Item, status: str) -> None:
        if item.done:
            return
        for part in item.parts.values():
            self._close_part(item, part)
        where = self._where(item)
        if item.kind == "function_call":
            if not item.arguments and status == "completed" and not item.value.get("arguments"):
                # Callers parse the arguments, and an empty string is no JSON.
                self._say("response.function_call_arguments.delta", **where, delta="{}")
            whole = item.whole(status)
            said = {"name": whole.get("name"), "arguments": whole["arguments"]}
            self._say("response.function_call_arguments.done", **where, **said)
        elif item.kind == "custom_tool_call":
            given = "".join(item.arguments)
            item.arguments = []
            given = given if item.index in self._raw else _input(given)
            self._say("response.custom_tool_call_input.delta", **where, delta=given)
            self._say("response.custom_tool_call_input.done", **where, input=given)
        self._say("response.output_item.done", output_index=item.index, item=item.whole(status))

    def _close_part(self, item: Item, part: Part) -> None:
        if part.done:
            return
        whole, where = part.whole(), self._where(item, part)
        name = "refusal" if part.kind == "refusal" else "text"
        more = {"logprobs": part.logprobs} if part.kind == "output_text" else {}
        if part.kind in _SAID:
            self._say(f"{_SAID[part.kind]}.done", **where, **{name: whole[name]}, **more)
        self._say(f"{_AROUND[part.place]}.done", **where, part=whole)

    def _complete(self) -> None:
        ending = objects.ending(self._reason or "stop")
        self._close_all(ending["status"])
        response = {**self._state.response, **ending, **self._told}
        response |= {"output": self._state.output(), "usage": self._usage}
        if self._note is not None:
            response["understudy"] = self._note
        self._say(f"response.{ending['status']}", response=response)

    # said

    def _where(self, item: Item, part: Part | None = None) -> dict[str, Any]:
        where = {"item_id": item.value.get("id"), "output_index": item.index}
        return where if part is None else where | {part.place[1]: part.index}

    def _say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, **fields, "sequence_number": self._state.number}
        self._state.apply(event)
        self._events.append(event)

    def _taken(self) -> Events:
        events, self._events = self._events, []
        return events


def _input(arguments: str) -> str:
    """The text that a function of one string was called with; whatever else was written instead, as it is."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    text = given.get("input") if isinstance(given, Mapping) else None
    return text if isinstance(text, str) else arguments
