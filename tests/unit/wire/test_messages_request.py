"""What callers of the Messages API may say, and what it is in the chat shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.simulators import anthropic_rules
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.unary import UnaryRequest
from understudy.errors import InvalidRequest
from understudy.wire.anthropic import AnthropicWire
from understudy.wire.fronts import FRONTS

WIRE = AnthropicWire()
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


CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "a text": ([HELLO], [HELLO]),
    "text blocks become one text": (
        [user(text("One.", **CACHED), text(""), text("Two."))],
        [{"role": "user", "content": "One.\n\nTwo."}],
    ),
    "an instruction in the middle": (
        [HELLO, {"role": "system", "content": [text("Be brief.")]}, HELLO],
        [HELLO, {"role": "system", "content": "Be brief."}, HELLO],
    ),
    "an answer in pieces with its sources": (
        [HELLO, assistant(text("A ", citations=[{"type": "char_location"}]), text("wren.", citations=None)), HELLO],
        [HELLO, {"role": "assistant", "content": "A wren."}, HELLO],
    ),
    "thinking is nobody else's": (
        [
            HELLO,
            assistant(
                {"type": "thinking", "thinking": "Hm.", "signature": "us1.1f2e3d4c.c2ln"},
                {"type": "redacted_thinking", "data": "ZW5j"},
                text("A wren."),
            ),
            HELLO,
            assistant({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}),
            HELLO,
        ],
        [HELLO, {"role": "assistant", "content": "A wren."}, HELLO, HELLO],
    ),
    "calls, results and what is said beside them": (
        [
            HELLO,
            assistant(text("I look."), use("toolu_1", bird="wren"), {**use("toolu_2"), "caller": {"type": "direct"}}),
            user(result("toolu_1", "In the hedge."), result("toolu_2", [text("a"), text("b")]), text("And?")),
        ],
        [
            HELLO,
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [call("toolu_1", '{"bird":"wren"}'), call("toolu_2", "{}")],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "In the hedge."},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "a\n\nb"},
            {"role": "user", "content": "And?"},
        ],
    ),
    "results that failed, or are empty": (
        [
            HELLO,
            assistant(use("a"), use("b"), use("c")),
            user(result("a", "No nest.", is_error=True), result("b", [], is_error=True), result("c")),
        ],
        [
            HELLO,
            {"role": "assistant", "tool_calls": [call("a", "{}"), call("b", "{}"), call("c", "{}")]},
            {"role": "tool", "tool_call_id": "a", "content": "Error: No nest."},
            {"role": "tool", "tool_call_id": "b", "content": "Error"},
            {"role": "tool", "tool_call_id": "c", "content": ""},
        ],
    ),
    "a tool that returns a picture": (
        [HELLO, assistant(use("a")), user(result("a", [{"type": "image", "source": PIXEL}]), text("Which?"))],
        [
            HELLO,
            {"role": "assistant", "tool_calls": [call("a", "{}")]},
            {"role": "tool", "tool_call_id": "a", "content": "See the next message."},
            user(text("What the tool call a returned besides text:"), PICTURE, text("Which?")),
        ],
    ),
    "pictures": (
        [
            user(
                {"type": "image", "source": PIXEL, **CACHED},
                {"type": "image", "source": {"type": "url", "url": "https://birds.example/wren.jpg"}},
                text("Same bird?"),
            )
        ],
        [
            user(
                PICTURE,
                {"type": "image_url", "image_url": {"url": "https://birds.example/wren.jpg"}},
                text("Same bird?"),
            )
        ],
    ),
    "documents": (
        [
            user(
                {"type": "document", "source": PDF, "title": "wren.pdf", "citations": {"enabled": False}},
                {"type": "document", "source": PDF, "context": "From 1900."},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Wrens sing."}},
                {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}},
            )
        ],
        [
            user(
                text("wren.pdf"),
                {
                    "type": "file",
                    "file": {"filename": "wren.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQ="},
                },
                text("From 1900."),
                {
                    "type": "file",
                    "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQ="},
                },
                text("Wrens sing."),
                text("a"),
                text("b"),
            )
        ],
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(name: str) -> None:
    """Each conversation is said in the chat shape without anything that it cannot hold, and is kept as it was."""
    given_messages, expected = CONVERSATIONS[name]
    request = read(asked(*given_messages))
    assert (expected, frozenset()) == (request.messages, request.needs)
    assert asked(*given_messages) == request.native.body
    # It is what a chat's own front would have let pass.
    assert request.body == chat_request(request.body).body


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "system": ({"system": "Be brief."}, {}),
    "sampling": ({"temperature": 1, "top_p": 0.5}, {"temperature": 1, "top_p": 0.5}),
    "stream": ({"stream": True}, {"stream": True}),
    "stops": ({"stop_sequences": ["END", "."]}, {"stop": ["END", "."]}),
    "no stops": ({"stop_sequences": []}, {}),
    "nulls": ({"temperature": None, "tools": None, "system": None, "metadata": None, "thinking": None}, {}),
    "user": ({"metadata": {"user_id": "u-17"}}, {"user": "u-17"}),
    "no user": ({"metadata": {"user_id": None}}, {}),
    "tools": (
        {"tools": [{**TOOL, **CACHED, "type": "custom", "eager_input_streaming": True}]},
        {"tools": [{"type": "function", "function": FUNCTION}]},
    ),
    "strict tool": (
        {"tools": [{"name": "f", "input_schema": CLOSED, "strict": True}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": CLOSED, "strict": True}}]},
    ),
    "strict tool that strict mode would refuse": (
        {"tools": [{"name": "f", "input_schema": SCHEMA, "strict": True}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
    ),
    "auto": (
        {"tools": [TOOL], "tool_choice": {"type": "auto"}},
        {"tools": [{"type": "function", "function": FUNCTION}]},
    ),
    "any, one at a time": (
        {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
    ),
    "named": (
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "find_nest"}},
        {
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": {"type": "function", "function": {"name": "find_nest"}},
        },
    ),
    "none": (
        {"tools": [TOOL], "tool_choice": {"type": "none"}},
        {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "none"},
    ),
    "thinking is a hint": ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, {}),
    "adaptive thinking": ({"thinking": {"type": "adaptive", "display": "omitted"}}, {}),
    "no thinking": ({"thinking": {"type": "disabled"}}, {}),
    "effort": ({"output_config": {"effort": "medium"}}, {"reasoning_effort": "medium"}),
    "all effort": ({"output_config": {"effort": "max"}}, {"reasoning_effort": "xhigh"}),
    "a format": (
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": CLOSED, "strict": True},
            }
        },
    ),
    "a format in its older place, too open for strict mode": (
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
    ),
    "usual tier": ({"service_tier": "auto"}, {}),
    "standard tier": ({"service_tier": "standard_only"}, {"service_tier": "default"}),
    "hints": (
        {
            **CACHED,
            "diagnostics": {"previous_message_id": "msg_1"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "speed": "standard",
            "mcp_servers": [],
        },
        {},
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_field(name: str) -> None:
    """Each field has its word in the chat shape, or none where it is a hint; nothing else is added."""
    fields, expected = FIELDS[name]
    request = read(asked(**fields))
    system = [{"role": "system", "content": fields["system"]}] if fields.get("system") else []
    plain = {"model": "chat", "messages": [*system, HELLO], "max_tokens": 99}
    assert (plain | expected, frozenset()) == (request.body, request.needs)
    assert request.body == chat_request(request.body).body


def test_system_blocks_are_one_instruction() -> None:
    """Blocks with cache breakpoints, as coding agents send them, are one text."""
    request = read(asked(system=[text("You are an agent."), text("Be brief.", **CACHED)]))
    assert {"role": "system", "content": "You are an agent.\n\nBe brief."} == request.messages[0]


def test_a_long_user_id_stays_one_and_the_same() -> None:
    """An identifier that is longer than OpenAI takes is hashed; a provider of this API gets it as it is."""
    long = "user_" + "f" * 100
    one, other = (read(asked(metadata={"user_id": id})) for id in (long, long + "0"))
    assert (64, 64) == (len(one.body["user"]), len(other.body["user"]))
    assert one.body["user"] != other.body["user"]
    assert {"user_id": long} == one.native.body["metadata"]


NEEDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "top_k": ({"top_k": 5}, {"top_k"}),
    "nothing is to be written": ({"max_tokens": 0}, {"max_tokens"}),
    "an answer that is begun": ({"messages": [HELLO, assistant(text("It is"))]}, {"messages.1"}),
    "a server's tool": ({"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}, {"tools.1"}),
    "who may call": (
        {"tools": [{**TOOL, "allowed_callers": ["code_execution_20250825"]}]},
        {"tools.0.allowed_callers"},
    ),
    "examples": ({"tools": [{**TOOL, "input_examples": [{"bird": "wren"}]}]}, {"tools.0.input_examples"}),
    "other servers": ({"mcp_servers": [{"url": "https://x.example"}]}, {"mcp_servers"}),
    "a container": ({"container": "c_1"}, {"container"}),
    "a place": ({"inference_geo": "eu"}, {"inference_geo"}),
    "unknown thinking": ({"thinking": {"type": "between_tools"}}, {"thinking"}),
    "speed": ({"speed": "fast"}, {"speed"}),
    "compaction": ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, {"context_management"}),
    "unknown effort": ({"output_config": {"effort": "heroic"}}, {"output_config.effort"}),
    "unknown output": ({"output_config": {"task_budget": 1}}, {"output_config.task_budget"}),
    "unknown format": ({"output_config": {"format": {"type": "grammar"}}}, {"output_config.format"}),
    "unknown metadata": ({"metadata": {"team": "x"}}, {"metadata.team"}),
    "unknown tier": ({"service_tier": "gold"}, {"service_tier"}),
    "unknown field": ({"moult": True}, {"moult"}),
    "documents elsewhere": (
        {
            "messages": [
                user(
                    {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
                    {"type": "document", "source": {"type": "file", "file_id": "f"}},
                    {"type": "image", "source": {"type": "file", "file_id": "f"}},
                    {"type": "document", "source": PDF, "citations": {"enabled": True}},
                )
            ]
        },
        {
            "messages.0.content.0.source",
            "messages.0.content.1.source",
            "messages.0.content.2.source",
            "messages.0.content.3.citations",
        },
    ),
    "what a server's tool said": (
        {"messages": [HELLO, assistant({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}), HELLO]},
        {"messages.1.content.0"},
    ),
    "unknown blocks and fields": (
        {"messages": [user({"type": "search_result"}, text("a", moult=1)), assistant(text("b")), HELLO]},
        {"messages.0.content.0", "messages.0.content.1.moult"},
    ),
    "a call from elsewhere": (
        {"messages": [HELLO, assistant({**use("a"), "caller": {"type": "x"}}), user(result("a"))]},
        {"messages.1.content.0.caller"},
    ),
}


@pytest.mark.parametrize("name", NEEDS)
def test_what_only_this_api_can_carry_is_named(name: str) -> None:
    """Nothing is lost in silence: what the chat shape has no place for is named by its path."""
    fields, expected = NEEDS[name]
    assert expected == read(asked(**fields)).needs


MISTAKES: dict[str, tuple[object, str]] = {
    "no object": ([], ""),
    "no model": ({"max_tokens": 1, "messages": [HELLO]}, "model"),
    "no limit": ({"model": "chat", "messages": [HELLO]}, "max_tokens"),
    "limit of words": (asked(max_tokens="9"), "max_tokens"),
    "limit that is no number": (asked(max_tokens=True), "max_tokens"),
    "negative limit": (asked(max_tokens=-1), "max_tokens"),
    "no messages": ({"model": "chat", "max_tokens": 1}, "messages"),
    "messages of another kind": (asked(messages="hello"), "messages"),
    "not one message": (asked(messages=[]), "messages"),
    "a message that is none": (asked(messages=["hello"]), "messages.0"),
    "no role": (asked({"content": "x"}), "messages.0.role"),
    "role of another API": (asked(HELLO, {"role": "tool", "content": "x"}), "messages.1.role"),
    "no content": (asked({"role": "user"}), "messages.0.content"),
    "content of another kind": (asked({"role": "user", "content": 5}), "messages.0.content"),
    "a block that is none": (asked(user(text("a"), "b")), "messages.0.content.1"),  # type: ignore[arg-type]
    "a block without a type": (asked(user({"text": "a"})), "messages.0.content.0.type"),
    "a text without text": (asked(user({"type": "text"})), "messages.0.content.0.text"),
    "a picture without source": (asked(user({"type": "image"})), "messages.0.content.0.source"),
    "a picture without data": (
        asked(user({"type": "image", "source": {"type": "base64", "media_type": "image/png"}})),
        "messages.0.content.0.source.data",
    ),
    "a call without input": (
        asked(HELLO, assistant({"type": "tool_use", "id": "a", "name": "n"})),
        "messages.1.content.0.input",
    ),
    "a call without id": (
        asked(HELLO, assistant({"type": "tool_use", "name": "n", "input": {}})),
        "messages.1.content.0.id",
    ),
    "a result of no call": (asked(HELLO, user(result("a"))), "messages.1.content.0.tool_use_id"),
    "a result without id": (asked(user({"type": "tool_result"})), "messages.0.content.0.tool_use_id"),
    "thinking without thought": (asked(HELLO, assistant({"type": "thinking"})), "messages.1.content.0.thinking"),
    "a system of pictures": (asked(system=[{"type": "image", "source": PIXEL}]), "system.0.type"),
    "a tool that is none": (asked(tools=["find"]), "tools.0"),
    "a tool without name": (asked(tools=[{"input_schema": SCHEMA}]), "tools.0.name"),
    "a tool without schema": (asked(tools=[{"name": "n"}]), "tools.0.input_schema"),
    "an unknown choice": (asked(tools=[TOOL], tool_choice={"type": "maybe"}), "tool_choice.type"),
    "a choice without name": (asked(tools=[TOOL], tool_choice={"type": "tool"}), "tool_choice.name"),
    "a choice of another API": (asked(tools=[TOOL], tool_choice="auto"), "tool_choice"),
    "stops of numbers": (asked(stop_sequences=[1]), "stop_sequences"),
    "temperature in words": (asked(temperature="hot"), "temperature"),
    "a stream of words": (asked(stream="yes"), "stream"),
    "a user that is a number": (asked(metadata={"user_id": 5}), "metadata.user_id"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named_as_this_api_names_them(name: str) -> None:
    """A wrong request is refused by the path of its field, which begins the message."""
    body, path = MISTAKES[name]
    with pytest.raises(InvalidRequest) as refused:
        read(body)
    assert (path or None) == refused.value.param
    assert refused.value.message.startswith(f"{path}: " if path else "The body")


@pytest.mark.parametrize("raw", [b"", b"{", b'{"model": NaN', b"\xff", b"[" * 100_000, b'{"a": "\\ud83d"}'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    """Whatever bytes come, they are read or refused."""
    with pytest.raises(InvalidRequest):
        FRONTS["/messages"].read(raw, {})


def test_numbers_that_are_none_are_refused() -> None:
    """Python reads NaN; nobody else does."""
    with pytest.raises(InvalidRequest):
        FRONTS["/messages"].read(json.dumps(asked(HELLO, assistant(use("a", n=float("nan"))))).encode(), {})


def test_betas_go_along() -> None:
    """The caller's beta header is kept for a provider that speaks this API, and nothing else of its headers."""
    headers = {"anthropic-beta": "a-2025-01-01,b-2025-02-02", "authorization": "Bearer key", "anthropic-version": "x"}
    assert {"anthropic-beta": "a-2025-01-01,b-2025-02-02"} == read(asked(), headers).native.headers
    assert {} == read(asked()).native.headers
    with pytest.raises(InvalidRequest):
        read(asked(), {"anthropic-beta": "a\x00b"})


