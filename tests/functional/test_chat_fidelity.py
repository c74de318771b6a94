"""The chat API end to end: what goes to a provider of the same wire byte by byte, and what a client makes of answers
that compatible servers leave half said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openai.lib.streaming.chat import ChatCompletionStreamState

from tests.fronted import Fronted, fronted
from tests.raw_provider import Reply
from tests.spoken import ANTHROPIC, JSON, OPENAI, SSE, event, streamed
from understudy.chat.request import chat_request
from understudy.wire import WIRES
from understudy.wire.fronts import FRONTS

USER = [{"role": "user", "content": "hi"}]
ASK: dict[str, Any] = {"model": "chat", "messages": USER}
COUNTED = {"stream": True, "stream_options": {"include_usage": True}}


def compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


# requests

RICH = (
    '{"temperature": 1e-3, "zzz": {"b": [1, 2.50, -0, {"y": null, "x": []}], "a": "é🙂\\u0041\\n\\u2028"},'
    ' "messages": [{"content": [{"text": "Grüße 🙂 無限", "type": "text", "future": {"z": 1, "a": null}}],'
    ' "role": "user", "name": "bob"}, {"role": "assistant", "reasoning_content": "hm", "content": "a", "annotations":'
    ' []}, {"role": "user", "content": "\\u00e9\\/"}], "model": "chat", "seed": 12345678901234567890,'
    ' "tools": [{"type": "future_tool", "deep": {"x": [[[]]]}}], "metadata": {"k": ""}}'
)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("stream", [{}, {"stream": False}, {"stream": True, "stream_options": {"z": 1}}])
def test_the_request_is_sent_on_byte_by_byte(streaming: bool, stream: dict[str, Any]) -> None:
    """Only the model and the fields of streaming change: order, numbers, text, unknown fields at any depth and nulls
    inside them are the caller's.  Escapes that JSON does not need are written out."""
    with fronted(lead_has={"capabilities": {"streaming": streaming}}) as front:
        asked = json.loads(RICH) | stream
        assert 200 == front.post((RICH[:-1] + "," * bool(stream) + json.dumps(stream)[1:]).encode()).status_code
        if streaming:
            asked |= {"stream": True, "stream_options": stream.get("stream_options", {}) | {"include_usage": True}}
        else:
            asked |= {"stream": False} if stream else {}
            asked.pop("stream_options", None)
        assert compact(asked | {"model": "model-lead"}) == front.lead.calls[-1].raw.decode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
UNKNOWN = st.dictionaries(st.from_regex(r"z[a-z]{0,6}", fullmatch=True), VALUES.filter(lambda v: v is not None))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(UNKNOWN, UNKNOWN, st.text(min_size=1, max_size=20))
def test_any_unknown_fields_are_sent_on(top: dict[str, Any], inner: dict[str, Any], text: str) -> None:
    """Whatever they hold, in the body, in a message and in a part of one."""
    part = {"type": "text", "text": text, **inner}
    body = {**top, "model": "chat", "messages": [{"role": "user", "content": [part], **inner}]}
    asked = chat_request(json.loads(json.dumps(body)))
    sent = WIRES["openai"].call(asked, model="m", stream=False, drop=frozenset(), max_output_tokens=None)
    assert compact(body | {"model": "m"}) == sent.body.decode()


ECHOED = {
    "role": "assistant",
    "content": "b",
    "refusal": None,
    "annotations": [],
    "audio": None,
    "function_call": None,
    "tool_calls": None,
    "reasoning_content": "I thought",
}


@pytest.mark.parametrize("wire", [name for name in WIRES if name != "responses"])
def test_an_echoed_answer_is_valid_history(wire: str) -> None:
    """`message.model_dump()` with its nulls, our own thinking and annotations, goes to a provider of any wire."""
    asked = FRONTS["/chat/completions"].read(json.dumps({**ASK, "messages": [*USER, ECHOED, *USER]}).encode(), {})
    assert set() == set(WIRES[wire].cannot_carry(asked))  # type: ignore[arg-type]
    call = WIRES[wire].call(asked, model="m", stream=False, drop=frozenset(), max_output_tokens=9)  # type: ignore[arg-type]
    assert "null" not in call.body.decode()


# answers

