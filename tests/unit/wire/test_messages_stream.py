"""What callers of the Messages API get: the events of translated and of relayed answers, and the messages they make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anthropic.types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.chat.request import chat_request
from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage
from understudy.errors import ContextTooLong, NoTargetAnswered, RateLimited, StreamBroken, Transient, Unauthenticated
from understudy.wire.anthropic import AnthropicWire
from understudy.wire.base import Event
from understudy.wire.fronts import FRONTS

FRONT = FRONTS["/messages"]
ASKED = chat_request({"model": "chat", "messages": [{"role": "user", "content": "Which bird is this?"}]})
UNSIGNED = "us1.00000000.-"
USAGE = Usage(20, 7, cached_tokens=5, reasoning_tokens=2)
COUNTS = {
    "input_tokens": 15,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 5,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 2},
}
NOTHING = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> Chunk:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "large-1"}
    return chunk_from({**head, "choices": choices, **more})


def counted(usage: Usage = USAGE) -> Chunk:
    return chunk_from({**chunk().payload, "choices": [], "usage": usage.payload()})


def called(index: int | None, id: str | None = None, name: str | None = None, arguments: str = "") -> Chunk:
    place = {} if index is None else {"index": index}
    named = {"name": name} if name else {}
    return chunk(
        {"tool_calls": [{**place, **({"id": id} if id else {}), "function": {**named, "arguments": arguments}}]}
    )


def events(chunks: Iterable[Chunk]) -> list[dict[str, Any]]:
    """The events of a whole answer, read back from its bytes; each is named as its data says."""
    writer = FRONT.writer(ASKED, created=5)
    return parsed(b"".join([*map(writer.event, chunks), writer.end()]))


def parsed(raw: bytes) -> list[dict[str, Any]]:
    found = []
    for block in raw.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert f"event: {found[-1]['type']}" == name
    return found


def opened(index: int, type: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": type, **fields}}


def piece(index: int, type: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type, **fields}}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def said(index: int, *pieces: str) -> list[dict[str, Any]]:
    return [opened(index, "text", text=""), *(piece(index, "text_delta", text=one) for one in pieces), closed(index)]


def thought(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [piece(index, "thinking_delta", thinking=one) for one in pieces]
    signed = piece(index, "signature_delta", signature=UNSIGNED)
    return [opened(index, "thinking", thinking="", signature=""), *deltas, signed, closed(index)]


def used(index: int, id: str, arguments: str) -> list[dict[str, Any]]:
    deltas = [piece(index, "input_json_delta", partial_json=arguments)] if arguments else []
    return [opened(index, "tool_use", id=id, name="find_nest", input={}), *deltas, closed(index)]


def started(usage: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    message = {"id": "msg_7", "type": "message", "role": "assistant", "model": "large-1", "content": []}
    return {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}


def ended(reason: str = "end_turn", usage: Mapping[str, Any] = COUNTS, **more: Any) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": usage, **more}, {"type": "message_stop"}]


STOP = [chunk(finish="stop"), counted()]
CALLS = [chunk(finish="tool_calls"), counted()]
ANSWERS: dict[str, tuple[list[Chunk], list[dict[str, Any]]]] = {
    "text": (
        [chunk({"role": "assistant", "content": ""}), chunk({"content": "A "}), chunk({"content": "wren."}), *STOP],
        [*said(0, "A ", "wren."), *ended()],
    ),
    "usage beside the stop reason": (
        [chunk({"content": "A wren."}, "stop", usage=USAGE.payload())],
        [*said(0, "A wren."), *ended()],
    ),
    "usage in every chunk": (
        [chunk({"content": "A wren."}, usage=Usage(20, 1).payload()), *STOP],
        [*said(0, "A wren."), *ended()],
    ),
    "no usage": ([chunk({"content": "A wren."}, "stop")], [*said(0, "A wren."), *ended(usage=NOTHING)]),
    "cut by the limit": (
        [chunk({"content": "A"}), chunk(finish="length"), counted()],
        [*said(0, "A"), *ended("max_tokens")],
    ),
    "filtered": ([chunk(finish="content_filter"), counted()], ended("refusal")),
    "a refusal is what is said": (
        [chunk({"refusal": "I will "}), chunk({"refusal": "not."}), *STOP],
        [*said(0, "I will ", "not."), *ended()],
    ),
    "thinking": (
        [
            chunk({"reasoning_content": "Small, "}),
            chunk({"reasoning": "brown."}),
            chunk({"content": "\n\n"}),
            chunk({"content": "A wren."}),
            *STOP,
        ],
        [*thought(0, "Small, ", "brown."), *said(1, "\n\nA wren."), *ended()],
    ),
    "blanks alone are no block": (
        [chunk({"content": "\n"}), called(0, "call_1", "find_nest", "{}"), *CALLS],
        [*used(0, "call_1", "{}"), *ended("tool_use")],
    ),
    "calls whose pieces come as they like": (
        [
            chunk({"content": "I look."}),
            called(0, "call_1", "find_nest", '{"bird"'),
            called(1, "call_2", "find_nest"),
            called(0, arguments=': "wren"}'),
            called(1, arguments='{"bird": "owl"}'),
            *CALLS,
        ],
        [
            *said(0, "I look."),
            *used(1, "call_1", '{"bird": "wren"}'),
            *used(2, "call_2", '{"bird": "owl"}'),
            *ended("tool_use"),
        ],
    ),
    "calls without a number, or arguments": (
        [called(None, "a:1", "find_nest"), called(None, "a:2", "find_nest", " "), *CALLS],
        [*used(0, "a:1", ""), *used(1, "a:2", ""), *ended("tool_use")],
    ),
    "a call that is said to be a stop": (
        [called(0, "call_1", "find_nest", "{}"), *STOP],
        [*used(0, "call_1", "{}"), *ended("tool_use")],
    ),
    "a stop that is said to be a call": ([chunk({"content": "A"}), *CALLS], [*said(0, "A"), *ended()]),
    "words after a call": (
        [called(0, "call_1", "find_nest", "{}"), chunk({"content": "Found "}), chunk({"content": "it."}), *CALLS],
        [*used(0, "call_1", "{}"), *said(1, "Found it."), *ended("tool_use")],
    ),
    "arguments that are no object": (
        [called(0, "call_1", "find_nest", "wren"), *CALLS],
        [*used(0, "call_1", '{"arguments": "wren"}'), *ended("tool_use")],
    ),
    "arguments cut by the limit": (
        [called(0, "call_1", "find_nest", '{"bird": "wr'), chunk(finish="length"), counted()],
        [*used(0, "call_1", '{"bird": "wr'), *ended("max_tokens")],
    ),
    "a call of the older kind": (
        [chunk({"function_call": {"name": "find_nest", "arguments": "{}"}}), chunk(finish="function_call"), counted()],
        [*used(0, "call_5_0", "{}"), *ended("tool_use")],
    ),
    "resumed": (
        [chunk({"content": "A wren."}, "stop", understudy={"resumed": [{"from": "a"}]}), counted()],
        [*said(0, "A wren."), *ended(understudy={"resumed": [{"from": "a"}]})],
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_translated_answer(name: str) -> None:
    """Chunks become a message's events: blocks one after the other, the counts with the stop reason, the end last."""
    chunks, expected = ANSWERS[name]
    first, *rest = events(chunks)
    assert ("message_start", "msg_7", "large-1") == (first["type"], first["message"]["id"], first["message"]["model"])
    assert expected == rest


