"""A chat request in the OpenAI shape, checked once.

The body is kept as the caller wrote it (minus explicit nulls, which mean "absent"), so that a target of the same
wire can be given exactly that.  Only what the router itself reads is checked; what a field means is the provider's
business.  Source of the shape: the OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.errors import InvalidRequest

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

GO_ON = "Your last message broke off. Continue it from exactly where it stops: repeat nothing and do not comment."
"""What a route that opted in lets the router say in the caller's name."""

# What each field must be where it is given; a field that is not here is unknown and passed through as it is.
_NUMBER = (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "frequency_penalty": _NUMBER,
    "logit_bias": (dict,),
    "logprobs": (bool,),
    "max_completion_tokens": (int,),
    "max_tokens": (int,),
    "metadata": (dict,),
    "n": (int,),
    "parallel_tool_calls": (bool,),
    "presence_penalty": _NUMBER,
    "reasoning_effort": (str,),
    "response_format": (dict,),
    "seed": (int,),
    "service_tier": (str,),
    "stop": (str, list),
    "store": (bool,),
    "stream": (bool,),
    "stream_options": (dict,),
    "temperature": _NUMBER,
    "tool_choice": (str, dict),
    "tools": (list,),
    "top_logprobs": (int,),
    "top_p": _NUMBER,
    "user": (str,),
}
_WORDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
}


