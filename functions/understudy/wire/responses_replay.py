"""From a whole response to the events that would have streamed it.

Source: the OpenAI API reference, "Streaming events" of the Responses API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ENDINGS = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}
# The field with the parts of an item, the events around a part, and the field of its place.
_PARTS = {
    "content": ("response.content_part", "content_index"),
    "summary": ("response.reasoning_summary_part", "summary_index"),
}
_SAID = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
    "summary_text": ("response.reasoning_summary_text", "text"),
}
_ARGUMENTS = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}


def replayed(response: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events, numbered.  Raises ValueError where the response is not at its end."""
    ending = _ENDINGS.get(str(response.get("status")))
    if ending is None:
        raise ValueError(f"the response's status is {response.get('status')!r}")
    for number, event in enumerate(_events(response, ending)):
        yield {**event, "sequence_number": number}


def _events(response: Mapping[str, Any], ending: str) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        if not isinstance(item, Mapping):
            raise ValueError("an output item is not an object")
        yield from _item(index, item)
    yield {"type": ending, "response": response}


def _item(index: int, item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    where = {"output_index": index}
    named = {**where, "item_id": item.get("id")}
    kind = str(item.get("type"))
    opened = {name: [] if name in _PARTS and isinstance(value, list) else value for name, value in item.items()}
    if kind in _ARGUMENTS:
        opened[_ARGUMENTS[kind][1]] = ""
    if "status" in opened:
        opened["status"] = "in_progress"
    yield {"type": "response.output_item.added", **where, "item": opened}
    for name in _PARTS:
        if isinstance(parts := item.get(name), list):
            yield from _parts(parts, name, named)
    if kind in _ARGUMENTS:
        event, name = _ARGUMENTS[kind]
        yield {"type": f"{event}.delta", **named, "delta": item.get(name)}
        called = {"name": item.get("name")} if kind == "function_call" else {}
        yield {"type": f"{event}.done", **named, **called, name: item.get(name)}
    yield {"type": "response.output_item.done", **where, "item": item}


def _parts(parts: list[Any], name: str, named: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    around, place = _PARTS[name]
    for index, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise ValueError("a part of an item is not an object")
        where = {**named, place: index}
        said = _SAID.get(str(part.get("type")))
        opened = {**part, said[1]: ""} if said else part
        yield {"type": f"{around}.added", **where, "part": opened}
        if said:
            event, field = said
            more = {"logprobs": part.get("logprobs") or []} if part.get("type") == "output_text" else {}
            yield {"type": f"{event}.delta", **where, "delta": part.get(field), **more}
            yield {"type": f"{event}.done", **where, field: part.get(field), **more}
        yield {"type": f"{around}.done", **where, "part": part}
