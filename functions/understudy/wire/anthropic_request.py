"""From a chat request to the body of Anthropic's Messages API.

Sources: the Anthropic API reference, "Create a Message", and its guides on tool use, vision and structured outputs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Set
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.errors import InvalidRequest
from understudy.wire import anthropic_reasoning as reasoning
from understudy.wire.anthropic_fit import PDF, cannot_carry
from understudy.wire.base import PLAIN, Quirks
from understudy.wire.turns import DATA_URL, alternating, arguments, trim_end, visible

# The API demands a limit.  Every model that is still served accepts this one, and long answers fit.
DEFAULT_MAX_TOKENS = 8192

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_TIERS = {"default": "standard_only"}

TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAPPED = "mapped_"

# JSON Schema words that a constrained answer may not use; told to the model in words instead.
_UNSUPPORTED = frozenset(
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"]
)
_SCHEMA_DEPTH = 100

Block = dict[str, Any]


def messages_body(
    request: ChatRequest,
    *,
    model: str,
    stream: bool,
    drop: Set[str],
    max_output_tokens: int | None,
    quirks: Quirks = PLAIN,
) -> dict[str, Any]:
    """The request body.  Raises InvalidRequest naming what can be neither carried nor dropped."""
    # Only whole fields can be dropped: a message without one of its parts would be another message.
    kept = ChatRequest(request.model, {name: value for name, value in request.body.items() if name not in drop})
    left = sorted(name for name in cannot_carry(kept, quirks) if name not in drop or "[" in name)
    if left:
        raise InvalidRequest(f"`{left[0]}` has no equivalent in the Anthropic Messages API.", param=left[0])
    system, turns = _turns(request.messages)
    limit = kept.max_output_tokens or max_output_tokens
    thought = reasoning.fields(kept, quirks.reasoning_control, limit, DEFAULT_MAX_TOKENS)
    body: dict[str, Any] = {"model": model, "max_tokens": limit or DEFAULT_MAX_TOKENS, "messages": turns}
    body |= {"stream": stream} | thought
    if system:
        body["system"] = system
    body.update({name: kept.body[name] for name in ("temperature", "top_p") if name in kept.body})
    body.update(_tooling(kept.body))
    stop = kept.body.get("stop", [])
    stops = [text for text in ([stop] if isinstance(stop, str) else stop) if text.strip()]
    if stops:
        body["stop_sequences"] = stops
    if "user" in kept.body:
        body["metadata"] = {"user_id": kept.body["user"]}
    if kept.body.get("service_tier") in _TIERS:
        body["service_tier"] = _TIERS[kept.body["service_tier"]]
    if kept.needs_json_schema:
        wanted = _output_format(kept.body["response_format"]["json_schema"])
        body["output_config"] = {**body.get("output_config", {}), "format": wanted}
    return body


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as UTF-8 JSON.  Raises InvalidRequest where the caller's values cannot be written as such."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The body holds half of a surrogate pair, which is no character.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def _output_format(described: Mapping[str, Any]) -> dict[str, Any]:
    """The name is a label without effect, and the API is always strict; the description is kept in the schema."""
    schema = constrained(described["schema"])
    if described.get("description"):
        schema.setdefault("description", described["description"])
    return {"type": "json_schema", "schema": schema}


def constrained(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A schema as structured outputs want it, in the way of Anthropic's own SDKs.

    Objects are closed where the schema leaves that open, and unsupported limits move into the description.
    """
    if depth > _SCHEMA_DEPTH:
        raise InvalidRequest("The JSON schema is nested too deeply.")
    result: dict[str, Any] = {}
    limits: list[str] = []
    for name, value in schema.items():
        if name in _UNSUPPORTED or (name == "minItems" and value not in (0, 1)):
            limits.append(f"{name}: {value}")
        elif name in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
            result[name] = {key: _inner(inner, depth) for key, inner in value.items()}
        elif name in ("anyOf", "allOf", "oneOf") and isinstance(value, list):
            result[name] = [_inner(inner, depth) for inner in value]
        else:
            result[name] = _inner(value, depth) if name == "items" else value
    if "properties" in result:
        result.setdefault("additionalProperties", False)
    if limits:
        described = result.get("description") or ""
        if not isinstance(described, str):
            raise InvalidRequest("A `description` in the JSON schema is not a string.")
        result["description"] = "\n\n".join([*filter(None, [described]), "{" + ", ".join(limits) + "}"])
    return result


def _inner(schema: Any, depth: int) -> Any:
    return constrained(schema, depth + 1) if isinstance(schema, Mapping) else schema