@pytest.mark.parametrize("name", ANSWERS)
def test_a_whole_answer_is_its_events_folded(name: str) -> None:
    """A caller that does not stream gets what its SDK would have made of the stream."""
    chunks, _ = ANSWERS[name]
    message = FRONT.whole(ASKED, chunks, created=5)
    snapshot = folded(events(chunks))
    note = {"understudy": message["understudy"]} if "understudy" in message else {}
    assert snapshot | note == message
    anthropic.types.Message.model_validate(message, strict=True)


def folded(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The message that Anthropic's own SDK makes of events."""
    from anthropic.lib.streaming._messages import accumulate_event

    buffers: dict[int, bytes] = {}
    snapshot: Any = None
    adapter = anthropic.types.RawMessageStreamEvent
    from pydantic import TypeAdapter

    for one in told:
        event = TypeAdapter(adapter).validate_python(one)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    whole: dict[str, Any] = json.loads(snapshot.to_json(exclude_unset=True))
    for name in ("stop_details", "container", "diagnostics"):
        whole.pop(name, None)
    for block in whole["content"]:
        block.pop("parsed_output", None)
    return whole


def test_the_prompts_tokens_are_told_at_the_start_where_they_are_known() -> None:
    """A wire that knows them before the end says so on its first chunk."""
    known = replace(chunk({"role": "assistant"}), usage=Usage(20, 1, cached_tokens=5))
    assert {**NOTHING, "input_tokens": 15, "cache_read_input_tokens": 5, "output_tokens": 1} == events([known, *STOP])[
        0
    ]["message"]["usage"]


def test_an_answer_without_an_id_gets_one() -> None:
    """Two answers of servers that give none have two ids, and each always the same."""
    nameless = [chunk_from({**chunk({"content": words}).payload, "id": None}) for words in ("a", "b")]
    one, other = (events([first, *STOP])[0]["message"]["id"] for first in nameless)
    assert (True, False) == (one.startswith("msg_"), one == other)
    assert one == events([nameless[0], *STOP])[0]["message"]["id"]


# relayed answers

WIRE = AnthropicWire()
LIVE: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "cache_read_input_tokens": 3, "output_tokens": 1, "service_tier": "priority"},
        },
    },
    opened(0, "thinking", thinking="", signature=""),
    piece(0, "thinking_delta", thinking="Small, brown."),
    piece(0, "signature_delta", signature="c2ln"),
    closed(0),
    opened(1, "redacted_thinking", data="ZW5j"),
    closed(1),
    opened(2, "server_tool_use", id="srvtoolu_1", name="web_search", input={}),
    piece(2, "input_json_delta", partial_json='{"query": "wren"}'),
    closed(2),
    opened(3, "web_search_tool_result", tool_use_id="srvtoolu_1", content=[{"type": "web_search_result"}]),
    closed(3),
    opened(4, "text", text="", citations=[]),
    piece(4, "text_delta", text="A wren."),
    piece(4, "citations_delta", citation={"type": "web_search_result_location", "url": "https://x.example"}),
    closed(4),
    opened(5, "tool_use", id="toolu_1", name="find_nest", input={}, caller={"type": "direct"}),
    piece(5, "input_json_delta", partial_json=""),
    piece(5, "input_json_delta", partial_json='{"bird": "wren"}'),
    closed(5),
    {"type": "feather", "moult": True},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "c_1"}},
        "usage": {"output_tokens": 40, "server_tool_use": {"web_search_requests": 1}},
        "context_management": {"applied_edits": []},
    },
    {"type": "message_stop", "metrics": {"latency": 1}},
]


