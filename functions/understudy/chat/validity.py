"""Whether an answer is what its request asked for in form: nothing is said of whether it is right.

Source of the shapes: the OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.chat.request import ChatRequest

FINISHED = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Stop reasons of an answer that was not held back."""


def flaws(request: ChatRequest, completion: Mapping[str, Any]) -> list[str]:
    """What is wrong with the form of a whole answer, in words without any of its content; empty where nothing is.

    An answer that was cut at its length is judged as far as it goes: its stop reason says so.
    """
    return [flaw for choice in completion.get("choices") or () for flaw in _of_choice(request, choice)]


def _of_choice(request: ChatRequest, choice: Mapping[str, Any]) -> Iterator[str]:
    reason, message = choice.get("finish_reason"), choice.get("message") or {}
    if reason not in FINISHED:
        yield "it was held back" if reason == "content_filter" else "its stop reason is not known"
    calls = message.get("tool_calls") or []
    for call in calls:
        yield from _of_call(request, call)
    wanted = request.body.get("response_format") or {}
    if wanted.get("type") in ("json_object", "json_schema") and not calls and reason == "stop":
        named = wanted.get("json_schema")
        yield from _of_object(message.get("content"), named.get("schema") if isinstance(named, Mapping) else None)


def _of_call(request: ChatRequest, call: Mapping[str, Any]) -> Iterator[str]:
    body = call.get("function")
    if not isinstance(body, Mapping):
        return  # A custom tool takes any text.
    offered = {
        tool["function"].get("name"): tool["function"].get("parameters")
        for tool in request.body.get("tools") or ()
        if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping)
    }
    if body.get("name") not in offered:
        yield "it calls a tool that was not offered"
        return
    for flaw in _of_object(body.get("arguments"), offered[body["name"]]):
        yield f"the arguments of a call: {flaw}"


def _of_object(text: object, schema: object) -> Iterator[str]:
    """What keeps a text from being a JSON object with the fields that its schema requires."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        yield "not JSON"
        return
    required = schema.get("required") if isinstance(schema, Mapping) else None
    kind = schema.get("type", "object") if isinstance(schema, Mapping) else "object"
    if kind != "object":
        return
    if not isinstance(value, Mapping):
        yield "not a JSON object"
    elif isinstance(required, list) and any(isinstance(name, str) and name not in value for name in required):
        yield "a required field is missing"
