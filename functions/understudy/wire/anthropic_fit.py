"""What of a chat request Anthropic's Messages API has no place for.

Sources: the Anthropic API reference, "Create a Message", and its guides on tool use, vision and PDF support.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import partial
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.wire import anthropic_reasoning as reasoning
from understudy.wire.base import PLAIN, Quirks
from understudy.wire.turns import DATA_URL, Places

PDF, PLAIN_TEXT = "application/pdf", "text/plain"

_TRANSLATED = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "top_p",
        "stop",
        "user",
        "tools",
        "parallel_tool_calls",
        "stream",
        "stream_options",
        "temperature",
        "response_format",
        "tool_choice",
        "reasoning_effort",
        "service_tier",
    ]
)
# Values that ask for what happens anyway.
_NO_OPS: Mapping[str, object] = {
    "n": 1,
    "logprobs": False,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "store": False,
    "logit_bias": {},
    "metadata": {},
}
# Thinking is taken back only with a signature, for which the chat shape has no place.
_PLACES = Places(user={"text", "image_url", "file"}, tool={"text", "image_url", "file"})
_TOOL_FIELDS = frozenset({"name", "description", "parameters", "strict"})


def cannot_carry(request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:
    """Names of what the Messages API has no place for.  Looks at shapes only, never into texts."""
    body = request.body
    names = {name for name in body.keys() - _TRANSLATED if name not in _NO_OPS or body[name] != _NO_OPS[name]}
    if not 0 <= body.get("temperature", 0) <= 1:
        names.add("temperature")
    if body.get("service_tier", "auto") not in ("auto", "default"):
        names.add("service_tier")
    names.update(reasoning.misfits(request, quirks.reasoning_control))
    if not carries_format(body.get("response_format", {})):
        names.add("response_format")
    if not carries_choice(body.get("tool_choice", "auto"), bool(body.get("tools"))):
        names.add("tool_choice")
    for i, tool in enumerate(body.get("tools", ())):
        names.update(tool_misfits(tool, f"tools[{i}]"))
    part = partial(_part_misfits, quirks=quirks)
    for i, message in enumerate(request.messages):
        names.update(_PLACES.misfits(message, f"messages[{i}]", part=part))
    return names


def carries_format(wanted: Mapping[str, Any]) -> bool:
    if wanted.get("type") == "json_schema":
        described = wanted.get("json_schema")
        return isinstance(described, Mapping) and isinstance(described.get("schema"), Mapping)
    return bool(wanted.get("type", "text") == "text")


def carries_choice(choice: object, has_tools: bool) -> bool:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        named = isinstance(function, Mapping) and isinstance(function.get("name"), str)
        return has_tools and choice.get("type") == "function" and named
    return choice in ("auto", "none") or (choice == "required" and has_tools)


def tool_misfits(tool: Mapping[str, Any], path: str) -> Iterator[str]:
    if tool.get("type") != "function":
        yield path
        return
    for name in tool["function"].keys() - _TOOL_FIELDS:
        if tool["function"][name] is not None:
            yield f"{path}.function.{name}"


def _part_misfits(part: Mapping[str, Any], path: str, quirks: Quirks) -> Iterator[str]:
    for name in part.keys() - {"type", part["type"], "annotations"}:
        if part[name] is not None:
            yield f"{path}.{name}"
    image = part.get("image_url")
    if isinstance(image, Mapping):
        # Images are always seen in full, so "high" asks for what happens anyway.
        if image.get("detail") not in (None, "auto", "high"):
            yield f"{path}.image_url.detail"
        if not quirks.image_urls and str(image.get("url"))[:5].lower() != "data:":
            yield f"{path}.image_url.url"
    if part["type"] == "file" and not carries_file(part.get("file")):
        yield path


def carries_file(file: object) -> bool:
    """Whether a file is given by value, and of a kind that documents are: PDF or text."""
    data = file.get("file_data") if isinstance(file, Mapping) else None
    match = DATA_URL.match(data) if isinstance(data, str) else None
    return match is not None and match["media"].lower() in (PDF, PLAIN_TEXT)
