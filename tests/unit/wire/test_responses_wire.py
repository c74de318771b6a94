"""The Responses API as a target speaks it: what is sent as it was written, and what its events say to the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.simulators.answers import answer
from infra.local.simulators.openai_responses import Memory
from understudy.chat.bound import NOBODY, marked, marked_id
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.stream import Chunk
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed, CallerFault, Garbage, InvalidRequest, Overloaded, Transient
from understudy.wire import WIRES
from understudy.wire.base import Event, Quirks
from understudy.wire.fronts import FRONTS
from understudy.wire.sse import SseDecoder

WIRE = WIRES["responses"]
OWNER, OTHER = "1f2e3d4c", "9abcdef0"
RICH: dict[str, Any] = {
    "model": "chat",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Grüße 👍"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "1e400 \u2028"},
    ],
    "stream": True,
    "instructions": None,
    "temperature": 1.0,
    "tools": [{"type": "web_search"}, {"type": "function", "name": "look", "parameters": {"const": 10**20}}],
    "unknown": {"nested": [None, 0.1]},
}


def native(body: dict[str, Any]) -> ChatRequest:
    read = FRONTS["/responses"].read(json.dumps(body).encode(), {})
    assert isinstance(read, ChatRequest)
    return read


def sent(body: dict[str, Any], *, stream: bool = True, drop: frozenset[str] = frozenset()) -> bytes:
    called = WIRE.call(
        native(body), model="large-1", stream=stream, drop=drop, max_output_tokens=None, quirks=Quirks(OWNER)
    )
    assert "/responses" == called.path
    return called.body


def compact(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_request_goes_out_byte_for_byte() -> None:
    """Only the model is another: order, nulls, numbers and unknown fields are the caller's own."""
    assert compact(RICH | {"model": "large-1"}) == sent(RICH)


def test_a_caller_that_does_not_stream_is_streamed_to_the_router() -> None:
    """The mode is the engine's; a field for it is added or set, and nothing else."""
    body = {name: value for name, value in RICH.items() if name != "stream"}
    assert compact(body | {"model": "large-1", "stream": True}) == sent(body)
    assert compact(body | {"model": "large-1"}) == sent(body, stream=False)
    optional = {"stream_options": {"include_obfuscation": False}}
    assert compact(RICH | {"model": "large-1", "stream": False}) == sent(RICH | optional, stream=False)


def test_what_was_not_written_for_it_is_never_sent() -> None:
    """A chat request has no Responses body, and one that the router added to is not the caller's any more."""
    chat = chat_request({"model": "chat", "messages": [{"role": "user", "content": "hi"}]})
    for request in (chat, native(RICH | {"tools": []}).asking_to_go_on("x", 0)):
        with pytest.raises(InvalidRequest):
            WIRE.call(request, model="m", stream=True, drop=frozenset(), max_output_tokens=None)
    assert {"messages"} == WIRE.cannot_carry(chat)
    assert set() == WIRE.cannot_carry(native(RICH))


def test_what_is_dropped_is_dropped_in_its_own_place() -> None:
    """A route names fields as chat does."""
    body = {"model": "chat", "input": "x", "reasoning": {"effort": "low", "summary": "auto"}, "user": "u"}
    body |= {"max_output_tokens": 9, "text": {"verbosity": "low"}}
    drop = frozenset({"reasoning_effort", "max_completion_tokens", "verbosity", "user", "input"})
    expected = {"model": "large-1", "input": "x", "reasoning": {"summary": "auto"}, "text": {}, "stream": True}
    assert expected == json.loads(sent(body, drop=drop))


def test_marks_come_off_for_their_owner_and_others_content_stays_out() -> None:
    """Thinking of another target is left out whole; what else it made is sent without its id."""
    message = {"type": "message", "role": "assistant", "content": "us1. is text"}
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    thought = {"type": "reasoning", "summary": []}
    items: list[Any] = [
        thought | {"id": marked_id("rs_1", OWNER), "encrypted_content": marked("gAAAA", OWNER)},
        thought | {"id": marked_id("rs_2", OTHER), "encrypted_content": marked("gBBBB", OTHER)},
        thought | {"id": marked_id("rs_3", NOBODY)},
        thought | {"id": "rs_4", "encrypted_content": "gCCCC"},
        message | {"id": marked_id("msg_1", OWNER)},
        call | {"id": marked_id("fc_1", OTHER)},
        {"type": "item_reference", "id": marked_id("msg_1", OWNER)},
    ]
    body = {"model": "chat", "input": items, "previous_response_id": marked_id("resp_1", OWNER)}
    told = json.loads(sent(body))
    assert "resp_1" == told["previous_response_id"]
    assert [
        thought | {"id": "rs_1", "encrypted_content": "gAAAA"},
        thought | {"id": "rs_4", "encrypted_content": "gCCCC"},
        message | {"id": "msg_1"},
        call,
        {"type": "item_reference", "id": "msg_1"},
    ] == told["input"]


