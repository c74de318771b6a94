"""Promises of the wires, through public names only (WIRES, SseDecoder)."""

import contextlib
import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.chat.request import chat_request
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    ContextTooLong,
    Credential,
    Garbage,
    InvalidRequest,
    Overloaded,
    Transient,
)
from understudy.wire import WIRES
from understudy.wire.base import Event
from understudy.wire.sse import SseDecoder

OPENAI, ANTHROPIC = WIRES["openai"], WIRES["anthropic"]


def req(*messages, **f):
    return chat_request({"model": "r", "messages": list(messages) or [{"role": "user", "content": "hi"}], **f})


def sent(r, wire=ANTHROPIC, drop=frozenset(), stream=False, m=None):
    return json.loads(wire.call(r, model="m", stream=stream, drop=drop, max_output_tokens=m).body)


def user(t):
    return {"role": "user", "content": t}


def fail(status, body, headers=None, wire=OPENAI):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.failure(status, headers or {}, body)


def err(message="", **k):
    return {"error": {"message": message, **k}}


DATE = "Tue, 24 Nov 2026 10:00:00 GMT"


def parse(reads):
    d = SseDecoder()
    out = [e for r in reads for e in d.feed(r)]
    return out + d.flush()


@pytest.mark.parametrize(
    "raw,want",
    [
        (b"data: a\n\ndata:b\r\n\r\ndata: c\r\r", ["a", "b", "c"]),
        (b"\xef\xbb\xbfdata: x\n\n", ["x"]),
        (b": ping\nid: 1\nretry: 3\ndata: 1\ndata: 2\n\n", ["1\n2"]),
        (b"data: tail", ["tail"]),
        (b"event: e\n\ndata: q\n\n", ["q"]),
    ],
)
def test_sse(raw, want):
    """Every line ending, BOM, comment and missing blank line is read."""
    assert want == [e.data for e in parse([raw])]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["data: é\n", "data:\u2028x\r\n", "data: 𝄞\r", "\n", "\r\n", "\r", ": c\n", "event: n\n"]),
        max_size=12,
    ),
    st.lists(st.integers(0, 120)),
)
def test_sse_cuts(lines, cuts):
    """The events are the same however the bytes are cut."""
    raw = "".join(lines).encode()
    at = sorted({0, len(raw), *(c for c in cuts if c < len(raw))})
    assert parse([raw]) == parse([raw[a:b] for a, b in itertools.pairwise(at)])


def test_sse_bound():
    """A line without end is refused."""
    d = SseDecoder()
    with pytest.raises(ValueError):
        for _ in range(20):
            d.feed(b"x" * (1 << 20))


@pytest.mark.parametrize(
    "headers,want",
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"date": DATE, "retry-after": "Tue, 24 Nov 2026 10:00:09 GMT"}, 9.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0.5s"}, 360.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        (
            {
                "date": DATE,
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-24T10:00:30Z",
            },
            30.0,
        ),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_hint(headers, want):
    """A hint is seconds, whatever form it has."""
    assert want == fail(429, err("x"), headers).retry_after


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdEFGH12345678",
        "sk-ant-api03-AbCdEf_123456",
        "gsk_abcdEFGH12345678",
        "AIzaSyA1234567890abcdefg",
        "sk-ab***********wxyz",
        "0123456789abcdef0123456789abcdef",
        "hunter2",
    ],
)
def test_no_key_leaves(secret):
    """A key that a provider echoes is masked."""
    assert secret not in str(fail(401, err(f"Incorrect API key provided: {secret}. See docs")))


def test_key_at_the_cut():
    """A key is masked also where the message is cut."""
    assert "sk-ant" not in str(fail(400, err("x" * 490 + " sk-ant-api03-" + "A1b2" * 8)))
    assert 510 > len(str(fail(400, err("x" * 9000))))


def test_caller_fault_kept():
    """Message, code, param and status of a caller's fault are kept, and a numeric code is never one."""
    f = fail(400, err("bad", code="c", param="p"))
    assert ("bad", "c", "p", 400) == (f.message, f.code, f.param, f.status)
    assert None is fail(400, err("bad", code=400)).code
    assert "bad" == fail(422, {"detail": "bad"}).message


def ev(d, name=""):
    return Event(name, d if isinstance(d, str) else json.dumps(d))


