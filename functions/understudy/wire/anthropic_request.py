"""From a chat request to the body of Anthropic's Messages API.

Sources: the Anthropic API reference, "Create a Message", and its guides on tool use, vision and structured outputs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.errors import InvalidRequest

# The API demands a limit.  Every model that is still served accepts this one, and long answers fit.
DEFAULT_MAX_TOKENS = 8192

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
    ]
)
# Values that ask for what happens anyway.
_NO_OPS: Mapping[str, object] = {
    "n": 1,
    "logprobs": False,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "store": False,
    "service_tier": "auto",
    "logit_bias": {},
    "metadata": {},
}
_SYSTEM = frozenset({"system", "developer"})
# What a message of each role may hold.  Not sent, because they say nothing new: a tool result's `name` (the call has
# it) and, in an echoed answer, its annotations and its thinking (the API takes thinking back only with a signature,
# and thinking is never switched on here).
_FIELDS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"role", "content"}),
    "developer": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
    "assistant": frozenset(
        {"role", "content", "refusal", "tool_calls", "annotations", "reasoning_content", "reasoning"}
    ),
}
_PARTS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"text"}),
    "developer": frozenset({"text"}),
    "user": frozenset({"text", "image_url"}),
    "tool": frozenset({"text", "image_url"}),
    "assistant": frozenset({"text", "refusal"}),
}
_TOOL_FIELDS = frozenset({"name", "description", "parameters", "strict"})
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}

_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAPPED = "mapped_"
DATA_URL = re.compile(r"data:(?P<media>[^;,]+)(?:;[^;,]+)*;base64,", re.IGNORECASE)

# JSON Schema words that a constrained answer may not use; told to the model in words instead.
_UNSUPPORTED = frozenset(
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"]
)
_SCHEMA_DEPTH = 100

Block = dict[str, Any]


def cannot_carry(request: ChatRequest) -> Set[str]:
    """Names of what the Messages API has no place for.  Looks at shapes only, never into texts."""
    body = request.body
    names = {name for name in body.keys() - _TRANSLATED if name not in _NO_OPS or body[name] != _NO_OPS[name]}
    if not 0 <= body.get("temperature", 0) <= 1:
        names.add("temperature")
    if not carries_format(body.get("response_format", {})):
        names.add("response_format")
    if not carries_choice(body.get("tool_choice", "auto"), bool(body.get("tools"))):
        names.add("tool_choice")
    for i, tool in enumerate(body.get("tools", ())):
        names.update(tool_misfits(tool, f"tools[{i}]"))
    for i, message in enumerate(request.messages):
        names.update(_message_misfits(message, f"messages[{i}]"))
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


def _message_misfits(message: Mapping[str, Any], path: str) -> Iterator[str]:
    role = message["role"]
    if role not in _FIELDS:
        yield path
        return
    for name in message.keys() - _FIELDS[role]:
        if message[name] not in ("", [], {}):
            yield f"{path}.{name}"
    for i, call in enumerate(message.get("tool_calls", ())):
        if call.get("type", "function") != "function":
            yield f"{path}.tool_calls[{i}]"
    content = message.get("content")
    if isinstance(content, list):
        for i, part in enumerate(content):
            if part["type"] not in _PARTS[role]:
                yield f"{path}.content[{i}]"
            else:
                yield from _part_misfits(part, f"{path}.content[{i}]")


def _part_misfits(part: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in part.keys() - {"type", part["type"], "annotations"}:
        if part[name] is not None:
            yield f"{path}.{name}"
    image = part.get("image_url")
    # Images are always seen in full, so "high" asks for what happens anyway.
    if isinstance(image, Mapping) and image.get("detail") not in (None, "auto", "high"):
        yield f"{path}.image_url.detail"


def messages_body(
    request: ChatRequest, *, model: str, stream: bool, drop: Set[str], max_output_tokens: int | None
) -> dict[str, Any]:
    """The request body.  Raises InvalidRequest naming what can be neither carried nor dropped."""
    # Only whole fields can be dropped: a message without one of its parts would be another message.
    left = sorted(name for name in cannot_carry(request) if name not in drop or "[" in name)
    if left:
        raise InvalidRequest(f"`{left[0]}` has no equivalent in the Anthropic Messages API.", param=left[0])
    kept = ChatRequest(request.model, {name: value for name, value in request.body.items() if name not in drop})
    system, turns = _turns(request.messages)
    limit = kept.max_output_tokens or max_output_tokens or DEFAULT_MAX_TOKENS
    body: dict[str, Any] = {"model": model, "max_tokens": limit, "messages": turns, "stream": stream}
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
    if kept.needs_json_schema:
        body["output_config"] = {"format": _output_format(kept.body["response_format"]["json_schema"])}
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
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    leading = True
    for i, message in enumerate(messages):
        leading = leading and message["role"] in _SYSTEM
        blocks = _blocks(message, f"messages[{i}]")
        role = "assistant" if message["role"] == "assistant" else "user"
        if leading:
            system += blocks
        elif blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns and system:
        # Instructions alone are a request too, but the API wants something to answer.
        turns = [{"role": "user", "content": [system.pop()]}]
    if not turns:
        raise InvalidRequest("`messages` holds no text that is not blank.", param="messages")
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and last["type"] == "text":
        # An answer to be continued may not end in white space.
        last["text"] = last["text"].rstrip()
    return system, turns


def _blocks(message: Mapping[str, Any], path: str) -> list[Block]:
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
        else:
            blocks += _text(part.get(part["type"]), f"{path}[{i}].{part['type']}")
    return blocks


def _text(text: object, path: str) -> list[Block]:
    """One text block, or none: the API refuses texts without a visible character."""
    if not isinstance(text, str | None):
        raise InvalidRequest(f"`{path}` must be a string.", param=path)
    return [{"type": "text", "text": text}] if text and text.strip() else []


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


def _tool_use(call: Mapping[str, Any], path: str) -> Block:
    if not isinstance(call.get("id"), str):
        raise InvalidRequest(f"`{path}.id` must be a string.", param=f"{path}.id")
    given = arguments(call["function"].get("arguments"), f"{path}.function.arguments")
    return {"type": "tool_use", "id": tool_id(call["id"]), "name": call["function"]["name"], "input": given}


def arguments(text: object, path: str) -> dict[str, Any]:
    """The object that the arguments spell; a call without arguments is an empty one."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        given = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidRequest(f"`{path}` must be a JSON object in a string.", param=path)
    return given


def tool_id(identifier: str, allowed: re.Pattern[str] = _TOOL_ID) -> str:
    """The id where it fits the API's pattern, else one made from it: always the same, and never another's.

    An id that looks like a made one is made anew too, so that none can be mistaken for another.
    """
    if allowed.fullmatch(identifier) and not identifier.startswith(_MAPPED):
        return identifier
    return _MAPPED + hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()[:56]
