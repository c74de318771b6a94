"""From the items of a Responses request to chat messages.

Source: the OpenAI API reference, "Create a model response", parameter `input`.  Left out because they say nothing to a
model: an item's own id and status, a message's `phase`, the annotations and log probabilities of an echoed answer.
Reasoning items are left out too: only the target that made them can read them, in their own protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.chat.bound import NOBODY, owners, read
from understudy.chat.request import wrong
from understudy.errors import InvalidRequest
from understudy.wire.fronts.responses_checks import listed, mapping, string

_ROLES = ("assistant", "developer", "system", "user")
# What each item may say beside what is read of it, and what asks for nothing.
_COMMON = frozenset({"type", "id", "status"})
_FIELDS: Mapping[str, frozenset[str]] = {
    "message": _COMMON | {"role", "content", "phase"},
    "function_call": _COMMON | {"call_id", "name", "arguments"},
    "function_call_output": _COMMON | {"call_id", "output", "name"},
    "custom_tool_call": _COMMON | {"call_id", "name", "input"},
    "custom_tool_call_output": _COMMON | {"call_id", "output"},
}
_NO_OPS: Mapping[str, object] = {"async": False, "caller": {"type": "direct"}}
# The part of a chat message that carries each part of an item, and the fields of the former that hold the latter's.
_TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
_UNSAID = frozenset({"annotations", "logprobs"})


class Conversation:
    """The messages that items make, with what only their own protocol can carry (`needs`), and of that what one target
    alone can serve (`owned`); see `understudy.chat.request.ChatRequest`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.needs: set[str] = set()
        self.owned: dict[str, str] = {}
        self._calling: dict[str, dict[str, Any]] = {}

    def read(self, given: object) -> None:
        """Add the whole input.  Raises InvalidRequest naming the item or the field that is no such thing."""
        if isinstance(given, str):
            self.messages.append({"role": "user", "content": given})
            return
        for i, one in enumerate(listed(given, "input", "a string or a list of items")):
            self._item(mapping(one, f"input[{i}]"), f"input[{i}]")

    def _item(self, given: Mapping[str, Any], path: str) -> None:
        item = {name: value for name, value in given.items() if value is not None}
        untyped = "message" if "role" in item else "item_reference" if item.keys() == {"id"} else None
        kind = string(item.get("type", untyped), f"{path}.type")
        match kind:
            case "message":
                self._message(item, path)
            case "function_call":
                self._call(item, string(item.get("arguments"), f"{path}.arguments"), path)
            case "custom_tool_call":
                # As the tool is translated, so is its call.
                written = {"input": string(item.get("input"), f"{path}.input")}
                self._call(item, json.dumps(written, ensure_ascii=False), path)
            case "function_call_output" | "custom_tool_call_output":
                self._output(item, path)
            case "reasoning":
                return
            case _:
                self._foreign(item, kind, path)
                return
        for name in item.keys() - _FIELDS[kind]:
            if item[name] != _NO_OPS.get(name):
                self.needs.add(f"{path}.{name}")

    def _foreign(self, item: Mapping[str, Any], kind: str, path: str) -> None:
        """An item that means nothing outside of its own protocol."""
        if kind == "item_reference" and read(string(item.get("id"), f"{path}.id"))[0] == NOBODY:
            raise InvalidRequest(
                f"`{path}.id` names an item that was translated and is stored nowhere; send the item itself, as "
                "clients do with `store: false`.",
                param=f"{path}.id",
            )
        self.needs.add(path)
        for owner in owners(item):
            self.owned[path] = owner

    def _message(self, item: Mapping[str, Any], path: str) -> None:
        role, content = item.get("role"), item.get("content")
        if role not in _ROLES:
            raise wrong(f"{path}.role", "one of " + ", ".join(_ROLES), role)
        said = content if isinstance(content, str) else self._parts(content, f"{path}.content")
        last = self.messages[-1] if self.messages else {}
        if role == "assistant" and last.get("role") == "assistant" and "tool_calls" in last:
            # What is said between a call and its result belongs to the message that calls.
            last["content"] = [*_as_parts(last["content"]), *_as_parts(said)] or None
            return
        self.messages.append({"role": role, "content": said})

    def _parts(self, given: object, path: str) -> str | list[dict[str, Any]]:
        """The parts of a chat message; a single text is given as a string, which every server takes."""
        parts = []
        for i, one in enumerate(listed(given, path, "a string or a list of parts")):
            parts += self._part(mapping(one, f"{path}[{i}]"), f"{path}[{i}]")
        return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts

    def _part(self, given: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
        part = {name: value for name, value in given.items() if value is not None}
        kind = string(part.pop("type", None), f"{path}.type")
        if kind in _TEXTS:
            name = _TEXTS[kind]
            made: dict[str, Any] = {"type": name, name: string(part.pop(name, None), f"{path}.{name}")}
        elif kind == "input_image":
            made = {"type": "image_url", "image_url": _image(part, path)}
        elif kind == "input_file" and "file_data" in part:
            held = ("file_data", "filename")
            file = {name: string(part.pop(name), f"{path}.{name}") for name in held if name in part}
            made = {"type": "file", "file": file}
        elif kind == "input_audio":
            made = {"type": kind, kind: mapping(part.pop(kind, None), f"{path}.{kind}")}
        else:
            self.needs.add(path)
            return []
        if "prompt_cache_breakpoint" in part:
            made["prompt_cache_breakpoint"] = part.pop("prompt_cache_breakpoint")
        for name in part.keys() - _UNSAID:
            if (name, part[name]) != ("detail", "auto"):
                self.needs.add(f"{path}.{name}")
        return [made] if made.get("image_url") != {} else []

    def _call(self, item: Mapping[str, Any], arguments: str, path: str) -> None:
        identifier = string(item.get("call_id"), f"{path}.call_id")
        name = string(item.get("name"), f"{path}.name")
        call = {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": None})
        message = self.messages[-1]
        message.setdefault("tool_calls", []).append(call)
        self._calling[identifier] = message

    def _output(self, item: Mapping[str, Any], path: str) -> None:
        identifier, output = string(item.get("call_id"), f"{path}.call_id"), item.get("output")
        said = output if isinstance(output, str) else self._parts(output, f"{path}.output")
        message = {"role": "tool", "tool_call_id": identifier, "content": said}
        self.messages.insert(self._place(identifier), message)

    def _place(self, identifier: str) -> int:
        """Where the result of a call goes: chat wants it right behind the message that calls."""
        asking = self._calling.get(identifier)
        if asking is None:
            return len(self.messages)
        place = len(self.messages)
        # From the end, where it nearly always is.
        while self.messages[place - 1] is not asking:
            place -= 1
        while place < len(self.messages) and self.messages[place]["role"] == "tool":
            place += 1
        return place


def _image(part: dict[str, Any], path: str) -> dict[str, Any]:
    """The image of a part; empty where it has no address, so that it stays with what is left of the part."""
    if "image_url" not in part:
        if "file_id" not in part:
            raise wrong(f"{path}.image_url", "a URL in a string", None)
        return {}
    image = {"url": string(part.pop("image_url"), f"{path}.image_url")}
    if part.get("detail", "auto") != "auto":
        image["detail"] = string(part.pop("detail"), f"{path}.detail")
    return image


def _as_parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or [])