def test_openai_call():
    """Only model, stream and stream_options change; order and text stay."""
    r = req(user("é"), temperature=1, stream=False, stream_options={"x": 1})
    assert ["model", "messages", "temperature", "stream", "stream_options"] == list(sent(r, OPENAI, stream=True))
    assert {"x": 1, "include_usage": True} == sent(r, OPENAI, stream=True)["stream_options"]
    assert "é".encode() in OPENAI.call(r, model="m", stream=False, drop=set(), max_output_tokens=None).body
    assert "stream_options" not in sent(r, OPENAI)
    assert "temperature" not in sent(r, OPENAI, drop={"temperature"})


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_lone_surrogate(wire):
    """A lone surrogate is carried or refused, never a crash."""
    with contextlib.suppress(InvalidRequest):
        wire.call(req(user("\ud800")), model="m", stream=False, drop=set(), max_output_tokens=None)


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_chunks_of_nothing(wire):
    """A whole answer that says nothing is a failure of the attempt."""
    with pytest.raises(AttemptFailed):
        wire.chunks({})


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
@pytest.mark.parametrize("data", ["[1]", "{", "7", "[" * 100_000])
def test_unreadable_event(wire, data):
    """An event that is no JSON object is a ValueError, however deep it is."""
    with pytest.raises(ValueError):
        wire.decoder().feed(Event("", data))


def test_openai_stream():
    """Complete only when every choice seen has finished."""
    d = OPENAI.decoder()

    def c(i, f=None):
        return ev({"choices": [{"index": i, "delta": {"content": "a"}, "finish_reason": f}]})

    seen = [d.complete]
    for e in (c(0), c(1), c(0, "stop"), c(1, "stop"), ev("[DONE]")):
        d.feed(e)
        seen.append(d.complete)
    assert [False, False, False, False, True, True] == seen


@pytest.mark.parametrize(
    "event,want",
    [
        (ev(err("x", code="context_length_exceeded")), ContextTooLong),
        (ev(err("x", code=502)), Transient),
        (ev(err("x", type="overloaded_error")), Overloaded),
        (ev({"error": "boom"}), Transient),
        (ev("plain words", "error"), Transient),
        (ev({"object": "error", "message": "m", "code": 400}), CallerFault),
    ],
)
def test_openai_stream_error(event, want):
    """An error event is the failure it names."""
    with pytest.raises(AttemptFailed) as e:
        OPENAI.decoder().feed(event)
    assert want is type(e.value)


@pytest.mark.parametrize("data", ["[1]", "{", "null", "7"])
def test_openai_unreadable(data):
    """What is no JSON object is a ValueError."""
    with pytest.raises(ValueError):
        OPENAI.decoder().feed(ev(data))


def test_openai_empty_keepalive():
    """An empty event is a keep-alive."""
    assert [] == OPENAI.decoder().feed(ev(""))


@pytest.mark.parametrize(
    "body,want",
    [
        ({}, Garbage),
        ({"choices": []}, Garbage),
        (err("x", code="rate_limit_exceeded"), Overloaded),
        (
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]},
            Garbage,
        ),
    ],
)
def test_openai_whole_bad(body, want):
    """A 200 that is no answer is a failure."""
    with pytest.raises(want):
        OPENAI.chunks(body)


def call(id, args="{}", name="f"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": args}}


def tool(id, c="r"):
    return {"role": "tool", "tool_call_id": id, "content": c}


def test_anthropic_conversation():
    """Results of one turn are one user message, before its text; roles alternate; system comes first."""
    b = sent(
        req(
            {"role": "system", "content": "S"},
            user("a"),
            user("b"),
            {"role": "assistant", "content": " ", "tool_calls": [call("x y"), call("t2", "")]},
            tool("x y"),
            {"role": "system", "content": "MID"},
            tool("t2", ""),
            user("c"),
        )
    )
    assert ["user", "assistant", "user"] == [m["role"] for m in b["messages"]]
    assert "MID" in json.dumps(b)
    assert "S" in json.dumps(b["system"])
    last = [x["type"] for x in b["messages"][-1]["content"]]
    assert sorted(last, key=lambda t: t != "tool_result") == last and 2 == last.count("tool_result")
    uses = list(b["messages"][1]["content"])
    assert [{}, {}] == [u["input"] for u in uses]
    assert [u["id"] for u in uses] == [x["tool_use_id"] for x in b["messages"][-1]["content"][:2]]


@pytest.mark.parametrize("args", ["{bad", "[1]", '"s"'])
def test_anthropic_bad_arguments(args):
    """Arguments that are no JSON object are refused by name."""
    with pytest.raises(InvalidRequest) as e:
        sent(req(user("a"), {"role": "assistant", "tool_calls": [call("t", args)]}, tool("t")))
    assert "messages[1].tool_calls[0].function.arguments" == e.value.param


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_cannot_carry_never_raises(wire):
    """Asking what cannot be carried gives names, never an error."""
    wire.cannot_carry(req(user("a"), {"role": "assistant", "tool_calls": [call("t", "{bad")]}, tool("t")))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=80), unique=True, min_size=1, max_size=6))
