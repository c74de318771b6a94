"""From a Responses request to the canonical chat request.

Source: the OpenAI API reference, "Create a model response".  What each field becomes:

    input, instructions          messages (understudy.wire.fronts.responses_items); instructions lead as `system`
    tools, tool_choice           chat's own shape; a custom tool of free text becomes a function of one string
    text.format, text.verbosity  response_format, verbosity
    reasoning.effort             reasoning_effort
    max_output_tokens            max_completion_tokens
    include, top_logprobs        logprobs, top_logprobs
    temperature, top_p, user, …  themselves

`store` and `metadata` speak of the stored response and go to targets that speak this API only: a translated answer is
stored nowhere (it says `store: false`) and repeats the metadata.  `reasoning.summary` is a hint; a translated answer
has the thinking that its provider shows.  Everything else is named in `ChatRequest.needs`, so that a target which
cannot be sent the request as it is is not sent half of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from understudy.chat.bound import NOBODY, read
from understudy.chat.request import ChatRequest, Native, chat_request, wrong
from understudy.errors import InvalidRequest
from understudy.wire.fronts.responses_checks import listed, mapping, string
from understudy.wire.fronts.responses_items import Conversation

PROTOCOL = "responses"
INPUT = "input"

# Named and meant as in a chat request.
_SAME = frozenset(
    [
        "model",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream",
        "temperature",
        "top_p",
        "user",
    ]
)
# What the response object answers for; see the module.
_HERE = frozenset({"store", "metadata"})
_NO_OPS: Mapping[str, object] = {"background": False, "context_management": [], "truncation": "disabled"}
_TOOL = frozenset({"type", "name", "description", "parameters", "strict"})
_TOOL_NO_OPS: Mapping[str, object] = {"allowed_callers": ["direct"], "async": False, "defer_loading": False}
_CUSTOM = frozenset({"type", "name", "description", "format"})
_REASONING_NO_OPS: Mapping[str, object] = {"context": "auto", "mode": "standard"}
_HINTS = frozenset({"summary", "generate_summary"})
_LOGPROBS = "message.output_text.logprobs"
# Each only adds to something that a request must ask for elsewhere.
_INCLUDES = frozenset(
    [
        _LOGPROBS,
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "web_search_call.results",
    ]
)
# Stands for a conversation that only the target has; it is sent to nobody.
_ELSEWHERE = {"role": "user", "content": ""}


def responses_request(body: object) -> ChatRequest:
    """Check and translate a decoded body.  Raises InvalidRequest naming the field."""
    if not isinstance(body, Mapping):
        raise InvalidRequest("The body must be a JSON object.")
    given = {name: value for name, value in body.items() if value is not None}
    if not given.get("model"):
        raise wrong("model", "the name of a route", given.get("model"))
    translation = _Translation(given)
    canonical, found = translation.body, translation.conversation
    canonical["messages"] = found.messages
    if not found.messages:
        if not found.needs and not given.get(INPUT):
            raise InvalidRequest("`input` must hold something to answer.", param=INPUT, code="invalid_type")
        found.needs.add(INPUT)
        canonical["messages"] = [_ELSEWHERE]
    return replace(
        chat_request(canonical), native=Native(PROTOCOL, body), needs=frozenset(found.needs), owned=found.owned
    )


class _Translation:
    """The canonical body of a request without its messages, and the conversation with all that has no place in it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.conversation = Conversation()
        self.needs = self.conversation.needs
        self.body: dict[str, Any] = {}
        if "instructions" in given:
            leading = {"role": "system", "content": string(given["instructions"], "instructions")}
            self.conversation.messages.append(leading)
        read_as = {
            INPUT: self.conversation.read,
            "instructions": lambda _: None,
            "include": self._include,
            "max_output_tokens": self._limit,
            "max_tool_calls": self._tool_limit,
            "previous_response_id": self._previous,
            "reasoning": self._reasoning,
            "stream_options": self._stream_options,
            "text": self._text,
            "tools": self._tools,
            "top_logprobs": self._top_logprobs,
        }
        for name, value in given.items():
            if name in read_as:
                read_as[name](value)
            elif name in _SAME:
                self.body[name] = value
            elif name not in _HERE | {"tool_choice", "parallel_tool_calls"} and value != _NO_OPS.get(name):
                self.needs.add(name)
        for name in ("prompt_cache_key", "safety_identifier"):
            string(given.get(name, ""), name)
        self._choose(given)

    def _include(self, value: object) -> None:
        named = listed(value, "include")
        if not all(isinstance(one, str) and one in _INCLUDES for one in named):
            self.needs.add("include")
        if _LOGPROBS in named:
            self.body["logprobs"] = True

    def _top_logprobs(self, value: object) -> None:
        if value != 0 or isinstance(value, bool):
            self.body |= {"logprobs": True, "top_logprobs": value}

    def _limit(self, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong("max_output_tokens", "an integer", value)
        if value < 1:
            raise InvalidRequest(f"`max_output_tokens` must be at least 1, not {value}.", param="max_output_tokens")
        self.body["max_completion_tokens"] = value

    def _tool_limit(self, value: object) -> None:
        """It counts only the calls of tools that the provider runs, which `tools` must have."""
        if not isinstance(value, int):
            raise wrong("max_tool_calls", "an integer", value)

    def _previous(self, value: object) -> None:
        name = "previous_response_id"
        owner, _ = read(string(value, name))
        if owner == NOBODY:
            raise InvalidRequest(
                f"`{name}` names an answer that was translated and is stored nowhere; send the conversation in "
                "`input` instead.",
                param=name,
                code="previous_response_not_found",
            )
        self.needs.add(name)
        if owner:
            self.conversation.owned[name] = owner

    def _reasoning(self, value: object) -> None:
        for name, wanted in mapping(value, "reasoning").items():
            if name == "effort" and wanted is not None:
                self.body["reasoning_effort"] = string(wanted, "reasoning.effort")
            elif wanted is not None and name not in {"effort"} | _HINTS and wanted != _REASONING_NO_OPS.get(name):
                self.needs.add(f"reasoning.{name}")

    def _stream_options(self, value: object) -> None:
        # Obfuscation pads events against those who measure their lengths; a translated answer has none.
        for name, wanted in mapping(value, "stream_options").items():
            if wanted is not None and name != "include_obfuscation":
                self.needs.add(f"stream_options.{name}")

    def _text(self, value: object) -> None:
        for name, wanted in mapping(value, "text").items():
            if name == "verbosity" and wanted is not None:
                self.body["verbosity"] = string(wanted, "text.verbosity")
            elif name == "format" and wanted is not None:
                self._format(mapping(wanted, "text.format"))
            elif wanted is not None:
                self.needs.add(f"text.{name}")

    def _format(self, wanted: Mapping[str, Any]) -> None:
        kind = string(wanted.get("type"), "text.format.type")
        if kind == "json_schema":
            string(wanted.get("name"), "text.format.name")
            mapping(wanted.get("schema"), "text.format.schema")
            described = {name: value for name, value in wanted.items() if name != "type" and value is not None}
            self.body["response_format"] = {"type": kind, kind: described}
        elif kind == "json_object":
            self.body["response_format"] = {"type": kind}
        elif kind != "text":
            self.needs.add("text.format")

    def _tools(self, value: object) -> None:
        tools = []
        for i, one in enumerate(listed(value, "tools")):
            path = f"tools[{i}]"
            tool = {name: said for name, said in mapping(one, path).items() if said is not None}
            kind = string(tool.get("type"), f"{path}.type")
            if kind == "function" or (kind == "custom" and is_plain(tool)):
                string(tool.get("name"), f"{path}.name")
                known = _TOOL if kind == "function" else _CUSTOM
                for name in tool.keys() - known:
                    if tool[name] != _TOOL_NO_OPS.get(name):
                        self.needs.add(f"{path}.{name}")
                tools.append(_function(tool))
            else:
                self.needs.add(path)
        if tools:
            self.body["tools"] = tools

    def _choose(self, given: Mapping[str, Any]) -> None:
        """The choice among tools; where there are none nothing can be chosen, and servers refuse to be told so."""
        choice = given.get("tool_choice", "auto")
        if not isinstance(choice, str | Mapping):
            raise wrong("tool_choice", "a string or an object", choice)
        chosen = choice if isinstance(choice, str) else _choice(choice)
        if chosen is None:
            self.needs.add("tool_choice")
        elif "tool_choice" in given and ("tools" in self.body or chosen not in ("auto", "none")):
            self.body["tool_choice"] = chosen
        parallel = given.get("parallel_tool_calls", True)
        if not isinstance(parallel, bool):
            raise wrong("parallel_tool_calls", "true or false", parallel)
        if "parallel_tool_calls" in given and "tools" in self.body:
            self.body["parallel_tool_calls"] = parallel


def is_plain(tool: Mapping[str, Any]) -> bool:
    """Whether a custom tool takes any text, so that a function of one string says the same."""
    wanted = tool.get("format")
    return wanted is None or (isinstance(wanted, Mapping) and wanted.get("type") == "text")


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {name: tool[name] for name in ("name", "description", "parameters", "strict") if name in tool}
    if tool["type"] == "custom":
        function["parameters"] = {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
            "additionalProperties": False,
        }
    return {"type": "function", "function": function}


def _choice(choice: Mapping[str, Any]) -> dict[str, Any] | None:
    """The choice as chat has it; None where chat has no such thing."""
    kind = string(choice.get("type"), "tool_choice.type")
    if kind != "allowed_tools":
        return _named(choice, "tool_choice")
    path = "tool_choice.tools"
    allowed = [_named(mapping(one, path), path) for one in listed(choice.get("tools"), path)]
    if None in allowed:
        return None
    return {"type": kind, kind: {"mode": choice.get("mode", "auto"), "tools": allowed}}


def _named(choice: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    if string(choice.get("type"), f"{path}.type") not in ("function", "custom"):
        return None
    return {"type": "function", "function": {"name": string(choice.get("name"), f"{path}.name")}}