# answers

ASKED = {
    "model": "m",
    "input": "look, web_search, count to 3",
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "low", "summary": "auto"},
    "tools": [{"type": "web_search"}],
}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
RUN = {"type": "custom", "name": "run"}


def said(stream: bool = True, **fields: Any) -> bytes:
    """What the simulated provider answers."""
    memory = Memory()
    asked = memory.read(ASKED | {"stream": stream} | fields)
    return b"".join(one.data for one in memory.render(asked, answer(asked)).pieces)


def decoded(data: bytes, **options: Any) -> list[Chunk]:
    decoder = WIRE.decoder(**options)
    chunks = [chunk for event in SseDecoder().feed(data) for chunk in decoder.feed(event)]
    assert (True, True) == (decoder.complete, decoder.ended)
    return chunks


def events(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [dict(event) for chunk in chunks for event in chunk.native]


def reasons(chunks: list[Chunk]) -> list[str]:
    return [reason for chunk in chunks for reason in chunk.finish_reasons.values()]


def test_events_say_text_thinking_and_counts() -> None:
    """What the engine watches is read off, and the events come along."""
    chunks = decoded(said(), native=True)
    (final,) = [chunk for chunk in chunks if chunk.finish_reasons]
    assert "".join(chunk.text for chunk in chunks).endswith("count to 3 1 2 3")
    assert (True, ["stop"]) == (any(chunk.has_reasoning for chunk in chunks), reasons(chunks))
    assert isinstance(final.usage, Usage)
    assert final.usage.completion_tokens > 0
    assert [json.loads(event.data) for event in SseDecoder().feed(said())] == events(chunks)


def test_calls_are_read_whole() -> None:
    """Calls of functions and of custom tools have their ids, names and arguments."""
    chunks = decoded(said(input="look and run", tools=[LOOK, RUN]), native=True)
    pieces = [call for c in chunks for choice in c.payload["choices"] for call in choice["delta"].get("tool_calls", ())]
    named = [(one["type"], one[one["type"]]["name"]) for one in pieces if "id" in one]
    assert [("function", "look"), ("custom", "run")] == named
    assert "{}" == "".join(one["function"]["arguments"] for one in pieces if "function" in one)
    assert ["tool_calls"] == reasons(chunks)


def test_a_providers_own_tool_is_content_that_only_the_caller_reads() -> None:
    """A search is part of the answer, though the engine cannot read it."""
    chunks = decoded(said(), native=True)
    opaque = [event["type"] for chunk in chunks if chunk.opaque for event in chunk.native]
    assert ["response.output_item.added"] == opaque
    asking = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "computer_call", "id": "cu_1"}}
    (chunk,) = WIRE.decoder(native=True).feed(Event("", json.dumps(asking)))
    assert (True, True) == (chunk.opaque, chunk.has_tool_calls)


def test_ids_and_secrets_are_given_out_with_their_owner() -> None:
    """In every event and in the response, and nowhere is one bare."""
    told = json.dumps(events(decoded(said(), native=True, owner=OWNER)))
    bare = json.loads(json.dumps(events(decoded(said(), native=True))))
    final = bare[-1]["response"]
    names = [final["id"], *(item["id"] for item in final["output"])]
    assert all(f'"{name}"' not in told and f'"{marked_id(name, OWNER)}"' in told for name in names)
    secret = final["output"][0]["encrypted_content"]
    assert f'"{marked(secret, OWNER)}"' in told
    assert f'"{secret}"' not in told


def test_a_whole_response_is_told_as_its_stream() -> None:
    """The events made of it say what those of a stream do, and end in the response itself."""
    for fields in ({}, {"input": "look and run", "tools": [LOOK, RUN]}, {"max_output_tokens": 2}):
        streamed = decoded(said(**fields), native=True, owner=OWNER)
        whole = WIRE.chunks(json.loads(said(stream=False, **fields)), native=True, owner=OWNER)
        kinds = [event["type"] for event in events(whole)]
        once = [
            event["type"]
            for place, event in enumerate(events(streamed))
            if not event["type"].startswith("response.web_search_call.")
            and (place == 0 or not event["type"].endswith(".delta") or event["type"] != kind_before(streamed, place))
        ]
        assert once == kinds
        assert (reasons(streamed), events(streamed)[-1]["response"]["output"]) == (
            reasons(whole),
            events(whole)[-1]["response"]["output"],
        )