def test_counting_reads_the_same_request() -> None:
    """A request to be counted is checked alike, needs no limit, and brings an estimate of its texts and pictures."""
    messages = [user({"type": "image", "source": PIXEL}, text("x" * 400)), assistant(use("a", bird="w" * 40)), HELLO]
    body = {"model": "chat", "system": "s" * 40, "tools": [TOOL], "messages": messages}
    request = read(body, path="/messages/count_tokens")
    assert isinstance(request, UnaryRequest)
    assert ("count_tokens", "chat", body) == (request.operation, request.model, request.native and request.native.body)
    assert request.estimate is not None
    assert 1600 + 120 <= request.estimate["input_tokens"] <= 1600 + 180
    # The data of a picture is no text: it would not fit anybody's window.
    assert 480 <= request.size <= 720
    with pytest.raises(InvalidRequest):
        read({"model": "chat", "messages": [{"role": "user"}]}, path="/messages/count_tokens")


names = st.text("abc_", min_size=1, max_size=8)
texts = st.text(min_size=1, max_size=12).filter(lambda words: words.strip() == words)
inputs = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.none(), max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A conversation that alternates and answers its calls."""
    messages: list[dict[str, Any]] = [user(text(draw(texts)))]
    for turn in range(draw(st.integers(0, 3))):
        calls = [use(f"toolu_{turn}_{n}") | {"input": draw(inputs)} for n in range(draw(st.integers(0, 2)))]
        said = [text(draw(texts))] if draw(st.booleans()) or not calls else []
        results = [result(one["id"], [text(draw(texts))]) for one in calls]
        messages += [assistant(*said, *calls), user(*results, text(draw(texts)))]
    return messages


@given(conversations(), st.booleans())
def test_there_and_back(messages: list[dict[str, Any]], stream: bool) -> None:
    """What a caller says arrives at the translated wire with the same meaning, and as that wire wants it."""
    body = asked(*messages, system="Be brief.", stream=stream, tools=[TOOL], stop_sequences=["END"])
    request: ChatRequest = read(body)
    translated = ChatRequest(request.model, request.body)
    call_ = WIRE.call(translated, model="m", stream=stream, drop=frozenset(), max_output_tokens=None)
    sent = json.loads(call_.body)
    assert sent == anthropic_rules.check(sent)
    assert messages == sent["messages"]
    assert {**body, "model": "m", "system": [text("Be brief.")], "messages": messages} == sent


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "text",
                        "content",
                        "role",
                        "source",
                        "id",
                        "input",
                        "name",
                        "tool_use_id",
                        "model",
                        "messages",
                        "max_tokens",
                        "tools",
                        "system",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    )
)
def test_anything_is_read_or_refused(body: Any) -> None:
    """Whatever JSON comes, there is a request or an InvalidRequest, never another exception."""
    for path in ("/messages", "/messages/count_tokens"):
        for one in (
            body,
            {**asked(), **body} if isinstance(body, dict) else body,
            asked(messages=[body]),
            asked(user(body)),
        ):
            try:
                read(one, path=path)
            except InvalidRequest:
                continue
