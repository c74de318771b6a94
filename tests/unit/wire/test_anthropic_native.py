"""Requests that their callers wrote in the wire's own protocol: sent on as they are, but for what must change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.simulators import anthropic_rules
from understudy.chat.bound import marked
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.errors import AttemptFailed, Credential, NotOffered
from understudy.wire import UNARY_WIRES
from understudy.wire.anthropic import AnthropicWire
from understudy.wire.anthropic_request import tool_id
from understudy.wire.base import Quirks
from understudy.wire.fronts import FRONTS

WIRE, COUNT = AnthropicWire(), UNARY_WIRES["anthropic", "count_tokens"]
OWNER, OTHER = "1f2e3d4c", "aaaaaaaa"
HELLO: dict[str, Any] = {"role": "user", "content": "Which bird is this?"}
EPHEMERAL = {"type": "ephemeral"}
AGENT: dict[str, Any] = {
    "model": "chat",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<reminder>Grüße 🙂</reminder>"},
                {"type": "text", "text": "fix the test", "cache_control": EPHEMERAL},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I read the file.", "signature": "c2ln"},
                {"type": "text", "text": "I look.", "citations": None},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "/a", "limit": None}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "tool_use_id": "toolu_1",
                    "type": "tool_result",
                    "content": [{"type": "text", "text": "1\tx = 1.0"}],
                    "is_error": False,
                    "cache_control": EPHEMERAL,
                }
            ],
        },
    ],
    "system": [
        {"type": "text", "text": "You are an agent."},
        {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ],
    "tools": [
        {"name": name, "description": f"It can {name}.", "input_schema": {"type": "object", "properties": {}}}
        for name in ("Read", "Write", "Bash", "Grep")
    ],
    "metadata": {"user_id": "user_" + "f" * 90},
    "max_tokens": 32000,
    "thinking": {"budget_tokens": 31999, "type": "enabled"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "temperature": 1,
    "future_field": [1e3, 0.1, None],
    "stream": True,
}
"""As a coding agent sends it."""


def compact(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def asked(body: Any = AGENT, **headers: str) -> ChatRequest:
    request = FRONTS["/messages"].read(json.dumps(body).encode(), headers)
    assert isinstance(request, ChatRequest)
    return request


def sent(request: ChatRequest, *, stream: bool = True, drop: frozenset[str] = frozenset(), owner: str = OWNER) -> bytes:
    quirks = Quirks(owner=owner)
    return WIRE.call(request, model="claude-x", stream=stream, drop=drop, max_output_tokens=7, quirks=quirks).body


def body_of(request: ChatRequest, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(sent(request, **fields))
    return body


def test_the_bytes_are_the_callers() -> None:
    """Nothing but the model's name is changed: order, nulls, cache breakpoints and unknown fields stay."""
    assert compact({**AGENT, "model": "claude-x"}) == sent(asked())


def test_the_mode_is_the_targets() -> None:
    """A target that cannot stream is not asked to; one that can is, whatever the caller does."""
    plain = {name: value for name, value in AGENT.items() if name != "stream"}
    assert compact({**AGENT, "model": "claude-x", "stream": False}) == sent(asked(), stream=False)
    assert compact({**plain, "model": "claude-x"}) == sent(asked(plain), stream=False)
    assert compact({**plain, "model": "claude-x", "stream": True}) == sent(asked(plain))


def test_a_provider_is_asked_in_its_own_version() -> None:
    """The caller's betas go along, its version and everything else do not."""
    request = asked(**{"anthropic-beta": "context-1m", "anthropic-version": "2026-10-21", "x-api-key": "us-key"})
    call = WIRE.call(request, model="m", stream=True, drop=frozenset(), max_output_tokens=None)
    assert ("/v1/messages", {"anthropic-version": "2023-06-01", "anthropic-beta": "context-1m"}) == (
        call.path,
        call.headers,
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v, max_size=2), max_leaves=4
)


@given(st.dictionaries(st.text("xyz", min_size=1), values, max_size=4))
def test_unknown_fields_are_carried(more: dict[str, Any]) -> None:
    """Whatever fields may come in the future, they go on as they are."""
    assert compact({**AGENT, **more, "model": "claude-x"}) == sent(asked({**AGENT, **more}))