def kind_before(chunks: list[Chunk], place: int) -> str:
    return str(events(chunks)[place - 1]["type"])


INCOMPLETE = [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "length")]


@pytest.mark.parametrize(("why", "expected"), INCOMPLETE)
def test_an_incomplete_response_is_cut(why: str, expected: str) -> None:
    """A reason that chat has no word for is a cut too; the event itself says which."""
    response = {"id": "resp_1", "status": "incomplete", "output": [], "incomplete_details": {"reason": why}}
    assert [expected] == reasons(WIRE.chunks(response))


FAILED: list[tuple[dict[str, Any], type[AttemptFailed]]] = [
    ({"type": "error", "code": "server_error", "message": "m", "param": None, "sequence_number": 1}, Transient),
    ({"type": "error", "error": {"type": "server_error", "code": "slow_down", "message": "m"}}, Overloaded),
    ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}, Transient),
    ({"type": "response.failed", "response": {"error": None}}, Transient),
    ({"type": "response.cancelled", "response": {}}, Transient),
]


@pytest.mark.parametrize(("event", "expected"), FAILED)
def test_an_error_in_the_stream_is_a_failure(event: dict[str, Any], expected: type[AttemptFailed]) -> None:
    """In either of the shapes that are seen, and as the response's own end."""
    with pytest.raises(AttemptFailed) as failed:
        WIRE.decoder(native=True).feed(Event("error", json.dumps(event)))
    assert expected is type(failed.value)


def test_what_a_provider_does_not_keep_is_no_fault_of_it() -> None:
    """An item that it does not find is the request's own error, although the status says that nothing is there."""
    message = "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."
    failure = WIRE.failure(404, {}, json.dumps({"error": {"message": message, "code": None}}).encode())
    assert (CallerFault, 404) == (type(failure), failure.status)


WHOLE: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"error": {"message": "m", "code": "server_error"}}, Transient),
    ({"id": "resp_1", "status": "completed"}, Garbage),
    ({"status": "in_progress", "output": []}, ValueError),
    ({"status": "completed", "output": [7]}, ValueError),
    ({"status": "failed", "output": [], "error": None}, Transient),
]


@pytest.mark.parametrize(("body", "expected"), WHOLE)
def test_a_whole_answer_that_is_none_is_told_apart(body: dict[str, Any], expected: type[Exception]) -> None:
    """An error, another shape and a response that is not at its end are no answers."""
    with pytest.raises(expected):
        WIRE.chunks(body)


def test_servers_that_say_less_are_understood() -> None:
    """A type that only the event's name has, arguments that come only at the end, an end marker that is no JSON."""
    decoder = WIRE.decoder()
    (text,) = decoder.feed(Event("response.output_text.delta", '{"delta": "hi"}'))
    item = {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"a":1}'}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    (call,) = decoder.feed(Event("", json.dumps(done)))
    assert ("hi", True, []) == (text.text, call.has_tool_calls, decoder.feed(Event("", "[DONE]")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "id", "item", "delta", "response", "output", "error", "output_index", "part"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
KINDS = st.sampled_from([json.loads(event.data)["type"] for event in SseDecoder().feed(said())] + ["error", "x", ""])


@given(
    st.lists(st.tuples(KINDS, st.dictionaries(st.sampled_from(["item", "delta", "response", "output_index"]), JSON)))
)
def test_any_events_are_chunks_or_told_apart(pieces: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever a server says, it is chunks that the front can write, an error of the provider, or unreadable."""
    decoder, chunks = WIRE.decoder(native=True, owner=OWNER), []
    for kind, fields in pieces:
        try:
            chunks += decoder.feed(Event("", json.dumps({"type": kind} | fields)))
        except ValueError:
            continue
        except AttemptFailed:
            break
    front, request = FRONTS["/responses"], native({"model": "chat", "input": "x"})
    writer = front.writer(request, created=1)
    told = b"".join([*map(writer.event, chunks), writer.end()])
    assert all(isinstance(json.loads(event.data), dict) for event in SseDecoder().feed(told))
    json.dumps(front.whole(request, chunks, created=1))