def live(told: Iterable[Mapping[str, Any]], owner: str = "") -> list[Chunk]:
    """The chunks of a provider's stream whose caller speaks the same API."""
    decoder = WIRE.decoder(native=True, owner=owner)
    return [chunk for one in told for chunk in decoder.feed(Event(str(one["type"]), json.dumps(one)))]


def test_a_stream_is_relayed_event_for_event() -> None:
    """Ids, citations, tools that the provider runs, unknown events and fields: everything comes through as it was."""
    assert LIVE == events(live([LIVE[0], {"type": "ping"}, *LIVE[1:]]))


def test_what_only_its_maker_can_read_is_marked() -> None:
    """Signatures and redacted thinking are the target's, and nothing else is touched."""
    marked = events(live(LIVE, "1f2e3d4c"))
    expected = json.loads(json.dumps(LIVE))
    expected[3]["delta"]["signature"] = "us1.1f2e3d4c.c2ln"
    expected[5]["content_block"]["data"] = "us1.1f2e3d4c.ZW5j"
    assert expected == marked


def test_thinking_without_a_signature_is_marked_too() -> None:
    """Some servers of this API sign nothing; their thinking goes back to them alone as well."""
    told = [LIVE[0], opened(0, "thinking", thinking="Hm."), closed(0), *said(1, "A"), *ended()]
    signed = piece(0, "signature_delta", signature="us1.1f2e3d4c.")
    assert [*told[:2], signed, *told[2:]] == events(live(told, "1f2e3d4c"))