def test_tool_ids(ids):
    """Every tool id fits the pattern and stays distinct."""
    b = sent(req(user("a"), {"role": "assistant", "tool_calls": [call(i) for i in ids]}, *[tool(i) for i in ids]))
    got = [x["id"] for x in b["messages"][1]["content"]]
    assert len(ids) == len(set(got)) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", g) for g in got)
    assert got == [x["tool_use_id"] for x in b["messages"][2]["content"]]


@pytest.mark.parametrize(
    "fields,names",
    [
        ({"temperature": 1.5}, {"temperature"}),
        ({"temperature": 1}, set()),
        ({"n": 2}, {"n"}),
        (
            {
                "n": 1,
                "store": False,
                "frequency_penalty": 0,
                "presence_penalty": 0.0,
                "logprobs": False,
                "service_tier": "auto",
            },
            set(),
        ),
        ({"seed": 0}, {"seed"}),
        ({"logit_bias": {"1": 2}, "logprobs": True, "top_logprobs": 2}, {"logit_bias", "logprobs", "top_logprobs"}),
        ({"frequency_penalty": 1}, {"frequency_penalty"}),
        (
            {"store": True, "metadata": {"a": "b"}, "reasoning_effort": "low", "zzz": None},
            {"store", "metadata", "reasoning_effort"},
        ),
        ({"zzz": 0}, {"zzz"}),
        ({"response_format": {"type": "json_object"}}, {"response_format"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"tools": [], "parallel_tool_calls": True}, set()),
    ],
)
def test_cannot_carry(fields, names):
    """Every field without a place is named, and no other."""
    assert names == set(ANTHROPIC.cannot_carry(req(**fields)))


@pytest.mark.parametrize(
    "part,bad",
    [
        ({"type": "input_audio", "input_audio": {}}, True),
        ({"type": "file", "file": {}}, True),
        ({"type": "image_url", "image_url": {"url": "https://h/i.png"}}, False),
    ],
)
def test_parts(part, bad):
    """A part without a place is named by its path."""
    assert ({"messages[0].content[1]"} if bad else set()) == set(
        ANTHROPIC.cannot_carry(req(user([{"type": "text", "text": "t"}, part])))
    )


def test_undropped_raises():
    """What is neither carried nor dropped raises, never vanishes."""
    with pytest.raises(InvalidRequest):
        sent(req(seed=1))


def test_message_name_named():
    """A field of a message without a place is named."""
    assert {"messages[0].name"} == set(ANTHROPIC.cannot_carry(req({"role": "user", "content": "a", "name": "bob"})))


def test_sdk_echo():
    """An echoed SDK message is valid history."""
    assert set() == set(
        ANTHROPIC.cannot_carry(
            req(
                user("a"),
                {
                    "role": "assistant",
                    "content": "b",
                    "refusal": None,
                    "annotations": [],
                    "audio": None,
                    "function_call": None,
                    "tool_calls": None,
                    "reasoning_content": "t",
                },
                user("c"),
            )
        )
    )


def test_request_fields():
    """Limits, stops, user, images, tools and schema arrive."""
    tools = [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
        }
    ]
    b = sent(
        req(
            user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]),
            stop=["x", " "],
            user="u",
            tools=tools,
            tool_choice="required",
            parallel_tool_calls=False,
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "n",
                    "schema": {"type": "object", "properties": {}, "additionalProperties": False},
                },
            },
        )
    )
    assert (8192, ["x"], {"user_id": "u"}) == (b["max_tokens"], b["stop_sequences"], b["metadata"])
    assert {"type": "any", "disable_parallel_tool_use": True} == b["tool_choice"]
    assert {"type": "base64", "media_type": "image/png", "data": "AAAA"} == b["messages"][0]["content"][0]["source"]
    assert "json_schema" == b["output_config"]["format"]["type"]
    assert (9, 5) == (
        sent(req(), m=9)["max_tokens"],
        sent(req(max_tokens=4, max_completion_tokens=5), m=9)["max_tokens"],
    )


def test_schema_closed():
    """An open object in a schema is closed, as the provider demands."""
    b = sent(
        req(
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "n",
                    "schema": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}},
                },
            }
        )
    )
    s = b["output_config"]["format"]["schema"]
    assert (False, False) == (s.get("additionalProperties"), "minimum" in s["properties"]["a"])


