"""From a chat request to the body of the Gemini API's generateContent.

Sources: the Gemini API reference, "Generating content", and its guides "Function calling", "Structured output",
"Gemini thinking" and "OpenAI compatibility".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.errors import InvalidRequest
from understudy.wire.base import Quirks
from understudy.wire.gemini_contents import contents, message_misfits

MOST_STOPS = 5
MOST_CANDIDATES = 8
MOST_LOGPROBS = 20

# Fields that are put under another name of `generationConfig` as they are.
_SAME: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "top_logprobs": "logprobs",
}
_TRANSLATED = frozenset(
    [
        *_SAME,
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "service_tier",
        "stream",
        "stream_options",
    ]
)
# Values that ask for what happens anyway.
_NO_OPS: Mapping[str, object] = {"store": False, "logit_bias": {}, "metadata": {}, "user": "", "modalities": ["text"]}
_TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}
# Tokens, as the provider's own OpenAI-compatible endpoint gives them.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_EFFORTS: Mapping[str, Mapping[str, object]] = {"effort": _LEVELS, "budget": _BUDGETS}
_MODES = {"none": "NONE", "required": "ANY"}
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_SEEDS = range(-(2**31), 2**31)


def cannot_carry(request: ChatRequest, quirks: Quirks) -> Set[str]:
    """Names of what generateContent has no place for.  Looks at shapes only, never into texts."""
    body = request.body
    names = {name for name in body.keys() - _TRANSLATED if name not in _NO_OPS or body[name] != _NO_OPS[name]}
    names.update(name for name, carried in _checks(body, quirks) if not carried)
    for i, tool in enumerate(body.get("tools", ())):
        names.update(_tool_misfits(tool, f"tools[{i}]"))
    for i, message in enumerate(request.messages):
        names.update(message_misfits(message, f"messages[{i}]", image_urls=quirks.image_urls))
    return names


def _checks(body: Mapping[str, Any], quirks: Quirks) -> Iterator[tuple[str, bool]]:
    """Each field that is carried with some of its values only, and whether this is one of them."""
    has_tools = bool(body.get("tools"))
    efforts = _EFFORTS.get(quirks.reasoning_control, {})
    yield "stop", len(_stops(body)) <= MOST_STOPS
    yield "n", body.get("n", 1) <= MOST_CANDIDATES
    yield "seed", body.get("seed", 0) in _SEEDS
    yield "top_logprobs", body.get("top_logprobs", 0) in range(MOST_LOGPROBS + 1 if body.get("logprobs") else 1)
    yield "reasoning_effort", "reasoning_effort" not in body or body["reasoning_effort"] in efforts
    yield "service_tier", body.get("service_tier", "auto") in ("auto", *_TIERS)
    yield "response_format", _carries_format(body.get("response_format", {}))
    yield "tool_choice", _carries_choice(body.get("tool_choice", "auto"), has_tools)
    # There is no switch for it.
    yield "parallel_tool_calls", body.get("parallel_tool_calls", True) or not has_tools


def _carries_format(wanted: Mapping[str, Any]) -> bool:
    if wanted.get("type") == "json_schema":
        described = wanted.get("json_schema")
        return isinstance(described, Mapping) and isinstance(described.get("schema"), Mapping)
    return wanted.get("type", "text") in ("text", "json_object")


def _carries_choice(choice: object, has_tools: bool) -> bool:
    if isinstance(choice, Mapping):
        return has_tools and _allowed(choice) is not None
    return choice in ("auto", "none") or (choice == "required" and has_tools)


def _allowed(choice: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """The mode and the functions of a choice that names some; None where it names none.

    Two shapes: one function, and OpenAI's `allowed_tools` with the mode `auto` or `required`.
    """
    mode, tools = "ANY", [choice]
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        allowed = inner if isinstance(inner, Mapping) else {}
        mode = {"auto": "VALIDATED", "required": "ANY"}.get(str(allowed.get("mode")), "")
        tools = allowed["tools"] if isinstance(allowed.get("tools"), list) else []
    names = [name for tool in tools if (name := _function_name(tool)) is not None]
    return (mode, names) if mode and names and len(names) == len(tools) else None


def _function_name(tool: object) -> str | None:
    function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _tool_misfits(tool: Mapping[str, Any], path: str) -> Iterator[str]:
    if tool.get("type") != "function":
        yield path
        return
    function = tool["function"]
    for name in function.keys() - _FUNCTION_FIELDS:
        if function[name] is not None:
            yield f"{path}.function.{name}"
    if not _FUNCTION_NAME.fullmatch(function["name"]):
        yield f"{path}.function.name"


def generate_body(request: ChatRequest, *, drop: Set[str], quirks: Quirks) -> dict[str, Any]:
    """The request body.  Raises InvalidRequest naming what can be neither carried nor dropped."""
    # Only whole fields can be dropped: a message without one of its parts would be another message.
    left = sorted(name for name in cannot_carry(request, quirks) if name not in drop or "[" in name)
    if left:
        raise InvalidRequest(_why(left[0]), param=left[0])
    kept = replace(request, body={name: value for name, value in request.body.items() if name not in drop})
    system, turns = contents(kept.messages, owner=quirks.owner)
    body: dict[str, Any] = {"contents": turns}
    if system:
        body["systemInstruction"] = {"parts": system}
    body.update(_tooling(kept.body))
    if config := _config(kept, quirks):
        body["generationConfig"] = config
    if tier := _TIERS.get(kept.body.get("service_tier", "auto")):
        body["serviceTier"] = tier
    return body


def _why(name: str) -> str:
    limits = {"stop": f"more than {MOST_STOPS} strings", "n": f"more than {MOST_CANDIDATES} answers"}
    if name in limits:
        return f"`{name}` asks for {limits[name]}, which the Gemini API does not take."
    return f"`{name}` has no equivalent in the Gemini API."


def _config(request: ChatRequest, quirks: Quirks) -> dict[str, Any]:
    body = request.body
    config = {theirs: body[ours] for ours, theirs in _SAME.items() if ours in body}
    if not body.get("logprobs"):
        config.pop("logprobs", None)
    else:
        config["responseLogprobs"] = True
    if request.max_output_tokens is not None:
        config["maxOutputTokens"] = request.max_output_tokens
    if stops := _stops(body):
        config["stopSequences"] = stops
    if request.is_structured:
        config["responseMimeType"] = "application/json"
    if request.needs_json_schema:
        config["responseJsonSchema"] = _response_schema(body["response_format"]["json_schema"])
    if "reasoning_effort" in body:
        config["thinkingConfig"] = _thinking(body["reasoning_effort"], quirks.reasoning_control)
    return config


def _stops(body: Mapping[str, Any]) -> list[str]:
    """Without empty ones, which the API refuses; white space may end an answer."""
    stop = body.get("stop", [])
    return [text for text in ([stop] if isinstance(stop, str) else stop) if text]


def _response_schema(described: Mapping[str, Any]) -> dict[str, Any]:
    """The name is a label without effect, and the API is always strict; the description is kept in the schema."""
    schema = dict(described["schema"])
    if described.get("description"):
        schema.setdefault("description", described["description"])
    return schema


def _thinking(effort: str, control: str) -> dict[str, Any]:
    name = {"effort": "thinkingLevel", "budget": "thinkingBudget"}[control]
    value = _EFFORTS[control][effort]
    # Whoever asks for thinking is shown it; thinking that is switched off has nothing to show.
    return {name: value, "includeThoughts": True} if value else {name: value}


def _tooling(body: Mapping[str, Any]) -> dict[str, Any]:
    if not body.get("tools"):
        return {}
    functions = [_declaration(tool["function"], f"tools[{i}].function") for i, tool in enumerate(body["tools"])]
    fields: dict[str, Any] = {"tools": [{"functionDeclarations": functions}]}
    # Calls are held to their schemas in every mode but the default one.
    strict = any(tool["function"].get("strict") for tool in body["tools"])
    calling: dict[str, Any] = {"mode": "VALIDATED"} if strict else {}
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, Mapping):
        mode, names = _allowed(choice) or ("ANY", [])
        calling = {"mode": mode, "allowedFunctionNames": names}
    elif choice in _MODES:
        calling = {"mode": _MODES[choice]}
    if calling:
        fields["toolConfig"] = {"functionCallingConfig": calling}
    return fields


def _declaration(function: Mapping[str, Any], path: str) -> dict[str, Any]:
    declaration = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    schema = function.get("parameters")
    if not isinstance(schema, Mapping | None):
        raise InvalidRequest(f"`{path}.parameters` must be an object.", param=f"{path}.parameters")
    if schema:
        declaration["parametersJsonSchema"] = {"type": "object", **schema}
    return declaration
