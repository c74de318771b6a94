"""What a Responses request becomes in the canonical shape, and what of it has no place there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.bound import NOBODY, marked, marked_id
from understudy.chat.request import ChatRequest
from understudy.errors import InvalidRequest
from understudy.wire import WIRES
from understudy.wire.fronts import FRONTS

FRONT = FRONTS["/responses"]
OWNER = "1f2e3d4c"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "name": "look", "description": "looks", "parameters": SCHEMA, "strict": True}


def read(**fields: Any) -> ChatRequest:
    request = FRONT.read(json.dumps({"model": "chat", "input": "hi"} | fields).encode(), {})
    assert isinstance(request, ChatRequest)
    return request


def messages(*items: Any, **fields: Any) -> list[Any]:
    request = read(input=list(items), **fields)
    assert frozenset() == request.needs
    return [dict(message) for message in request.messages]


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def call(name: str = "c1", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": name, "name": "look", "arguments": "{}", "status": "completed"} | fields


def output(name: str = "c1", said: Any = "fine") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": name, "output": said}


def called(*names: str, content: Any = None) -> dict[str, Any]:
    told = [{"id": n, "type": "function", "function": {"name": "look", "arguments": "{}"}} for n in names]
    return ({} if content is None else {"content": content}) | {"role": "assistant", "tool_calls": told}


def result(name: str = "c1", said: Any = "fine") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": said}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


URL, DATA = "https://example.com/a.png", "data:image/png;base64,AAAA"
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
SPOKEN = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "final_answer"}
OUTPUT_TEXT = {"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}
CONVERSATIONS: dict[str, tuple[list[Any], list[Any]]] = {
    "roles": (
        [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant")],
        [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant")],
    ),
    "one text is a string": ([user({"type": "input_text", "text": "a"})], [{"role": "user", "content": "a"}]),
    "texts": (
        [user({"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"})],
        [user(text("a"), text("b"))],
    ),
    "images": (
        [
            user(
                {"type": "input_image", "image_url": URL, "detail": "auto"},
                {"type": "input_image", "image_url": DATA, "detail": "low", "file_id": None},
            )
        ],
        [
            user(
                {"type": "image_url", "image_url": {"url": URL}},
                {"type": "image_url", "image_url": {"url": DATA, "detail": "low"}},
            )
        ],
    ),
    "a file and a sound": (
        [
            user(
                {"type": "input_file", "file_data": "data:a", "filename": "a.pdf"},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
            )
        ],
        [
            user(
                {"type": "file", "file": {"file_data": "data:a", "filename": "a.pdf"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
            )
        ],
    ),
    "an echoed answer": (
        [SPOKEN | {"content": [OUTPUT_TEXT]}, SPOKEN | {"content": [{"type": "refusal", "refusal": "no"}]}],
        [
            {"role": "assistant", "content": "yes"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ],
    ),
    "thinking is left out": ([THOUGHT, call(), output()], [called("c1"), result()]),
    "calls of one turn are one message": (
        [SPOKEN | {"content": [OUTPUT_TEXT]}, call("c1"), call("c2"), output("c1"), output("c2")],
        [called("c1", "c2", content="yes"), result("c1"), result("c2")],
    ),
    "calls of two turns are two": (
        [call("c1"), output("c1"), call("c2"), output("c2")],
        [called("c1"), result("c1"), called("c2"), result("c2")],
    ),
    "words between a call and its result": (
        [call(), SPOKEN | {"content": [OUTPUT_TEXT]}, output()],
        [called("c1", content=[text("yes")]), result()],
    ),
    "a question between a call and its result": (
        [call(), {"role": "user", "content": "and?"}, output()],
        [called("c1"), result(), {"role": "user", "content": "and?"}],
    ),
    "a result in parts": (
        [call(), output(said=[{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": URL}])],
        [called("c1"), result(said=[text("a"), {"type": "image_url", "image_url": {"url": URL}}])],
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_items_become_messages(name: str) -> None:
    """Each kind of item is the message that says the same."""
    items, expected = CONVERSATIONS[name]
    assert expected == messages(*items)


def test_instructions_lead() -> None:
    """They stand before the conversation, as the API puts them."""
    expected = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    assert expected == read(instructions="Be kind.").messages


FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
    ({"temperature": 0.5, "top_p": 0.1, "user": "u"}, {"temperature": 0.5, "top_p": 0.1, "user": "u"}),
    ({"service_tier": "flex", "safety_identifier": "s"}, {"service_tier": "flex", "safety_identifier": "s"}),
    ({"prompt_cache_key": "k", "prompt_cache_retention": "24h"},) * 2,
    ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
    ({"text": {"verbosity": "low", "format": {"type": "text"}}}, {"verbosity": "low"}),
    ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
            }
        },
    ),
    ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    ({"include": ["message.output_text.logprobs"], "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ({"include": ["reasoning.encrypted_content"], "top_logprobs": 0}, {}),
    ({"store": True, "metadata": {"a": "b"}, "truncation": "disabled", "background": False}, {}),
    ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
    ({"stream": True, "stream_options": {"include_obfuscation": False}}, {"stream": True}),
    ({"previous_response_id": None, "reasoning": None, "text": None, "tools": None, "max_output_tokens": None}, {}),
]


@pytest.mark.parametrize(("given", "expected"), FIELDS)
def test_fields_become_chats_own(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each field is the one of a chat request that asks for the same, or asks for what happens anyway."""
    request = read(**given)
    assert frozenset() == request.needs
    assert {"model": "chat", "messages": [{"role": "user", "content": "hi"}]} | expected == request.body