BARE = [
    {"choices": [{"delta": {"content": "he"}}]},
    {"choices": [{"delta": {"role": "assistant", "content": "llo"}}], "usage": {"prompt_tokens": 3}},
    {"choices": [{"delta": {}, "finish_reason": "eos"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]
WHOLE = {"choices": [{"message": {"content": "hello"}, "finish_reason": "eos"}], "usage": BARE[-1]["usage"]}
CALL = {"function": {"name": "look", "arguments": ""}}
GO = {"name": "go", "arguments": {"a": 1}}
CALLING = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [CALL]}}]},
    {
        "choices": [
            {"index": 0, "delta": {"tool_calls": [{"id": "b", "function": {"name": "go", "arguments": {"a": 1}}}]}}
        ]
    },
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
CALLED = {"choices": [{"message": {"tool_calls": [CALL, {"id": "b", **CALL}]}, "finish_reason": "stop"}]}


def bare(body: dict[str, Any]) -> Reply:
    """A compatible server that leaves out what it may; it calls where tools are offered."""
    if body.get("stream"):
        return streamed([event(one) for one in (CALLING if body.get("tools") else BARE)])
    answer = CALLED if body.get("tools") else WHOLE
    return Reply(headers=JSON, pieces=[(0.0, json.dumps(answer).encode())])


@pytest.fixture(scope="module")
def front() -> Iterator[Fronted]:
    with fronted((OPENAI, [bare]), (ANTHROPIC, [streamed(ANTHROPIC.pieces(["hello"]))])) as one:
        yield one


def test_a_bare_answer_is_whole_for_a_strict_client(front: Fronted) -> None:
    """Id, time, object, model, index, nulls and total are there, and no two answers share an id."""
    one, two = (front.client().chat.completions.create(**ASK) for _ in range(2))
    assert (True, False) == (one.id.startswith("chatcmpl-"), one.id == two.id)
    assert ("chat.completion", "model-lead", True) == (one.object, one.model, one.created > 1e9)
    (choice,) = one.choices
    assert (0, "stop", None) == (choice.index, choice.finish_reason, choice.logprobs)
    assert {"role": "assistant", "content": "hello", "refusal": None} == choice.message.model_dump(exclude_unset=True)
    assert one.usage is not None
    assert (3, 2, 5) == (one.usage.prompt_tokens, one.usage.completion_tokens, one.usage.total_tokens)


SCHEMAS = yaml.safe_load((Path(__file__).parents[2] / "infra" / "openapi.yaml").read_text())["components"]["schemas"]


def wrong(name: str, value: Any) -> list[str]:
    """What a schema of our OpenAPI document has against a value."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


@pytest.mark.parametrize("asks", [{}, {"tools": "TOOLS"}])
def test_answers_are_as_our_own_document_says(front: Fronted, asks: dict[str, Any]) -> None:
    """Every chunk of a stream and every whole answer, whatever the server left out."""
    body = {**ASK, **({"tools": TOOLS} if asks else {})}
    assert [] == wrong("ChatCompletion", front.post(body).json())
    raw = front.post({**body, **COUNTED}).text
    chunks = [json.loads(line[6:]) for line in raw.splitlines() if line and line != "data: [DONE]"]
    assert [] == [error for chunk in chunks for error in wrong("ChatChunk", chunk)]
    assert [] != wrong("ChatChunk", BARE[0])


def test_a_bare_stream_is_whole_for_a_strict_client(front: Fronted) -> None:
    """One id, the role first, one stop reason, one event with the counts, last; the SDK's own assembler agrees."""
    state = ChatCompletionStreamState()
    chunks = list(front.client().chat.completions.create(**ASK, **COUNTED))  # type: ignore[call-overload]
    for chunk in chunks:
        state.handle_chunk(chunk)
    answer = state.get_final_completion()
    assert ("hello", "stop", 1) == (
        answer.choices[0].message.content,
        answer.choices[0].finish_reason,
        len({chunk.id for chunk in chunks}),
    )
    assert ["assistant", None, None] == [chunk.choices[0].delta.role for chunk in chunks[:-1]]
    assert [None, None, "stop"] == [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert ([], 5) == (chunks[-1].choices, chunks[-1].usage.total_tokens)
    raw = front.post({**ASK, "stream": True}).text
    assert (False, 1, 1) == ("usage" in raw, raw.count('"role"'), raw.count('"stop"'))


TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "go")]