def history(*blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An answer of the past and a question after it."""
    return {
        "model": "chat",
        "max_tokens": 9,
        "messages": [HELLO, {"role": "assistant", "content": list(blocks)}, HELLO],
    } | fields


def thinking(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


def redacted(data: str) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": data}


SAID = {"type": "text", "text": "A wren."}
MARKS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "a signature of its own": (thinking(marked("c2ln", OWNER)), thinking("c2ln")),
    "an empty one of its own": (thinking(f"us1.{OWNER}."), thinking("")),
    "one of another's": (thinking(marked("c2ln", OTHER)), None),
    "one that was made elsewhere": (thinking("c2ln"), thinking("c2ln")),
    "nobody's": (thinking("us1.00000000.-"), None),
    "redacted of its own": (redacted(marked("ZW5j", OWNER)), redacted("ZW5j")),
    "redacted of another's": (redacted(marked("ZW5j", OTHER)), None),
}


@pytest.mark.parametrize("name", MARKS)
def test_thinking_goes_back_to_its_maker_alone(name: str) -> None:
    """The maker gets it as it gave it; for others the whole block is left out."""
    block, expected = MARKS[name]
    content = body_of(asked(history(block, SAID)))["messages"][1]["content"]
    assert [*([expected] if expected else []), SAID] == content


def test_a_message_of_which_nothing_is_left_is_left_out() -> None:
    """The API refuses an empty one."""
    body = body_of(asked(history(thinking(marked("c2ln", OTHER)))))
    assert [HELLO, HELLO] == body["messages"]


def test_ids_of_other_providers_are_made_to_fit() -> None:
    """A call's id that the API would refuse is mapped, and its result's alike; all others stay."""
    odd, even = "functions.Read:0", "call_1"
    uses = [{"type": "tool_use", "id": id, "name": "Read", "input": {}} for id in (odd, even)]
    results = [{"type": "tool_result", "tool_use_id": id, "content": "x"} for id in (odd, even)]
    body = history(*uses) | {
        "messages": [HELLO, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    }
    _, called, answered = body_of(asked(body))["messages"]
    assert [tool_id(odd), even] == [block["id"] for block in called["content"]]
    assert [tool_id(odd), even] == [block["tool_use_id"] for block in answered["content"]]


def loop(*first: dict[str, Any], kind: str = "enabled") -> dict[str, Any]:
    """A turn that has called a tool, its thinking as given."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    results = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}
    budget = {"budget_tokens": 1024} if kind == "enabled" else {}
    messages = [HELLO, {"role": "assistant", "content": [*first, use]}, results]
    return {"model": "chat", "max_tokens": 2000, "messages": messages, "thinking": {"type": kind, **budget}}


DISABLED = {"type": "disabled"}
ENABLED = {"type": "enabled", "budget_tokens": 1024}
OPEN_TURNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "with its own thinking": (loop(thinking(marked("c2ln", OWNER))), ENABLED),
    "with another's": (loop(thinking(marked("c2ln", OTHER))), DISABLED),
    "with none, as others call": (loop(), DISABLED),
    "that decides for itself": (loop(kind="adaptive"), {"type": "adaptive"}),
    "that is over": (
        loop() | {"messages": [*loop()["messages"], {"role": "assistant", "content": "Done."}, HELLO]},
        ENABLED,
    ),
}


@pytest.mark.parametrize("name", OPEN_TURNS)
def test_thinking_is_switched_off_where_the_turn_began_without(name: str) -> None:
    """With a budget the API refuses a turn that called tools and does not begin with thinking."""
    body, expected = OPEN_TURNS[name]
    assert expected == body_of(asked(body))["thinking"]


DROPS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "its own name": ("top_k", {"top_k": 5}, {}),
    "sampling": ("temperature", {"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}),
    "stops": ("stop", {"stop_sequences": ["END"]}, {}),
    "user": ("user", {"metadata": {"user_id": "u"}}, {}),
    "user among others": ("user", {"metadata": {"user_id": "u", "x": 1}}, {"metadata": {"x": 1}}),
    "effort": (
        "reasoning_effort",
        {"output_config": {"effort": "low", "format": {}}},
        {"output_config": {"format": {}}},
    ),
    "format": ("response_format", {"output_config": {"format": {}}, "output_format": {}}, {}),
    "one at a time": (
        "parallel_tool_calls",
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "auto"}},
    ),
    "thinking": ("thinking", {"thinking": {"type": "adaptive"}}, {}),
    "nothing that is there": ("seed", {"top_k": 5}, {"top_k": 5}),
}


@pytest.mark.parametrize("name", DROPS)
def test_what_the_route_agreed_to_lose_is_left_out(name: str) -> None:
    """A field is named as the chat shape has it, or as this protocol does."""
    field, fields, expected = DROPS[name]
    plain = {"model": "chat", "max_tokens": 9, "messages": [HELLO]}
    request = asked(plain | fields)
    assert {**plain, "model": "claude-x", "stream": True} | expected == body_of(request, drop=frozenset({field}))
    assert request.native is not None
    assert fields == {name: request.native.body[name] for name in fields}