FUNCTION = {"type": "function", "function": {n: TOOL[n] for n in ("name", "description", "parameters", "strict")}}
NAMED = {"type": "function", "function": {"name": "look"}}
CHOICES: list[tuple[Any, Any]] = [
    ("required", "required"),
    ({"type": "function", "name": "look"}, NAMED),
    (
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
    ),
]


@pytest.mark.parametrize(("given", "expected"), CHOICES)
def test_tools_and_the_choice_among_them(given: Any, expected: Any) -> None:
    """Flat tools stand in `function`, strictness included, and the choice names them there."""
    body = read(tools=[TOOL], tool_choice=given, parallel_tool_calls=False).body
    assert ([FUNCTION], expected, False) == (body["tools"], body["tool_choice"], body["parallel_tool_calls"])


def test_a_tool_of_free_text_is_a_function_of_one_string() -> None:
    """It is called, and its calls in the history are told, as such a function."""
    request = read(
        tools=[{"type": "custom", "name": "run", "description": "runs", "format": {"type": "text"}}],
        input=[
            {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": 'say "hé"'},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "hé"},
        ],
    )
    function = request.body["tools"][0]["function"]
    (calling, told) = request.messages
    assert frozenset() == request.needs
    assert ("run", ["input"]) == (function["name"], function["parameters"]["required"])
    assert {"input": 'say "hé"'} == json.loads(calling["tool_calls"][0]["function"]["arguments"])
    assert ("tool", "hé") == (told["role"], told["content"])


GRAMMAR = {"type": "custom", "name": "run", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}
NEEDS: list[tuple[dict[str, Any], set[str]]] = [
    ({"previous_response_id": "resp_1"}, {"previous_response_id"}),
    ({"previous_response_id": "resp_1", "input": None}, {"previous_response_id", "input"}),
    ({"conversation": "conv_1"}, {"conversation"}),
    ({"background": True}, {"background"}),
    ({"prompt": {"id": "pmpt_1"}, "input": None}, {"prompt", "input"}),
    ({"context_management": [{"type": "compaction"}]}, {"context_management"}),
    ({"truncation": "auto"}, {"truncation"}),
    ({"moderation": {"model": "m"}, "seed": 1}, {"moderation", "seed"}),
    ({"include": ["something.new"]}, {"include"}),
    ({"reasoning": {"context": "all_turns", "mode": "pro"}}, {"reasoning.context", "reasoning.mode"}),
    ({"text": {"format": {"type": "grammar"}, "new": 1}}, {"text.format", "text.new"}),
    ({"stream_options": {"new": 1}}, {"stream_options.new"}),
    ({"tools": [TOOL, {"type": "web_search"}, GRAMMAR]}, {"tools[1]", "tools[2]"}),
    ({"tools": [{"type": "mcp", "server_label": "x"}, {"type": "image_generation"}]}, {"tools[0]", "tools[1]"}),
    ({"tools": [TOOL | {"defer_loading": True}]}, {"tools[0].defer_loading"}),
    ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, {"tool_choice"}),
    ({"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "rs_1"}]}, {"input[0]", "input[1]", "input"}),
    ({"input": [user({"type": "input_image", "file_id": "f"})]}, {"input[0].content[0].file_id"}),
    ({"input": [user({"type": "input_file", "file_url": "u"})]}, {"input[0].content[0]"}),
    ({"input": [user({"type": "input_text", "text": "a", "new": 1})]}, {"input[0].content[0].new"}),
    ({"input": [call(namespace="n")]}, {"input[0].namespace"}),
    ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, {"input[0]", "input"}),
    ({"input": [THOUGHT]}, {"input"}),
]


@pytest.mark.parametrize(("given", "expected"), NEEDS)
def test_what_has_no_place_in_chat_is_named(given: dict[str, Any], expected: set[str]) -> None:
    """Only a target that is sent the request as it is may get it, and the error can say why."""
    assert expected == read(**given).needs


def test_what_one_target_has_is_that_targets() -> None:
    """A response, an item or an approval that a target stores names it as its owner."""
    mine = marked_id("x_1", OWNER)
    request = read(
        previous_response_id=marked_id("resp_1", OWNER),
        input=[
            {"type": "item_reference", "id": mine},
            {"type": "compaction", "encrypted_content": marked("gAAAA", OWNER)},
            {"type": "mcp_approval_response", "approval_request_id": mine, "approve": True},
            {"type": "item_reference", "id": "msg_1"},
        ],
    )
    expected = dict.fromkeys(["previous_response_id", "input[0]", "input[1]", "input[2]"], OWNER)
    assert expected == dict(request.owned)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "model"),
    ({"model": 7}, "model"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 7}, "input"),
    ({"input": ["x"]}, "input[0]"),
    ({"input": [{"content": "x"}]}, "input[0].type"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [user({"type": "input_text"})]}, "input[0].content[0].text"),
    ({"input": [user({"type": "input_image"})]}, "input[0].content[0].image_url"),
    ({"input": [call(arguments={})]}, "input[0].arguments"),
    ({"input": [call(), output(said=None)]}, "input[1].output"),
    ({"instructions": ["x"]}, "instructions"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": "9"}, "max_output_tokens"),
    ({"tools": {}}, "tools"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tool_choice": 1}, "tool_choice"),
    ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
    ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "text.format.name"),
    ({"reasoning": "low"}, "reasoning"),
    ({"stream": "yes"}, "stream"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_logprobs": "3"}, "top_logprobs"),
    ({"prompt_cache_key": 1}, "prompt_cache_key"),
    ({"previous_response_id": 1}, "previous_response_id"),
    ({"previous_response_id": marked_id("resp_1", NOBODY)}, "previous_response_id"),
    ({"input": [{"type": "item_reference", "id": marked_id("msg_1", NOBODY)}]}, "input[0].id"),
]


@pytest.mark.parametrize(("given", "expected"), REFUSED)
def test_what_is_no_such_thing_is_refused_by_name(given: dict[str, Any], expected: str) -> None:
    """The error names the field by the path that the caller wrote."""
    with pytest.raises(InvalidRequest) as refused:
        read(**given)
    assert (expected, True) == (refused.value.param, f"`{expected}`" in str(refused.value))


WRITTEN = [
    ("messages[3].content[0]", "input"),
    ("response_format", "text.format"),
    ("tools[0]", "tools[0]"),
    (None, None),
]


@pytest.mark.parametrize(("named", "expected"), WRITTEN)
def test_an_error_names_what_the_caller_wrote(named: str | None, expected: str | None) -> None:
    """Where a target cannot carry a part of the translated request, the caller is told its own name for it."""
    status, body = FRONT.error(InvalidRequest("no place for it", param=named))
    assert (400, expected) == (status, body["error"]["param"])


NAMES = ["model", "input", "tools", "text", "reasoning", "include", "tool_choice", "instructions", "stream", "new"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "id", "call_id", "output", "name", "text", "format", "x"]),
            inner | st.sampled_from(["message", "function_call", "function_call_output", "input_text", "user"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON | st.dictionaries(st.sampled_from(NAMES), JSON).map(lambda fields: {"model": "m", "input": "x"} | fields))
def test_any_json_is_a_request_or_refused(body: Any) -> None:
    """Whatever is sent, it is a request that every wire can be asked with, or an error that is the caller's."""
    try:
        request = FRONT.read(json.dumps(body).encode(), {})
    except InvalidRequest:
        return
    assert isinstance(request, ChatRequest)
    assert (True, body) == (bool(request.messages), request.native.body if request.native else None)
    assert isinstance(WIRES["anthropic"].cannot_carry(request), set | frozenset)


TEXTS = st.text(min_size=1, max_size=8)
ITEMS = st.lists(
    st.one_of(
        TEXTS.map(lambda said: {"role": "user", "content": said}),
        TEXTS.map(lambda said: SPOKEN | {"content": [{"type": "output_text", "text": said}]}),
        TEXTS.map(lambda name: call(name, arguments=json.dumps({"q": name}))),
        TEXTS.map(lambda name: output(name, "result of " + name)),
        st.just(THOUGHT),
    ),
    min_size=1,
    max_size=8,
)


@given(ITEMS)
def test_no_word_call_or_result_is_lost(items: list[Any]) -> None:
    """Whatever the order, all that was said, called and answered is in the messages, and nothing else."""
    told = read(input=items).messages
    said, calls, results = [], [], []
    for message in told:
        content = message.get("content")
        parts = [content] if isinstance(content, str) else [part["text"] for part in content or []]
        (results if message["role"] == "tool" else said).extend(parts)
        calls += [(one["id"], one["function"]["arguments"]) for one in message.get("tool_calls", ())]
    spoken = [i["content"] if isinstance(i["content"], str) else i["content"][0]["text"] for i in items if "role" in i]
    if all(item is THOUGHT for item in items):
        spoken = [""]
    assert sorted(spoken) == sorted(said)
    kinds = [(item.get("type"), item) for item in items]
    assert [(i["call_id"], i["arguments"]) for kind, i in kinds if kind == "function_call"] == calls
    assert sorted(i["output"] for kind, i in kinds if kind == "function_call_output") == sorted(results)