def test_a_relayed_answer_that_is_not_streamed() -> None:
    """The folded message has everything that the events had."""
    message = FRONT.whole(ASKED, live(LIVE), created=5)
    assert ("msg_01", "tool_use", {"id": "c_1"}, {"applied_edits": []}) == (
        message["id"],
        message["stop_reason"],
        message["container"],
        message["context_management"],
    )
    assert {
        "input_tokens": 12,
        "cache_read_input_tokens": 3,
        "output_tokens": 40,
        "service_tier": "priority",
        "server_tool_use": {"web_search_requests": 1},
    } == message["usage"]
    assert ["thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result", "text", "tool_use"] == [
        block["type"] for block in message["content"]
    ]
    assert {"type": "thinking", "thinking": "Small, brown.", "signature": "c2ln"} == message["content"][0]
    assert {"query": "wren"} == message["content"][2]["input"]
    assert [{"type": "web_search_result_location", "url": "https://x.example"}] == message["content"][4]["citations"]
    assert {"bird": "wren"} == message["content"][5]["input"]


def test_a_whole_message_of_a_provider_stays_what_it_is() -> None:
    """A provider that answers at once is relayed too: the same message comes out, streamed or not."""
    message = dict(FRONT.whole(ASKED, live(LIVE), created=5))
    chunks = WIRE.chunks(message, native=True, owner="")
    assert message == FRONT.whole(ASKED, chunks, created=5)
    streamed = events(chunks)
    # Clients that stream read texts and inputs from deltas alone.
    starts = [one["content_block"] for one in streamed if one["type"] == "content_block_start"]
    assert ["", "", {}, {}] == [starts[0]["thinking"], starts[4]["text"], starts[2]["input"], starts[5]["input"]]


def test_a_paused_turn_is_an_answer() -> None:
    """A turn that a provider's own tool pauses ends in its own word, and does not count as empty, even after thinking
    alone."""
    told = [LIVE[0], *LIVE[1:5], ended("pause_turn")[0], LIVE[-1]]
    chunks = live(told)
    assert told == events(chunks)
    assert ([{0: "stop"}], True) == (
        [one.finish_reasons for one in chunks if one.finish_reasons],
        any(one.answers for one in chunks),
    )


CUTS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "in a text": (
        [opened(0, "text", text=""), piece(0, "text_delta", text="A ")],
        [piece(0, "text_delta", text="wren."), closed(0)],
    ),
    "between blocks": (said(0, "A "), said(1, "wren.")),
    "in its thinking": (
        [opened(0, "thinking", thinking="", signature=""), piece(0, "thinking_delta", thinking="Hm")],
        [piece(0, "signature_delta", signature=UNSIGNED), closed(0), *said(1, "wren.")],
    ),
    "in a tool of its provider": (
        [*said(0, "A "), opened(1, "server_tool_use", id="s", name="n", input={})],
        [closed(1), *said(2, "wren.")],
    ),
    "before its first block": ([], said(0, "wren.")),
}