def test_an_answer_is_gone_on_with() -> None:
    """What was delivered begins the answer, within what is left of the limit, and there is no more thinking."""
    body = {"model": "chat", "max_tokens": 2000, "messages": [HELLO], "thinking": ENABLED, "system": "Be brief."}
    on = body_of(asked(body).continuing("A small", "message", 500))
    begun = {"role": "assistant", "content": [{"type": "text", "text": "A small"}]}
    assert {
        "model": "claude-x",
        "max_tokens": 1500,
        "messages": [HELLO, begun],
        "system": "Be brief.",
        "stream": True,
    } == on
    asking = body_of(asked(body).asking_to_go_on("A small", 500))
    assert ([HELLO, begun], ENABLED) == (asking["messages"][:2], asking["thinking"])
    assert "Continue it" in asking["messages"][2]["content"][0]["text"]


def test_a_number_that_is_none_is_refused() -> None:
    """The body that goes out is JSON."""
    with pytest.raises(Exception, match="number"):
        sent(asked({**AGENT, "future_field": float("inf")}))


# translated


def test_an_agents_request_can_go_to_anybody() -> None:
    """System blocks with cache breakpoints, thinking, many tools and results: nothing keeps another target from it."""
    request = asked({name: value for name, value in AGENT.items() if name != "future_field"})
    assert frozenset() == request.needs
    assert ["system", "user", "assistant", "tool"] == [message["role"] for message in request.messages]
    assert [
        "You are an agent.\n\nRules.",
        "<reminder>Grüße 🙂</reminder>\n\nfix the test",
        "I look.",
        "1\tx = 1.0",
    ] == [message["content"] for message in request.messages]
    assert ["Read", "Write", "Bash", "Grep"] == [tool["function"]["name"] for tool in request.body["tools"]]
    translated = WIRE.call(
        ChatRequest("chat", request.body), model="m", stream=True, drop=frozenset(), max_output_tokens=None
    )
    body = json.loads(translated.body)
    assert body == anthropic_rules.check(body)


# counting


def counted(**fields: Any) -> UnaryRequest:
    body = {"model": "chat", "messages": [HELLO], **fields}
    request = FRONTS["/messages/count_tokens"].read(json.dumps(body).encode(), {"anthropic-beta": "b"})
    assert isinstance(request, UnaryRequest)
    return request


def test_counting_is_asked_natively() -> None:
    """The caller's body with the target's model; thinking of others is not counted."""
    mine = thinking(marked("c2ln", OWNER))
    request = counted(messages=history(mine, thinking(marked("c2ln", OTHER)), SAID)["messages"], system="s")
    call = COUNT.call(request, model="claude-x", quirks=Quirks(owner=OWNER))
    messages = [HELLO, {"role": "assistant", "content": [thinking("c2ln"), SAID]}, HELLO]
    assert ("/v1/messages/count_tokens", {"anthropic-version": "2023-06-01", "anthropic-beta": "b"}) == (
        call.path,
        call.headers,
    )
    assert {"model": "claude-x", "messages": messages, "system": "s"} == json.loads(call.body)


def test_a_count_is_passed_on() -> None:
    """The answer is what the provider said, and costs nothing."""
    chunk = COUNT.chunk(counted(), {"input_tokens": 14, "context_management": {"original_input_tokens": 20}})
    front = FRONTS["/messages/count_tokens"]
    assert {"input_tokens": 14, "context_management": {"original_input_tokens": 20}} == front.whole(
        counted(), [chunk], created=1
    )
    assert (True, 0) == (chunk.answers, chunk.usage.prompt_tokens if chunk.usage else None)
    with pytest.raises(ValueError, match="input_tokens"):
        COUNT.chunk(counted(), {"tokens": 14})
    with pytest.raises(AttemptFailed):
        COUNT.chunk(counted(), {"type": "error", "error": {"type": "overloaded_error", "message": "x"}})


@pytest.mark.parametrize(("status", "expected"), [(404, NotOffered), (405, NotOffered), (401, Credential)])
def test_a_server_that_cannot_count_is_not_broken(status: int, expected: type[AttemptFailed]) -> None:
    """A path that is not there says nothing of the server's health; a key that is refused does."""
    failure = COUNT.failure(status, {}, b"{}")
    assert (expected, expected is Credential) == (type(failure), failure.hurts_health)
