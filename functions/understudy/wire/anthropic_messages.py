"""A conversation as Anthropic's Messages API takes it: system blocks and alternating turns.

Source: platform.claude.com/docs/en/api/messages and .../agents-and-tools/tool-use/handle-tool-calls.  What has no
place there is noted by name in `left`, with the reason, and left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.wire.body import decode_object
from understudy.wire.tool_ids import ToolIds

Block = dict[str, Any]
Left = dict[str, str]

_SYSTEM = ("system", "developer")
# Which part types each role may hold; a system prompt is text only.
_PARTS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"text"}),
    "developer": frozenset({"text"}),
    "user": frozenset({"text", "image_url"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": frozenset({"text", "image_url"}),
}
# Reasoning that comes back with an echoed message is no input: the API takes back only thinking that it signed
# itself, and the servers that write `reasoning_content` ask callers not to return it.  A tool message's `name`
# repeats the name of the call that it answers.
_FIELDS: Mapping[str, frozenset[str]] = {
    "assistant": frozenset({"refusal", "tool_calls", "reasoning", "reasoning_content", "reasoning_details"}),
    "tool": frozenset({"tool_call_id", "name"}),
}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^;,]+)*;base64,", re.IGNORECASE)
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def conversation(messages: Sequence[Mapping[str, Any]], left: Left) -> tuple[list[Block], list[Block]]:
    """Split into `system` text blocks and `messages`.

    System messages before the first turn become the system prompt.  Later ones stay where they are, as text of a
    user turn: moved to the front they would lose what they follow, and only some models take them as a role.
    Consecutive turns of one role are merged, with tool results before everything else, as the API demands.
    """
    ids = ToolIds()
    system: list[Block] = []
    turns: list[Block] = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        role = message["role"]
        if role not in _PARTS:
            left[path] = f"role {role!r} has no place"
            continue
        _note_fields(message, frozenset({"role", "content"}) | _FIELDS.get(role, frozenset()), path, left)
        blocks = _blocks(message, path, ids, left)
        if role in _SYSTEM and not turns:
            system += blocks
        elif blocks:
            _append(turns, "assistant" if role == "assistant" else "user", blocks)
    if not turns and system:
        # The API wants at least one message; instructions alone are then what the user says.
        turns, system = [{"role": "user", "content": system}], []
    if not turns:
        left["messages"] = "no message has any text"
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return system, turns


def _append(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _blocks(message: Mapping[str, Any], path: str, ids: ToolIds, left: Left) -> list[Block]:
    role = message["role"]
    blocks = _parts(message.get("content"), role, f"{path}.content", left)
    if role == "tool":
        result: Block = {"type": "tool_result", "tool_use_id": ids.of_result(message["tool_call_id"])}
        return [result | ({"content": blocks} if blocks else {})]
    if role == "assistant":
        blocks += _texts(message.get("refusal"))
        for k, call in enumerate(message.get("tool_calls") or ()):
            blocks += _call(call, f"{path}.tool_calls[{k}]", ids, left)
    return blocks


def _parts(content: object, role: str, path: str, left: Left) -> list[Block]:
    if not isinstance(content, list):
        return _texts(content)
    blocks: list[Block] = []
    for j, part in enumerate(content):
        where, kind = f"{path}[{j}]", part["type"]
        if kind not in _PARTS[role]:
            left[where] = f"a part of type {kind!r} has no place in a {role} message"
        elif kind == "image_url":
            blocks += _image(part, where, left)
        else:
            _note_fields(part, frozenset({"type", kind, "cache_control"}), where, left)
            blocks += [block | _cache(part) for block in _texts(part.get(kind))]
    return blocks


def _texts(text: object) -> list[Block]:
    # The API refuses text blocks without a visible character.
    return [{"type": "text", "text": text}] if isinstance(text, str) and text.strip() else []


def _cache(part: Mapping[str, Any]) -> Block:
    return {"cache_control": part["cache_control"]} if part.get("cache_control") else {}


def _image(part: Mapping[str, Any], path: str, left: Left) -> list[Block]:
    _note_fields(part, frozenset({"type", "image_url", "cache_control"}), path, left)
    image = part.get("image_url")
    source = _source(image.get("url")) if isinstance(image, Mapping) else None
    if source is None or not isinstance(image, Mapping):
        left[path] = "only http(s) URLs and base64 data URLs of JPEG, PNG, GIF or WebP images are taken"
        return []
    # Images are always read in full detail, which is what the other values ask for.
    if image.get("detail") == "low":
        left[f"{path}.image_url.detail"] = "images are always read in full detail"
    _note_fields(image, frozenset({"url", "detail"}), f"{path}.image_url", left)
    return [{"type": "image", "source": source} | _cache(part)]


def _source(url: object) -> Block | None:
    if not isinstance(url, str):
        return None
    if url.lower().startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    found = _DATA_URL.match(url)
    if found is None:
        return None
    kind = found[1].lower().replace("image/jpg", "image/jpeg")
    return {"type": "base64", "media_type": kind, "data": url[found.end() :]} if kind in _IMAGES else None


def _call(call: Mapping[str, Any], path: str, ids: ToolIds, left: Left) -> list[Block]:
    function = call["function"]
    if call.get("type", "function") != "function" or not isinstance(call.get("id"), str):
        left[path] = "only function calls with an id are taken"
        return []
    # `index` is left over from a streamed call; the order in the list says the same.
    _note_fields(call, frozenset({"id", "type", "index", "function"}), path, left)
    _note_fields(function, frozenset({"name", "arguments"}), f"{path}.function", left)
    try:
        arguments = _arguments(function.get("arguments"))
    except ValueError:
        left[f"{path}.function.arguments"] = "the arguments must be a JSON object"
        arguments = {}
    return [{"type": "tool_use", "id": ids.of_call(call["id"]), "name": function["name"], "input": arguments}]


def _arguments(value: object) -> dict[str, Any]:
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    if isinstance(value, str):
        return decode_object(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError("neither text nor an object")


def _note_fields(given: Mapping[str, Any], known: frozenset[str], path: str, left: Left) -> None:
    """Name the fields without a place; one that is empty or false asks for nothing."""
    for name, value in given.items():
        if value and name not in known:
            left[f"{path}.{name}"] = "the field has no place"