@pytest.mark.parametrize("name", CUTS)
def test_another_target_goes_on(name: str) -> None:
    """Where a relayed answer breaks off, the translated rest joins it without a seam: one start, one text, one end."""
    before, after = CUTS[name]
    note = {"resumed": [{"from": "lead", "to": "spare", "at": 2, "how": "continuation"}]}
    rest = [chunk({"content": "wren."}), chunk(finish="stop", understudy=note), counted()]
    told = events([*live([LIVE[0], *before]), *rest])
    assert [LIVE[0], *before, *after, *ended(understudy=note)] == told


# what goes wrong


def test_a_broken_stream_is_told_by_an_error_alone() -> None:
    """An error event in this API's shape, and neither a stop reason nor an end after it."""
    writer = FRONT.writer(ASKED, created=5)
    writer.event(chunk({"content": "A "}))
    (told,) = parsed(writer.broken(StreamBroken("lead", Transient("reset"))))
    assert ("error", "api_error", {"error_code": "stream_broken"}) == (
        told["type"],
        told["error"]["type"],
        told["error"]["details"],
    )


ERRORS: list[tuple[BaseException, int, str]] = [
    (Unauthenticated("Send your key."), 401, "authentication_error"),
    (NoTargetAnswered("chat", []), 503, "overloaded_error"),
    (NoTargetAnswered("chat", [], RateLimited("slow")), 429, "rate_limit_error"),
    (KeyError("secret"), 500, "api_error"),
]


@pytest.mark.parametrize(("error", "status", "kind"), ERRORS)
def test_errors_have_this_apis_words(error: BaseException, status: int, kind: str) -> None:
    """The status is every front's, the type is what this API calls it."""
    found, body = FRONT.error(error)
    assert (status, "error", kind) == (found, body["type"], body["error"]["type"])
    assert "secret" not in json.dumps(body)


def test_a_prompt_that_is_too_long_is_said_so() -> None:
    """Clients look for these words to know that they have to shorten the conversation, whoever said it."""
    status, body = FRONT.error(ContextTooLong("maximum context length is 8192 tokens", status=400))
    assert (400, "invalid_request_error") == (status, body["error"]["type"])
    assert body["error"]["message"].startswith("prompt is too long: ")


# any answer

words = st.text(max_size=6)
inputs = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3)


@settings(max_examples=20)
@given(st.lists(words, max_size=4), st.lists(words, max_size=4), st.lists(inputs, max_size=2), st.data())
def test_any_answer_keeps_its_meaning(
    thoughts: list[str], texts: list[str], calls: list[Any], data: st.DataObject
) -> None:
    """However an answer is cut into chunks, its message says what the completion says."""
    chunks = [chunk({"reasoning_content": one}) for one in thoughts] + [chunk({"content": one}) for one in texts]
    pieces = [called(index, f"call_{index}", "find_nest") for index, _ in enumerate(calls)]
    left = [json.dumps(one) for one in calls]
    while any(left):
        index = data.draw(st.sampled_from([i for i, rest in enumerate(left) if rest]))
        cut = data.draw(st.integers(1, len(left[index])))
        pieces.append(called(index, arguments=left[index][:cut]))
        left[index] = left[index][cut:]
    chunks += [*pieces, chunk(finish="tool_calls" if calls else "stop"), counted()]
    message, completion = FRONT.whole(ASKED, chunks, created=5), completion_from_chunks(chunks)["choices"][0]["message"]
    blocks = message["content"]
    text = completion["content"] or ""
    assert (text if text.strip() else "") == "".join(b["text"] for b in blocks if b["type"] == "text")
    thinking = completion.get("reasoning_content") or ""
    assert thinking.strip() == "".join(b["thinking"] for b in blocks if b["type"] == "thinking").strip()
    assert calls == [b["input"] for b in blocks if b["type"] == "tool_use"]
    assert [f"call_{i}" for i, _ in enumerate(calls)] == [b["id"] for b in blocks if b["type"] == "tool_use"]
    assert ("tool_use" if calls else "end_turn") == message["stop_reason"]
    assert folded(events(chunks)) == message