def _tooling(body: Mapping[str, Any]) -> dict[str, Any]:
    if not body.get("tools"):
        return {}
    tools = [_tool(tool["function"], f"tools[{i}].function") for i, tool in enumerate(body["tools"])]
    fields: dict[str, Any] = {"tools": tools}
    wanted = body.get("tool_choice", "auto")
    if isinstance(wanted, str):
        choice: dict[str, Any] = {"type": _CHOICES[wanted]}
    else:
        choice = {"type": "tool", "name": wanted["function"]["name"]}
    if body.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    if choice != {"type": "auto"}:
        fields["tool_choice"] = choice
    return fields


def _tool(function: Mapping[str, Any], path: str) -> dict[str, Any]:
    schema = function.get("parameters") or {"properties": {}}
    if not isinstance(schema, Mapping):
        raise InvalidRequest(f"`{path}.parameters` must be an object.", param=f"{path}.parameters")
    tool = {"name": function["name"], "input_schema": {"type": "object", **schema}}
    if function.get("description"):
        tool["description"] = function["description"]
    if function.get("strict"):
        tool["strict"] = True
        tool["input_schema"] = constrained(tool["input_schema"])
    return tool


def _turns(messages: list[Mapping[str, Any]]) -> tuple[list[Block], list[dict[str, Any]]]:
    """System blocks and turns of alternating roles, the results of a turn before its text."""
    system, turns = alternating(messages, blocks_of)
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    trim_end(turns)
    return system, turns


def blocks_of(message: Mapping[str, Any], path: str) -> list[Block]:
    """The content blocks of one message."""
    blocks = _content(message.get("content"), f"{path}.content")
    if message["role"] == "tool":
        result: Block = {"type": "tool_result", "tool_use_id": tool_id(message["tool_call_id"])}
        return [{**result, "content": blocks} if blocks else result]
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
        if part["type"] == "image_url":
            blocks.append(_image(part.get("image_url"), f"{path}[{i}].image_url"))
        elif part["type"] == "file":
            blocks.append(_document(part["file"], f"{path}[{i}].file"))
        else:
            blocks += _text(part.get(part["type"]), f"{path}[{i}].{part['type']}")
    return blocks


def _text(text: object, path: str) -> list[Block]:
    said = visible(text, path)
    return [] if said is None else [{"type": "text", "text": said}]


def _image(image: object, path: str) -> Block:
    url = image.get("url") if isinstance(image, Mapping) else None
    path = f"{path}.url"
    if not isinstance(url, str):
        raise InvalidRequest(f"`{path}` must be a string.", param=path)
    if url[:8].lower().startswith(("http://", "https://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    match = DATA_URL.match(url)
    if match is None:
        raise InvalidRequest(f"`{path}` must be an http(s) URL or a data: URL in base64.", param=path)
    source = {"type": "base64", "media_type": match["media"].lower(), "data": url[match.end() :]}
    return {"type": "image", "source": source}


def _document(file: Mapping[str, Any], path: str) -> Block:
    """A file that `carries_file`."""
    data = file["file_data"]
    match = DATA_URL.match(data)
    kind, encoded = match["media"].lower() if match else "", data[match.end() :] if match else ""
    if kind == PDF:
        source = {"type": "base64", "media_type": kind, "data": encoded}
    else:
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except ValueError:
            raise InvalidRequest(f"`{path}.file_data` is no text in base64.", param=f"{path}.file_data") from None
        source = {"type": "text", "media_type": kind, "data": text}
    block: Block = {"type": "document", "source": source}
    if isinstance(file.get("filename"), str) and file["filename"]:
        block["title"] = file["filename"]
    return block


def _tool_use(call: Mapping[str, Any], path: str) -> Block:
    if not isinstance(call.get("id"), str):
        raise InvalidRequest(f"`{path}.id` must be a string.", param=f"{path}.id")
    given = arguments(call["function"].get("arguments"), f"{path}.function.arguments")
    return {"type": "tool_use", "id": tool_id(call["id"]), "name": call["function"]["name"], "input": given}


def tool_id(identifier: str, allowed: re.Pattern[str] = TOOL_ID) -> str:
    """The id where it fits the API's pattern, else one made from it: always the same, and never another's.

    An id that looks like a made one is made anew too, so that none can be mistaken for another.
    """
    if allowed.fullmatch(identifier) and not identifier.startswith(_MAPPED):
        return identifier
    return _MAPPED + hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()[:56]