@dataclass(frozen=True, slots=True)
class Native:
    """A request as its caller wrote it in another protocol: `protocol` is that of the wire which could send it on.

    `headers` are those of the caller's that belong to the protocol and are sent on with it; names are lower case.
    """

    protocol: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One checked request.  `body` is the caller's object without nulls; `model` is the route it names.

    `native` is what the caller wrote, where that was not this shape; a wire of the same protocol sends it on and takes
    from `body` only what was `appended`: messages of the router's own, which are the last ones of `body` too.
    `needs` names what of the caller's own request has no place in `body`, so that only a wire which sends `native` on
    can carry it: the names of its fields, such as `previous_response_id`.  `owned` are those of them that one target
    alone can serve, each with its owner (understudy.chat.bound).
    """

    model: str
    body: Mapping[str, Any]
    native: Native | None = None
    appended: tuple[Mapping[str, Any], ...] = ()
    needs: frozenset[str] = frozenset()
    owned: Mapping[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        messages: list[Mapping[str, Any]] = self.body["messages"]
        return messages

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream", False))

    @property
    def include_usage(self) -> bool:
        """Whether a streaming caller asked for the usage chunk."""
        return bool(self.body.get("stream_options", {}).get("include_usage", False))

    @property
    def max_output_tokens(self) -> int | None:
        value = self.body.get("max_completion_tokens", self.body.get("max_tokens"))
        return value if isinstance(value, int) else None

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return int(self.body.get("n", 1))

    @property
    def needs_tools(self) -> bool:
        return bool(self.body.get("tools")) or any(m.get("tool_calls") for m in self.messages)

    @property
    def part_types(self) -> Mapping[str, str]:
        """The kinds of content parts (`image_url`, `input_audio`, `file`), each with the path of its first one."""
        found: dict[str, str] = {}
        for i, message in enumerate(self.messages):
            content = message.get("content")
            for j, part in enumerate(content if isinstance(content, list) else ()):
                found.setdefault(part["type"], f"messages[{i}].content[{j}]")
        return found

    @property
    def needs_json_schema(self) -> bool:
        return bool(self.body.get("response_format", {}).get("type") == "json_schema")

    @property
    def is_structured(self) -> bool:
        """Whether the answer is to be JSON, of which a part is worth nothing."""
        return bool(self.body.get("response_format", {}).get("type", "text") != "text")

    def continuing(self, text: str, prefill: str, written: int) -> ChatRequest:
        """The request that asks for what follows `text`, in the way that `catalog.Capabilities.prefill` names.

        `written` tokens of the answer's limit are used up by the text.
        """
        begun: dict[str, Any] = {"role": "assistant", "content": text}
        more: dict[str, Any] = {}
        if prefill == "prefix":
            # Chat prefix completion of DeepSeek and Mistral, as their API references have it.
            begun["prefix"] = True
        elif prefill == "continue_final_message":
            # vLLM's OpenAI-compatible server, "Extra parameters".
            more = {"continue_final_message": True, "add_generation_prompt": False}
        return self._going_on([begun], more, written)

    def asking_to_go_on(self, text: str, written: int) -> ChatRequest:
        """The request that asks in words for what follows `text`."""
        begun = {"role": "assistant", "content": text}
        return self._going_on([begun, {"role": "user", "content": GO_ON}], {}, written)

    def _going_on(self, messages: list[dict[str, Any]], more: Mapping[str, Any], written: int) -> ChatRequest:
        limits = {n: max(1, self.body[n] - written) for n in ("max_tokens", "max_completion_tokens") if n in self.body}
        body = {**self.body, **limits, **more, "messages": [*self.messages, *messages]}
        return replace(self, body=body, appended=(*self.appended, *messages))

    @property
    def size(self) -> int:
        """Characters of text in the messages: a lower bound for tokens is a quarter of it."""
        return sum(_text_length(message.get("content")) for message in self.messages)


def chat_request(body: object) -> ChatRequest:
    """Check a decoded JSON body.  Raises InvalidRequest naming the field, what it is and what it should be."""
    if not isinstance(body, Mapping):
        raise InvalidRequest(f"The body must be a JSON object, not {_word(body)}.")
    given = {name: value for name, value in body.items() if value is not None}
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise wrong("model", "the name of a route", model)
    _check_fields(given)
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "a list with at least one message", messages)
    given["messages"] = [_message(message, f"messages[{i}]") for i, message in enumerate(messages)]
    return ChatRequest(model=model, body=given)


def _check_fields(given: Mapping[str, Any]) -> None:
    for name, types in _TYPES.items():
        value = given.get(name)
        if value is not None and not _is(value, types):
            raise wrong(name, " or ".join(dict.fromkeys(_WORDS[t] for t in types)), value)
    for name in ("max_tokens", "max_completion_tokens", "n"):
        if name in given and given[name] < 1:
            raise InvalidRequest(f"`{name}` must be at least 1, not {given[name]}.", param=name)
    stop = given.get("stop")
    if isinstance(stop, list) and not all(isinstance(s, str) for s in stop):
        raise InvalidRequest("`stop` must hold only strings.", param="stop")
    options = given.get("stream_options", {}).get("include_usage")
    if not isinstance(options, bool | None):
        raise wrong("stream_options.include_usage", "true or false", options)
    for i, tool in enumerate(given.get("tools") or ()):
        _check_tool(tool, f"tools[{i}]")


def _check_tool(tool: object, path: str) -> None:
    if not isinstance(tool, Mapping):
        raise wrong(path, "an object", tool)
    if tool.get("type") == "function":
        function = tool.get("function")
        if not isinstance(function, Mapping):
            raise wrong(f"{path}.function", "an object", function)
        if not isinstance(function.get("name"), str):
            raise wrong(f"{path}.function.name", "a string", function.get("name"))


def _message(message: object, path: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise wrong(path, "an object", message)
    kept = {name: value for name, value in message.items() if value is not None}
    role = kept.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise wrong(f"{path}.role", "one of " + ", ".join(sorted(ROLES)), role)
    content = kept.get("content")
    if isinstance(content, list):
        for i, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise wrong(f"{path}.content[{i}]", "an object with a `type`", part)
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise wrong(f"{path}.content[{i}].text", "a string", part.get("text"))
    elif not isinstance(content, str | None):
        raise wrong(f"{path}.content", "a string or a list of parts", content)
    elif content is None and role not in ("assistant", "function"):
        raise wrong(f"{path}.content", "a string or a list of parts", None)
    _check_calls(kept.get("tool_calls"), f"{path}.tool_calls")
    if role == "tool" and not isinstance(kept.get("tool_call_id"), str):
        raise wrong(f"{path}.tool_call_id", "the id of the call it answers", kept.get("tool_call_id"))
    return kept


def _check_calls(calls: object, path: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise wrong(path, "a list", calls)
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if call is None or not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise wrong(f"{path}[{i}]", "an object with `id` and `function.name`", call)


def _is(value: object, types: tuple[type, ...]) -> bool:
    # In Python True is an int; in JSON it is not a number.
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types)


def wrong(path: str, wanted: str, value: object) -> InvalidRequest:
    """The error that names the field, what it should be and what it is."""
    found = "it is missing" if value is None else f"it is {_word(value)}"
    return InvalidRequest(f"`{path}` must be {wanted}; {found}.", param=path, code="invalid_type")


def _word(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return next((word for kind, word in _WORDS.items() if type(value) is kind), "null")


def _text_length(content: object) -> int:
    texts = [part.get("text") for part in content] if isinstance(content, list) else [content]
    return sum(len(text) for text in texts if isinstance(text, str))
