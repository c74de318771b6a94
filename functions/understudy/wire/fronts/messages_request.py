"""Requests of Anthropic's Messages API: checked, translated into the chat shape, and kept as they were written.

Sources: the Anthropic API reference, "Create a Message" and "Count tokens in a Message"; the OpenAI API reference,
"Create chat completion".

A target that speaks this API is sent the caller's own body; everybody else gets the translation.  What the translation
cannot say is in `needs`, so that only a target of this API is asked, or one whose route agreed to lose it
(`may_drop`).  Three things are hints, and are lost without a word where they mean nothing:

    cache_control, diagnostics   what to keep in the provider's own cache, and why it was missed
    context_management           as far as its edits only clear old content, which saves tokens
    thinking                     leave to think, up to a bound.  No other API has such a bound, and a level would be
                                 made up, so another target thinks as it does by itself; a level that the caller
                                 does name, `output_config.effort`, is `reasoning_effort`.  An agent that always
                                 sends `thinking` can go on with anybody when its lead falls.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.chat.request import ChatRequest, Native
from understudy.chat.unary import UnaryRequest
from understudy.errors import InvalidRequest
from understudy.wire.fronts.messages_content import Turns, texts, wrong

PROTOCOL = "anthropic"
BETA = "anthropic-beta"
CHARACTERS = 4
"""Characters of a token, as the provider's own guide estimates English text."""
PICTURE = 1600
"""Tokens of a picture of the largest size that is not scaled down (Anthropic's guide, "Vision")."""

