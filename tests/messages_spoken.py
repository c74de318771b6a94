"""Requests of the Messages API, in small pieces."""

from __future__ import annotations

import json
from typing import Any

from understudy.wire.fronts import FRONTS

HELLO: dict[str, Any] = {"role": "user", "content": "Which bird is this?"}
CACHED = {"cache_control": {"type": "ephemeral"}}
SCHEMA = {"type": "object", "properties": {"bird": {"type": "string"}}, "required": ["bird"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
TOOL = {"name": "find_nest", "description": "Finds it.", "input_schema": SCHEMA}
FUNCTION = {"name": "find_nest", "parameters": SCHEMA, "description": "Finds it."}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def use(id: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "find_nest", "input": given}


def result(id: str, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def call(id: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "find_nest", "arguments": arguments}}


def asked(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "chat", "max_tokens": 99, "messages": list(messages) or [HELLO], **fields}


def read(body: object, headers: dict[str, str] | None = None, path: str = "/messages") -> Any:
    return FRONTS[path].read(json.dumps(body).encode(), headers or {})