def test_bare_calls_come_back_as_history(front: Fronted) -> None:
    """Ids that a server left out are ours, short and unlike those of the turn before; a round trip works."""
    client, seen = front.client(), []
    for stream in (False, True, False, True):
        if stream:
            state = ChatCompletionStreamState()
            for chunk in client.chat.completions.create(**ASK, tools=TOOLS, stream=True):  # type: ignore[call-overload]
                state.handle_chunk(chunk)
            (choice,) = state.get_final_completion().choices
        else:
            (choice,) = client.chat.completions.create(**ASK, tools=TOOLS).choices  # type: ignore[call-overload]
        calls = choice.message.tool_calls
        assert ("tool_calls", ["{}", '{"a":1}']) == (
            choice.finish_reason,
            [call.function.arguments for call in calls],
        )
        assert ("b", True) == (calls[1].id, len(calls[0].id) <= 40)
        seen.append(calls[0].id)
        results = [{"role": "tool", "tool_call_id": call.id, "content": "1"} for call in calls]
        history = [*USER, choice.message.model_dump(), *results]
        again = client.chat.completions.create(model="chat", messages=history)
        assert "hello" == again.choices[0].message.content
    assert 4 == len(set(seen))


def test_an_answer_that_crosses_protocols_is_as_whole() -> None:
    """The same promises where the provider speaks another protocol."""
    anthropic = (ANTHROPIC, [streamed(ANTHROPIC.pieces(["hel", "lo"]))])
    with fronted(anthropic, anthropic) as front:
        chunks = list(front.client().chat.completions.create(**ASK, **COUNTED))  # type: ignore[call-overload]
        assert ["assistant", None, None, None] == [chunk.choices[0].delta.role for chunk in chunks[:-1]]
        assert ("hello", ["stop"], []) == (
            "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]),
            [chunk.choices[0].finish_reason for chunk in chunks[:-1] if chunk.choices[0].finish_reason],
            chunks[-1].choices,
        )
        assert 1 < min(chunk.created for chunk in chunks)


BROKEN_OFF = ["error", "insufficient_system_resource"]


@pytest.mark.parametrize("reason", BROKEN_OFF)
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_reason_that_means_broken_off_is_a_failure(reason: str, stream: bool) -> None:
    """The understudy answers instead."""

    def breaks(body: dict[str, Any]) -> Reply:
        choice = {"index": 0, "finish_reason": reason}
        if body.get("stream"):
            return Reply(headers=SSE, pieces=[(0.0, event({"choices": [{**choice, "delta": {}}]}))])
        whole = {"choices": [{**choice, "message": {"content": "hel"}}]}
        return Reply(headers=JSON, pieces=[(0.0, json.dumps(whole).encode())])

    has = {"capabilities": {"streaming": stream}}
    with fronted((OPENAI, [breaks]), (OPENAI, [bare]), lead_has=has) as front:
        answer = front.post(ASK)
        assert (200, "spare") == (answer.status_code, answer.headers["x-understudy-target"])


# who can

DECLARED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "tools": ({"tools": TOOLS}, {"tools": False}, "tools"),
    "images": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/i.png"}}]}]},
        {"image_urls": False},
        "messages[0].content[0].image_url",
    ),
    "a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"json_schema": False},
        "response_format",
    ),
    "n": ({"n": 2}, {"refuses": ["n"]}, "n"),
    "a long answer": ({"max_tokens": 9}, {"max_output_tokens": 8}, "max_tokens"),
    "a long prompt": ({"messages": [{"role": "user", "content": "x" * 99}]}, {"context_window": 10}, "messages"),
}


@pytest.mark.parametrize("need", DECLARED)
def test_who_declares_that_it_cannot_is_never_asked(need: str) -> None:
    """The other target gets the request, also when it fails; where nobody can, a 400 names the field."""
    asks, can, field = DECLARED[need]
    has = {"capabilities": can}
    quick = {"connect_s": 2, "first_token_s": 1, "first_token_min_s": 1, "request_s": 6}
    with fronted((OPENAI, [bare]), (OPENAI, [Reply(status=None, ending="reset")]), lead_has=has, limits=quick) as front:
        assert 503 == front.post({**ASK, **asks}).status_code
        assert (0, True) == (front.calls[0], front.calls[1] >= 1)
    with fronted((OPENAI, [bare]), (OPENAI, [bare]), lead_has=has, spare_has=has) as front:
        with pytest.raises(openai.BadRequestError) as caught:
            front.client().chat.completions.create(**{**ASK, **asks})
        code = "context_length_exceeded" if need == "a long prompt" else "unsupported_parameter"
        assert (field, code, (0, 0)) == (caught.value.param, caught.value.code, front.calls)