_NUMBER, _WORDS = (
    (int, float),
    {int: "an integer", float: "a number", str: "a string", list: "a list", dict: "an object"},
)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "max_tokens": (int,),
    "metadata": (dict,),
    "output_config": (dict,),
    "output_format": (dict,),
    "service_tier": (str,),
    "stop_sequences": (list,),
    "temperature": _NUMBER,
    "thinking": (dict,),
    "tool_choice": (dict,),
    "tools": (list,),
    "top_k": (int,),
    "top_p": _NUMBER,
}
_HINTS = frozenset({"cache_control", "diagnostics"})
_READ = _HINTS | _TYPES.keys() | {"model", "messages", "system", "stream", "context_management", "speed"}
_TOOL_FIELDS = frozenset(
    ["type", "name", "description", "input_schema", "strict", "cache_control", "eager_input_streaming"]
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
# The chat shape has no word for more than the highest level.
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
_THINKING = frozenset({"enabled", "adaptive", "disabled"})
_BETAS = re.compile(r"[\w.,:; -]{1,2000}", re.ASCII)
# OpenAI's longest; an identifier that is longer stays one and the same when it is hashed.
_LONGEST_USER = 64
_DEPTH = 100


def messages_request(body: object, headers: Mapping[str, str]) -> ChatRequest:
    """Check and translate a decoded body.  Raises InvalidRequest naming the field."""
    given = _given(body)
    if "max_tokens" not in given:
        raise wrong("max_tokens", "", missing=True)
    if given["max_tokens"] < 0:
        raise wrong("max_tokens", "must not be negative")
    chat, needs = _translated(given)
    return ChatRequest(given["model"], chat, native=_native(body, headers), needs=frozenset(needs))


def count_request(body: object, headers: Mapping[str, str]) -> UnaryRequest:
    """As `messages_request`, of which it checks as much; the estimate counts characters and pictures."""
    given = _given(body)
    _translated(given)
    read = list(texts({name: given.get(name) for name in ("system", "tools", "messages")}))
    pictures = sum(1 for _ in _pictures(given["messages"]))
    tokens = -(-sum(map(len, read)) // CHARACTERS) + PICTURE * pictures
    return UnaryRequest(
        "count_tokens",
        given["model"],
        {"messages": read},
        native=_native(body, headers),
        estimate={"input_tokens": tokens},
    )


def _given(body: object) -> dict[str, Any]:
    """The fields that are there, of the right types."""
    if not isinstance(body, Mapping):
        raise InvalidRequest("The body must be a JSON object.")
    given = {name: value for name, value in body.items() if value is not None}
    if not isinstance(given.get("model"), str) or not given["model"]:
        raise wrong("model", "must be the name of a route", missing="model" not in given)
    if not isinstance(given.get("messages"), list):
        raise wrong("messages", "must be a list", missing="messages" not in given)
    if not given["messages"]:
        raise wrong("messages", "must hold at least one message")
    if not isinstance(given.get("stream", False), bool):
        raise wrong("stream", "must be true or false")
    for name, types in _TYPES.items():
        if name in given and (isinstance(given[name], bool) or not isinstance(given[name], types)):
            raise wrong(name, f"must be {_WORDS[types[-1]]}")
    return given


def _native(body: object, headers: Mapping[str, str]) -> Native:
    """What the caller wrote, nulls and all, and its one header that a provider has to see: it allows what the body then
    uses."""
    betas = headers.get(BETA, "")
    if betas and not _BETAS.fullmatch(betas):
        raise InvalidRequest(f"{BETA}: must be a list of names, such as `a-2025-01-01,b-2025-02-02`.", param=BETA)
    return Native(PROTOCOL, body if isinstance(body, Mapping) else {}, {BETA: betas} if betas else {})


def _translated(given: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The body in the chat shape, and what has no place in it."""
    turns = Turns()
    try:
        if "system" in given:
            turns.instruct(given["system"], "system")
        for i, message in enumerate(given["messages"]):
            turns.add(message, f"messages.{i}")
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except ValueError:
        raise InvalidRequest("The body holds a number that JSON cannot express.") from None
    needs = turns.needs
    if given["messages"][-1]["role"] == "assistant":
        # An answer that is begun: another API would answer anew.
        needs.add(f"messages.{len(given['messages']) - 1}")
    chat: dict[str, Any] = {"model": given["model"], "messages": turns.messages}
    if given.get("max_tokens"):
        chat["max_tokens"] = given["max_tokens"]
    elif "max_tokens" in given:
        # Nothing is to be generated: it only fills the provider's cache.
        needs.add("max_tokens")
    chat.update({name: given[name] for name in ("stream", "temperature", "top_p") if name in given})
    chat.update(_stops(given))
    chat.update(_tools(given, needs))
    chat.update(_user(given, needs))
    chat.update(_output(given, needs))
    needs.update(_unsaid(given))
    return chat, needs


def _stops(given: Mapping[str, Any]) -> dict[str, Any]:
    stops = given.get("stop_sequences") or []
    if not all(isinstance(stop, str) for stop in stops):
        raise wrong("stop_sequences", "must hold only strings")
    return {"stop": stops} if stops else {}


def _tools(given: Mapping[str, Any], needs: set[str]) -> dict[str, Any]:
    tools = [_tool(tool, f"tools.{i}", needs) for i, tool in enumerate(given.get("tools") or ())]
    fields: dict[str, Any] = {"tools": known} if (known := [tool for tool in tools if tool]) else {}
    choice = given.get("tool_choice")
    if choice is None:
        return fields
    kind = choice.get("type")
    if kind == "tool":
        if not isinstance(choice.get("name"), str):
            raise wrong("tool_choice.name", "must be a string", missing=choice.get("name") is None)
        fields["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif not isinstance(kind, str) or kind not in _CHOICES:
        raise wrong("tool_choice.type", "must be `auto`, `any`, `tool` or `none`", missing=kind is None)
    elif kind != "auto":
        fields["tool_choice"] = _CHOICES[kind]
    if choice.get("disable_parallel_tool_use") and known:
        fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: object, path: str, needs: set[str]) -> dict[str, Any] | None:
    """A function, or None where it is a tool that only this API's providers know."""
    if not isinstance(tool, Mapping):
        raise wrong(path, "must be an object")
    if tool.get("type") not in (None, "custom"):
        needs.add(path)
        return None
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not name:
        raise wrong(f"{path}.name", "must be a string", missing=name is None)
    if not isinstance(schema, Mapping):
        raise wrong(f"{path}.input_schema", "must be an object", missing=schema is None)
    function: dict[str, Any] = {"name": name, "parameters": schema}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    if tool.get("strict") and strict_as_well(schema):
        function["strict"] = True
    if tool.get("allowed_callers") not in (None, [], ["direct"]):
        needs.add(f"{path}.allowed_callers")
    unknown = tool.keys() - _TOOL_FIELDS - {"allowed_callers"}
    needs.update(f"{path}.{field}" for field in unknown if tool[field] not in (None, False, [], {}))
    return {"type": "function", "function": function}


def _user(given: Mapping[str, Any], needs: set[str]) -> dict[str, Any]:
    metadata = given.get("metadata", {})
    needs.update(f"metadata.{name}" for name in metadata.keys() - {"user_id"} if metadata[name] is not None)
    user = metadata.get("user_id")
    if not isinstance(user, str | None):
        raise wrong("metadata.user_id", "must be a string")
    if user and len(user) > _LONGEST_USER:
        user = hashlib.sha256(user.encode()).hexdigest()
    return {"user": user} if user else {}


def _output(given: Mapping[str, Any], needs: set[str]) -> dict[str, Any]:
    config = given.get("output_config", {})
    fields: dict[str, Any] = {}
    wanted, path = config.get("format"), "output_config.format"
    if wanted is None:
        wanted, path = given.get("output_format"), "output_format"
    if wanted is not None:
        schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
        if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema" and isinstance(schema, Mapping):
            described = {"name": "answer", "schema": schema}
            fields["response_format"] = {
                "type": "json_schema",
                "json_schema": described | ({"strict": True} if strict_as_well(schema) else {}),
            }
        else:
            needs.add(path)
    effort = config.get("effort")
    if isinstance(effort, str) and effort in _EFFORTS:
        fields["reasoning_effort"] = _EFFORTS[effort]
    elif effort is not None:
        needs.add("output_config.effort")
    unknown = config.keys() - {"format", "effort"}
    needs.update(f"output_config.{name}" for name in unknown if config[name] is not None)
    if given.get("service_tier") == "standard_only":
        fields["service_tier"] = "default"
    elif given.get("service_tier", "auto") != "auto":
        needs.add("service_tier")
    return fields


def _unsaid(given: Mapping[str, Any]) -> Iterator[str]:
    """Fields of their own that the chat shape has no place for."""
    if "top_k" in given:
        yield "top_k"
    if str(given.get("thinking", {}).get("type", "disabled")) not in _THINKING:
        yield "thinking"
    if given.get("speed", "standard") != "standard":
        yield "speed"
    if "context_management" in given and not _only_clears(given["context_management"]):
        yield "context_management"
    yield from (name for name in given.keys() - _READ if given[name] not in ([], {}, False))


def _only_clears(management: object) -> bool:
    edits = management.get("edits", []) if isinstance(management, Mapping) else None
    return isinstance(edits, list) and all(
        isinstance(edit, Mapping) and str(edit.get("type")).startswith("clear_") for edit in edits
    )


def strict_as_well(schema: object, depth: int = _DEPTH) -> bool:
    """Whether OpenAI's strict mode takes the schema: every object is closed and all its properties are required.

    Where it does not, the schema is sent without it: this API guarantees more schemas than that one.
    """
    if not depth:
        return False
    if isinstance(schema, list):
        return all(strict_as_well(inner, depth - 1) for inner in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        required = schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(properties, Mapping):
            return False
        if not isinstance(required, list) or sorted(map(str, required)) != sorted(properties):
            return False
    named = [schema[name] for name in ("properties", "$defs", "definitions") if isinstance(schema.get(name), Mapping)]
    inner = [one for group in named for one in group.values()]
    inner += [schema[name] for name in ("items", "anyOf", "allOf", "oneOf") if name in schema]
    return all(strict_as_well(one, depth - 1) for one in inner)


def _pictures(value: Any, depth: int = 64) -> Iterator[None]:
    if isinstance(value, Mapping) and value.get("type") == "image":
        yield None
    elif depth and isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _pictures(inner, depth - 1)
