"""What callers of the Messages API may say, and what it is in the chat shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.simulators import anthropic_rules
from tests.messages_spoken import (
    CACHED,
    CLOSED,
    FUNCTION,
    HELLO,
    PDF,
    PICTURE,
    PIXEL,
    SCHEMA,
    TOOL,
    asked,
    assistant,
    call,
    read,
    result,
    text,
    use,
    user,
)
from understudy.chat.request import ChatRequest, chat_request
from understudy.wire.anthropic import AnthropicWire

WIRE = AnthropicWire()
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
