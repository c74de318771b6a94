"""What only a provider of the Messages API can carry, and what nobody can: both are named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messages_spoken import HELLO, PDF, PIXEL, SCHEMA, TOOL, asked, assistant, read, result, text, use, user
from understudy.chat.unary import UnaryRequest
from understudy.errors import InvalidRequest
from understudy.wire.fronts import FRONTS

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
