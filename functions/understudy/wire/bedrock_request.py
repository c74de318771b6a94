"""From a chat request to the body of Converse and ConverseStream.

Sources: the Amazon Bedrock API reference, "Converse", "ToolConfiguration", "OutputConfig" and "InferenceConfiguration";
the Amazon Bedrock user guide, "Carry out a conversation with the Converse API operations".

Two fields go where Converse has a place that is not quite theirs: `user` becomes the request's metadata of that name,
a label in the account's own invocation logs, and `reasoning_effort`, which is a hint, becomes a level or a number of
tokens to think (`Quirks.reasoning_control`).  Thinking is not switched on where the model would refuse it: with calls
in the conversation (their thinking would have to come back signed), with a forced tool, with a temperature of the
caller's own, in the middle of an answer, or where the limit leaves no room for the least budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.errors import InvalidRequest
from understudy.wire.anthropic_fit import carries_choice, carries_format, tool_misfits
from understudy.wire.anthropic_request import constrained
from understudy.wire.base import Quirks
from understudy.wire.bedrock_messages import PLACES, conversation, part_misfits
from understudy.wire.body import encode

_TRANSLATED = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "response_format",
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
    "parallel_tool_calls": True,
}
_TIERS = frozenset({"default", "flex", "priority", "reserved"})
_EFFORTS: Mapping[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
# Tokens to think; no model takes less than the first (user guide, "Enhance model responses with model reasoning").
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 65_536}
_LEAST_BUDGET = 1024
# Tokens of an answer behind its thinking, where the caller sets no limit.
_ANSWER = 8192
_LABEL = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}", re.ASCII)
_LABELS = 16
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_UNAVAILABLE = "Was used earlier in this conversation. It is not available now: do not call it."


def cannot_carry(request: ChatRequest, quirks: Quirks) -> Set[str]:
    """Names of what Converse has no place for.  Looks at shapes only, never into texts."""
    body = request.body
    names = {name for name in body.keys() - _TRANSLATED if name not in _NO_OPS or body[name] != _NO_OPS[name]}
    names -= {name for name in names if _carries(name, body, quirks)}
    names |= {name for name in ("temperature", "top_p") if not 0 <= body.get(name, 0) <= 1}
    if not carries_format(body.get("response_format", {})):
        names.add("response_format")
    if not carries_choice(body.get("tool_choice", "auto"), bool(body.get("tools"))):
        names.add("tool_choice")
    for i, tool in enumerate(body.get("tools", ())):
        names.update(tool_misfits(tool, f"tools[{i}]"))
        if tool.get("type") == "function" and not _TOOL_NAME.fullmatch(tool["function"]["name"]):
            names.add(f"tools[{i}].function.name")
    names.update(_history_misfits(request.messages))
    return names


def _carries(name: str, body: Mapping[str, Any], quirks: Quirks) -> bool:
    """Whether Converse has a place for this value of a field that it does not know as such."""
    match name:
        case "parallel_tool_calls":
            # There is no way to forbid them, and no need to where no tool may be called.
            return not _may_call(body)
        case "service_tier":
            return body[name] in _TIERS
        case "reasoning_effort":
            return quirks.reasoning_control in ("effort", "budget") and body[name] in {"none", *_EFFORTS}
        case "metadata" | "user":
            return _labels(body) is not None
    return False


def _history_misfits(messages: list[Mapping[str, Any]]) -> Iterator[str]:
    for i, message in enumerate(messages):
        yield from PLACES.misfits(message, f"messages[{i}]", part=part_misfits)
        for j, call in enumerate(message.get("tool_calls", ())):
            if not _TOOL_NAME.fullmatch(call["function"]["name"]):
                yield f"messages[{i}].tool_calls[{j}].function.name"
    first = next((i for i, m in enumerate(messages) if m["role"] not in ("system", "developer")), None)
    if first is not None and messages[first]["role"] == "assistant":
        # A conversation must begin with its user, and words may not be put into the user's mouth.
        yield f"messages[{first}]"


def converse_body(
    request: ChatRequest, *, drop: Set[str], max_output_tokens: int | None, quirks: Quirks
) -> dict[str, Any]:
    """The request body.  Raises InvalidRequest naming what can be neither carried nor dropped.

    Without a limit of the caller's or the target's own, the model's own maximum holds.
    """
    # Only whole fields can be dropped: a message without one of its parts would be another message.
    left = sorted(name for name in cannot_carry(request, quirks) if name not in drop or "[" in name)
    if left:
        raise InvalidRequest(f"`{left[0]}` has no equivalent in the Amazon Bedrock Converse API.", param=left[0])
    kept = replace(request, body={name: value for name, value in request.body.items() if name not in drop})
    system, turns = conversation(kept.messages)
    limit, more = _thinking(kept, kept.max_output_tokens or max_output_tokens, quirks)
    fields = {
        "system": system,
        "inferenceConfig": _inference(kept.body, limit),
        "toolConfig": _tooling(kept),
        "outputConfig": _output(kept.body, quirks),
        "requestMetadata": _labels(kept.body),
        "serviceTier": _tier(kept.body),
        "additionalModelRequestFields": more,
    }
    return {"messages": turns, **{name: value for name, value in fields.items() if value}}


def may_call(request: ChatRequest, drop: Set[str]) -> bool:
    """Whether the answer may call a tool; a conversation with calls needs tools even where it may not."""
    return _may_call({name: value for name, value in request.body.items() if name not in drop})


def _may_call(body: Mapping[str, Any]) -> bool:
    return bool(body.get("tools")) and body.get("tool_choice") != "none"


def _inference(body: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
    fields = {"maxTokens": limit, "temperature": body.get("temperature"), "topP": body.get("top_p")}
    stop = body.get("stop", [])
    stops = [text for text in ([stop] if isinstance(stop, str) else stop) if text.strip()]
    return {name: value for name, value in {**fields, "stopSequences": stops or None}.items() if value is not None}


def _tooling(request: ChatRequest) -> dict[str, Any]:
    body = request.body
    if not _may_call(body):
        called = dict.fromkeys(c["function"]["name"] for m in request.messages for c in m.get("tool_calls", ()))
        # Calls and results are only taken where tools are declared.
        stubs = [{"name": name, "description": _UNAVAILABLE, "inputSchema": {"json": _schema({})}} for name in called]
        return {"tools": [{"toolSpec": stub} for stub in stubs]} if stubs else {}
    tools = [{"toolSpec": _tool(tool["function"], f"tools[{i}].function")} for i, tool in enumerate(body["tools"])]
    wanted = body.get("tool_choice", "auto")
    if wanted == "auto":
        return {"tools": tools}
    choice = {"any": {}} if wanted == "required" else {"tool": {"name": wanted["function"]["name"]}}
    return {"tools": tools, "toolChoice": choice}


def _tool(function: Mapping[str, Any], path: str) -> dict[str, Any]:
    given = function.get("parameters") or {}
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"`{path}.parameters` must be an object.", param=f"{path}.parameters")
    spec: dict[str, Any] = {"name": function["name"], "inputSchema": {"json": _schema(given)}}
    if description := function.get("description"):
        if not isinstance(description, str):
            raise InvalidRequest(f"`{path}.description` must be a string.", param=f"{path}.description")
        spec["description"] = description
    if function.get("strict"):
        spec["strict"] = True
        spec["inputSchema"] = {"json": constrained(_schema(given))}
    return spec


def _schema(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", **(given or {"properties": {}})}


def _output(body: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    output: dict[str, Any] = {}
    wanted = body.get("response_format", {})
    if wanted.get("type") == "json_schema":
        described = wanted["json_schema"]
        # The schema travels as text.
        schema: dict[str, Any] = {"schema": encode(constrained(described["schema"])).decode()}
        schema |= {name: described[name] for name in ("name", "description") if isinstance(described.get(name), str)}
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    if quirks.reasoning_control == "effort" and (effort := _EFFORTS.get(body.get("reasoning_effort", "none"))):
        output["effort"] = effort
    return output


def _labels(body: Mapping[str, Any]) -> dict[str, str] | None:
    """The request's metadata, or None where a key or a value is not what the API takes."""
    labels = dict(body.get("metadata", {}))
    if "user" in body:
        if "user" in labels:
            return None
        labels["user"] = body["user"]
    fit = len(labels) <= _LABELS and all(
        isinstance(value, str) and _LABEL.fullmatch(name) and (not value or _LABEL.fullmatch(value))
        for name, value in labels.items()
    )
    return labels if fit else None


def _tier(body: Mapping[str, Any]) -> dict[str, str]:
    tier = body.get("service_tier", "auto")
    return {} if tier == "auto" else {"type": tier}


def _thinking(request: ChatRequest, limit: int | None, quirks: Quirks) -> tuple[int | None, dict[str, Any]]:
    """The limit of the answer, thinking included, and the model's own fields that switch thinking on, if it may be."""
    wanted = _BUDGETS.get(request.body.get("reasoning_effort", "none"))
    if quirks.reasoning_control != "budget" or wanted is None or not _may_think(request):
        return limit, {}
    if limit is None:
        limit = wanted + _ANSWER
    # The budget counts against the limit, and something must be left for the answer.
    budget = min(wanted, limit * 4 // 5)
    if budget < _LEAST_BUDGET:
        return limit, {}
    return limit, {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _may_think(request: ChatRequest) -> bool:
    body, messages = request.body, request.messages
    called = any(message["role"] == "tool" or message.get("tool_calls") for message in messages)
    forced = _may_call(body) and body.get("tool_choice", "auto") != "auto"
    sampled = body.get("temperature", 1) != 1 or body.get("top_p", 1) < 0.95
    return not (called or forced or sampled or messages[-1]["role"] == "assistant")