def test_system_only():
    """Instructions alone still make a message."""
    assert 1 == len(sent(req({"role": "system", "content": "S"}))["messages"])


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "mm",
        "stop_reason": None,
        "usage": {
            "input_tokens": 3,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 5,
            "output_tokens": 1,
        },
    },
}


def stream(*events):
    d = ANTHROPIC.decoder()
    out = [c for e in events for c in d.feed(ev(e, e["type"]))]
    return d, out


def block(i, b):
    return {"type": "content_block_start", "index": i, "content_block": b}


def delta(i, **d):
    return {"type": "content_block_delta", "index": i, "delta": d}


def stop(r):
    return {"type": "message_delta", "delta": {"stop_reason": r}, "usage": {"output_tokens": 9}}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text()))
def test_stream_text(pieces):
    """Streamed text is the concatenation of its pieces."""
    d, out = stream(
        START,
        {"type": "ping"},
        block(0, {"type": "text", "text": ""}),
        *[delta(0, type="text_delta", text=p) for p in pieces],
        {"type": "content_block_stop", "index": 0},
        stop("end_turn"),
        {"type": "message_stop"},
    )
    assert ("".join(pieces), True) == ("".join(c.text for c in out), d.complete)
    assert [(12, 1, 4), (12, 9, 4)] == [
        (c.usage.prompt_tokens, c.usage.completion_tokens, c.usage.cached_tokens) for c in out if c.usage
    ]
    assert [False, True] == ["usage" in c.payload for c in out if c.usage]
    assert "assistant" == out[0].payload["choices"][0]["delta"]["role"]
    assert 1 == len({c.payload["id"] for c in out}) and out[0].payload["id"].startswith("chatcmpl-")


def test_stream_tools_and_thinking():
    """Calls stream id and name first, empty arguments as {}; thinking is never content."""
    _d, out = stream(
        START,
        block(0, {"type": "thinking", "thinking": ""}),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="s"),
        {"type": "content_block_stop", "index": 0},
        block(1, {"type": "tool_use", "id": "a", "name": "f", "input": {}}),
        delta(1, type="input_json_delta", partial_json=""),
        delta(1, type="input_json_delta", partial_json='{"x":1}'),
        {"type": "content_block_stop", "index": 1},
        block(2, {"type": "tool_use", "id": "b", "name": "g", "input": {}}),
        {"type": "content_block_stop", "index": 2},
        stop("tool_use"),
    )
    args = {}
    for c in out:
        for ch in c.payload["choices"]:
            for t in ch["delta"].get("tool_calls", ()):
                args[t["index"]] = args.get(t["index"], "") + t["function"].get("arguments", "")
    assert {0: '{"x":1}', 1: "{}"} == args
    assert "" == "".join(c.text for c in out)
    assert {0: "tool_calls"} == next(c.finish_reasons for c in out if c.finish_reasons)


@pytest.mark.parametrize(
    "reason,want",
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_finish(reason, want):
    """Every stop reason has its finish reason, streamed and whole."""
    assert [{0: want}] == [c.finish_reasons for c in stream(START, stop(reason))[1] if c.finish_reasons]
    assert [{0: want}] == [
        c.finish_reasons
        for c in ANTHROPIC.chunks(
            {**START["message"], "content": [{"type": "text", "text": "t"}], "stop_reason": reason}
        )
        if c.finish_reasons
    ]


@pytest.mark.parametrize(
    "events",
    [
        [START, stop("pause_turn")],
        [START, stop("zzz")],
        [START, block(0, {"type": "zzz"})],
        [block(0, {"type": "text", "text": "early"})],
    ],
)
def test_stream_unknown(events):
    """What cannot be carried is a ValueError."""
    with pytest.raises(ValueError):
        stream(*events)


@pytest.mark.parametrize(
    "kind,want",
    [
        ("overloaded_error", Overloaded),
        ("rate_limit_error", Overloaded),
        ("api_error", Transient),
        ("invalid_request_error", CallerFault),
        ("authentication_error", Credential),
        ("permission_error", Credential),
        ("billing_error", Credential),
        ("not_found_error", Credential),
    ],
)
def test_stream_error(kind, want):
    """An error event is the failure its type names, after message_start as before."""
    with pytest.raises(AttemptFailed) as e:
        stream(START, {"type": "error", "error": {"type": kind, "message": "m"}})
    assert want is type(e.value)


def test_whole_empty():
    """A whole answer without content is garbage."""
    with pytest.raises(Garbage):
        ANTHROPIC.chunks({**START["message"], "content": [], "stop_reason": "end_turn"})
