"""From chat messages to the messages and content blocks of Converse.

Sources: the Amazon Bedrock API reference, "Message", "ContentBlock", "DocumentBlock" and "ToolResultBlock".

Instructions in the middle of a conversation are told in the user's turn, which every model takes; a `system` turn
among the messages, which the API has too, only some models do.  An answer's own thinking is not sent back: the API
takes it only with its signature, which the chat shape has no place for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.errors import InvalidRequest
from understudy.wire.anthropic_request import tool_id
from understudy.wire.turns import DATA_URL, Places, alternating, arguments, trim_end, visible

PLACES = Places(user={"text", "image_url", "input_audio", "file"}, tool={"text", "image_url", "file"})
# What the object of a part may hold.
_INNER: Mapping[str, frozenset[str]] = {
    "image_url": frozenset({"url", "detail"}),
    "input_audio": frozenset({"data", "format"}),
    "file": frozenset({"filename", "file_data"}),
}
_IMAGES = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_AUDIO = frozenset(
    ["mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"]
)
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9\s()\[\]-]+", re.ASCII)
_LONGEST_NAME = 180
# A result must say something, and texts without a visible character are refused.
_NO_OUTPUT = "(no output)"

Block = dict[str, Any]


def part_misfits(part: Mapping[str, Any], path: str) -> Iterator[str]:
    """The paths of what Converse has no place for in a part."""
    kind = part["type"]
    for name in part.keys() - {"type", kind, "annotations"}:
        if part[name] is not None:
            yield f"{path}.{name}"
    if kind not in _INNER:
        return
    inner = part.get(kind)
    if not isinstance(inner, Mapping):
        yield f"{path}.{kind}"
        return
    for name in inner.keys() - _INNER[kind]:
        if inner[name] is not None:
            yield f"{path}.{kind}.{name}"
    # Images are always seen in full, so "high" asks for what happens anyway.
    if kind == "image_url" and inner.get("detail") not in (None, "auto", "high"):
        yield f"{path}.image_url.detail"
    if _format(kind, inner) is None:
        # An address would have to be fetched, which the API does not do.
        yield f"{path}.{kind}" + (".url" if kind == "image_url" else "")


def _format(kind: str, inner: Mapping[str, Any]) -> str | None:
    """The API's word for the format of a part's data; None where there is no data or no such format."""
    if kind == "input_audio":
        wanted, data = inner.get("format"), inner.get("data")
        return wanted if isinstance(wanted, str) and wanted in _AUDIO and isinstance(data, str) and data else None
    data = inner.get("url" if kind == "image_url" else "file_data")
    match = DATA_URL.match(data) if isinstance(data, str) else None
    if not isinstance(data, str) or match is None or match.end() == len(data):
        return None
    media = match["media"].strip().lower()
    if kind == "image_url":
        return _IMAGES.get(media)
    _, dot, ending = _filename(inner).rpartition(".")
    ending = ending.lower() if dot else ""
    return _DOCUMENTS.get(media) or (ending if ending in _DOCUMENTS.values() else None)


def conversation(messages: list[Mapping[str, Any]]) -> tuple[list[Block], list[dict[str, Any]]]:
    """System blocks, and turns of alternating roles: the user's first, the results of a turn before its text."""
    system, turns = alternating(messages, _blocks)
    if turns[0]["role"] == "assistant":
        raise InvalidRequest("`messages` must begin with a user's message that is not blank.", param="messages")
    for turn in turns:
        turn["content"].sort(key=lambda block: "toolResult" not in block)
    trim_end(turns)
    _tell_apart(turns)
    return system, turns


def _blocks(message: Mapping[str, Any], path: str) -> list[Block]:
    blocks = _content(message.get("content"), f"{path}.content")
    if message["role"] == "tool":
        identifier = tool_id(message["tool_call_id"], _TOOL_ID)
        return [{"toolResult": {"toolUseId": identifier, "content": blocks or [{"text": _NO_OUTPUT}]}}]
    if message["role"] == "assistant":
        blocks += _text(message.get("refusal"), f"{path}.refusal")
        calls = message.get("tool_calls", ())
        blocks += [_tool_use(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return blocks


def _content(content: Any, path: str) -> list[Block]:
    if not isinstance(content, list):
        return _text(content, path)
    blocks: list[Block] = []
    for i, part in enumerate(content):
        kind = part["type"]
        blocks += [_attached(kind, part[kind])] if kind in _INNER else _text(part.get(kind), f"{path}[{i}].{kind}")
    return blocks


def _text(text: object, path: str) -> list[Block]:
    said = visible(text, path)
    return [] if said is None else [{"text": said}]


def _attached(kind: str, inner: Mapping[str, Any]) -> Block:
    """An image, a sound or a document that `part_misfits` found fit; its bytes stay in base64."""
    form = _format(kind, inner)
    if kind == "input_audio":
        return {"audio": {"format": form, "source": {"bytes": inner["data"]}}}
    data = inner["url" if kind == "image_url" else "file_data"]
    source = {"bytes": data.partition(",")[2]}
    if kind == "image_url":
        return {"image": {"format": form, "source": source}}
    return {"document": {"format": form, "name": _document_name(inner), "source": source}}


def _filename(inner: Mapping[str, Any]) -> str:
    name = inner.get("filename")
    return name if isinstance(name, str) else ""


def _document_name(inner: Mapping[str, Any]) -> str:
    """The file's name in the characters that the API allows, without its ending."""
    name = _filename(inner)
    stem = _NOT_IN_NAMES.sub("-", name.rpartition(".")[0] or name)
    return " ".join(stem.split())[:_LONGEST_NAME].strip() or "document"


def _tell_apart(turns: list[dict[str, Any]]) -> None:
    """Number documents of one name: the names of a request must differ."""
    taken: set[str] = set()
    blocks = [block for turn in turns for block in turn["content"]]
    inside = [inner for block in blocks if "toolResult" in block for inner in block["toolResult"]["content"]]
    for block in (*blocks, *inside):
        if (document := block.get("document")) is None:
            continue
        name, number = document["name"], 1
        while document["name"] in taken:
            number += 1
            document["name"] = f"{name} {number}"
        taken.add(document["name"])


def _tool_use(call: Mapping[str, Any], path: str) -> Block:
    if not isinstance(call.get("id"), str):
        raise InvalidRequest(f"`{path}.id` must be a string.", param=f"{path}.id")
    given = arguments(call["function"].get("arguments"), f"{path}.function.arguments")
    return {"toolUse": {"toolUseId": tool_id(call["id"], _TOOL_ID), "name": call["function"]["name"], "input": given}}
