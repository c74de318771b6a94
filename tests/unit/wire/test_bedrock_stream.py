"""From Bedrock's answers to chunks: each event, each stop reason, each exception, whole answers too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk, without_calls
from understudy.chat.usage import Usage
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    ContextTooLong,
    Garbage,
    Overloaded,
    Transient,
)
from understudy.wire import WIRES
from understudy.wire.base import Decoder, Event

WIRE = WIRES["bedrock"]
START = ("messageStart", {"role": "assistant", "p": "abcd"})
USAGE = {
    "inputTokens": 3,
    "outputTokens": 9,
    "totalTokens": 21,
    "cacheReadInputTokens": 4,
    "cacheWriteInputTokens": 5,
}
METADATA = ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 12}})


def delta(index: int, **one: Any) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": one, "p": "ab"}


def opened(index: int, **one: Any) -> tuple[str, dict[str, Any]]:
    return "contentBlockStart", {"contentBlockIndex": index, "start": one}


def closed(index: int) -> tuple[str, dict[str, Any]]:
    return "contentBlockStop", {"contentBlockIndex": index}


def stopped(reason: str) -> tuple[str, dict[str, Any]]:
    return "messageStop", {"stopReason": reason}


def tool(name: str = "look", identifier: str = "tooluse_1", **more: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": identifier, "name": name, **more}}


def streamed(*events: tuple[str, Any]) -> tuple[Decoder, list[Chunk]]:
    decoder = WIRE.decoder()
    return decoder, [c for name, data in events for c in decoder.feed(Event(name, json.dumps(data)))]


def message_of(chunks: list[Chunk]) -> dict[str, Any]:
    return dict(completion_from_chunks(chunks)["choices"][0])


def whole(content: list[Any], reason: str = "end_turn") -> dict[str, Any]:
    output = {"message": {"role": "assistant", "content": content}}
    return {"output": output, "stopReason": reason, "usage": USAGE, "metrics": {"latencyMs": 1}}


@given(st.lists(st.text()))
def test_streamed_text_is_its_pieces(pieces: list[str]) -> None:
    """The text is the concatenation of its deltas, role first, one stop reason, and then the counts."""
    events = [START, *(delta(0, text=piece) for piece in pieces), closed(0), stopped("end_turn"), METADATA]
    decoder, chunks = streamed(*events)
    assert ("".join(pieces), True, True) == ("".join(c.text for c in chunks), decoder.complete, decoder.ended)
    assert {"role": "assistant"} == chunks[0].payload["choices"][0]["delta"]
    assert [{0: "stop"}] == [c.finish_reasons for c in chunks if c.finish_reasons]
    assert ([], Usage(12, 9, 4, cache_write_tokens=5)) == (chunks[-1].payload["choices"], chunks[-1].usage)


def test_the_stop_reason_completes_and_the_counts_end() -> None:
    """Complete with messageStop and not before; ended only with the metadata behind it."""
    decoder, states = WIRE.decoder(), []
    for name, data in (START, delta(0, text="a"), closed(0), stopped("end_turn"), METADATA):
        decoder.feed(Event(name, json.dumps(data)))
        states.append((decoder.complete, decoder.ended))
    assert [(False, False)] * 3 + [(True, False), (True, True)] == states


def test_calls_are_named_first_and_their_arguments_are_json() -> None:
    """Two calls beside a text: id and name in the first chunk of each, no arguments are an empty object."""
    _, chunks = streamed(
        START,
        delta(0, text="let me"),
        closed(0),
        opened(1, **tool()),
        delta(1, toolUse={"input": ""}),
        delta(1, toolUse={"input": '{"x":'}),
        delta(1, toolUse={"input": "1}"}),
        closed(1),
        opened(2, **tool("g", "tooluse_2")),
        closed(2),
        stopped("tool_use"),
        METADATA,
    )
    choice = message_of(chunks)
    calls = [(c["id"], c["type"], c["function"]) for c in choice["message"]["tool_calls"]]
    first = ("tooluse_1", "function", {"name": "look", "arguments": '{"x":1}'})
    assert [first, ("tooluse_2", "function", {"name": "g", "arguments": "{}"})] == calls
    assert ("let me", "tool_calls") == (choice["message"]["content"], choice["finish_reason"])
    named = [c["id"] for chunk in chunks for c in _calls(chunk) if "id" in c]
    assert ["tooluse_1", "tooluse_2"] == named


def _calls(chunk: Chunk) -> list[dict[str, Any]]:
    return [call for choice in chunk.payload["choices"] for call in choice["delta"].get("tool_calls", ())]


def test_thinking_is_never_content_and_its_proof_is_left_out() -> None:
    """Reasoning is told apart from the answer; signatures and encrypted reasoning have no place in the chat shape."""
    _, chunks = streamed(
        START,
        delta(0, reasoningContent={"text": "hm"}),
        delta(0, reasoningContent={"signature": "EqQB"}),
        closed(0),
        delta(1, reasoningContent={"redactedContent": "AAAA"}),
        closed(1),
        delta(2, text="yes"),
        closed(2),
        stopped("end_turn"),
    )
    message = message_of(chunks)["message"]
    assert ("hm", "yes") == (message["reasoning_content"], message["content"])
    told = json.dumps([chunk.payload for chunk in chunks])
    assert [] == [secret for secret in ("EqQB", "AAAA") if secret in told]


REASONS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("content_filtered", "content_filter"),
    ("guardrail_intervened", "content_filter"),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_every_stop_reason_has_its_word(reason: str, expected: str) -> None:
    """Streamed and whole."""
    _, chunks = streamed(START, delta(0, text="a"), stopped(reason))
    assert [{0: expected}] == [c.finish_reasons for c in chunks if c.finish_reasons]
    chunks = WIRE.chunks(whole([{"text": "a"}], reason))
    assert [{0: expected}] == [c.finish_reasons for c in chunks if c.finish_reasons]


@pytest.mark.parametrize(("reason", "expected"), [("end_turn", "tool_calls"), ("max_tokens", "length")])
def test_an_answer_with_calls_ends_with_calls(reason: str, expected: str) -> None:
    """Whatever a model says of it, unless the last call may be cut."""
    _, chunks = streamed(START, opened(0, **tool()), closed(0), stopped(reason))
    assert {0: expected} == chunks[-1].finish_reasons


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_malformed_answer_is_a_failure_of_the_attempt(reason: str) -> None:
    """What the model could not write, another target may."""
    with pytest.raises(Garbage) as failed:
        streamed(START, stopped(reason))
    assert failed.value.fails_over
    with pytest.raises(Garbage):
        WIRE.chunks(whole([{"text": "a"}], reason))


UNREADABLE: list[list[tuple[str, Any]]] = [
    [START, stopped("pause")],
    [START, stopped(None)],  # type: ignore[arg-type]
    [START, START],
    [("messageStart", {"role": "user"})],
    [delta(0, text="early")],
    [START, ("somethingNew", {})],
    [START, delta(0, citation={"title": "x"})],
    [START, delta(0, image={"source": {}})],
    [START, delta(0, toolUse={"input": "{}"})],
    [START, delta(0, text="a"), delta(0, toolUse={"input": "{}"})],
    [START, opened(0, **tool()), delta(0, text="a")],
    [START, opened(0, **tool()), opened(0, **tool())],
    [START, opened(0, **tool(type="server_tool_use"))],
    [START, opened(0, image={"format": "png"})],
    [START, delta(0, text=5)],
    [START, delta(0)],
    [START, delta(0, text="a", toolUse={"input": "x"})],
    [START, delta(0, reasoningContent={"zzz": "x"})],
    [START, ("contentBlockDelta", {"delta": {"text": "a"}})],
    [START, ("contentBlockStop", {"contentBlockIndex": "0"})],
    [START, stopped("end_turn"), stopped("end_turn")],
    [START, ("contentBlockDelta", [1])],
]


@pytest.mark.parametrize("events", UNREADABLE)
def test_what_cannot_be_carried_is_no_event(events: list[tuple[str, Any]]) -> None:
    """Unknown events, blocks, deltas and reasons raise; nothing of an answer is dropped in silence."""
    with pytest.raises(ValueError):
        streamed(*events)


def test_what_says_nothing_is_nothing() -> None:
    """Announced texts, empty pieces, the SDK's first event and metadata without counts make no chunk."""
    _, chunks = streamed(("initial-response", {}), START, opened(0), delta(0, text=""), closed(0), ("metadata", {}))
    assert 1 == len(chunks)


EXCEPTIONS = [
    ("throttlingException", "Too many tokens", Overloaded),
    ("serviceUnavailableException", "m", Overloaded),
    ("modelStreamErrorException", "m", Transient),
    ("internalServerException", "m", Transient),
    ("modelTimeoutException", "m", Transient),
    ("validationException", "m", CallerFault),
    ("validationException", "Input is too long for requested model.", ContextTooLong),
    ("somethingNewException", "m", Transient),
]


@pytest.mark.parametrize(("name", "message", "expected"), EXCEPTIONS)
def test_an_exception_is_the_failure_that_it_names(name: str, message: str, expected: type[AttemptFailed]) -> None:
    """In the middle of a stream as before it, with the service's words."""
    decoder, _ = streamed(START, delta(0, text="a"))
    with pytest.raises(AttemptFailed) as failed:
        decoder.feed(Event(f"exception:{name}", json.dumps({"message": message})))
    assert (expected, message) == (type(failed.value), failed.value.message)


@pytest.mark.parametrize("data", ["", "plain words", "[1]", '{"message": null}'])
def test_an_exception_without_words_is_still_one(data: str) -> None:
    """What its frame carries does not change what it is."""
    with pytest.raises(Overloaded):
        WIRE.decoder().feed(Event("exception:throttlingException", data))


NAMES = [
    ({"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/#x"}, {"message": "m"}),
    ({}, {"__type": "com.amazon.coral.service#ThrottlingException", "Message": "m"}),
    ({}, {"__type": "ThrottlingException", "message": "m"}),
]


@pytest.mark.parametrize(("headers", "body"), NAMES)
def test_an_error_is_named_in_its_header_or_its_body(headers: dict[str, str], body: dict[str, str]) -> None:
    """Both forms of both are read, and the name is the failure's code."""
    failure = WIRE.failure(400, headers, json.dumps(body).encode())
    assert (Overloaded, "ThrottlingException", "m") == (type(failure), failure.code, failure.message)


def test_a_whole_answer_says_what_its_stream_would() -> None:
    """Text, thinking, calls and counts of a whole answer are those of the stream."""
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
        {"text": "so"},
        tool(input={"é": 1}),
        tool("g", "tooluse_2", input={}),
    ]
    chunks = WIRE.chunks(whole(content, "tool_use"))
    choice = message_of(chunks)
    message = choice["message"]
    assert ("hm", "so", "tool_calls") == (message["reasoning_content"], message["content"], choice["finish_reason"])
    assert ['{"é":1}', "{}"] == [call["function"]["arguments"] for call in message["tool_calls"]]
    assert Usage(12, 9, 4, cache_write_tokens=5) == chunks[-1].usage


BAD_WHOLES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({}, Garbage),
    ({"output": {}, "stopReason": "end_turn"}, Garbage),
    ({"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn"}, Garbage),
    ({"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}}, Garbage),
    ({"__type": "com.amazon.bedrock#ServiceUnavailableException", "message": "m"}, Overloaded),
    ({"message": "Input is too long for requested model."}, ContextTooLong),
    (whole([{"citationsContent": {"content": [{"text": "a"}]}}]), ValueError),
    (whole([{}]), ValueError),
    (whole([5]), ValueError),
    (whole([{"text": "a"}], "zzz"), ValueError),
]


@pytest.mark.parametrize(("body", "expected"), BAD_WHOLES)
def test_a_whole_answer_that_is_none(body: dict[str, Any], expected: type[Exception]) -> None:
    """An unfinished, empty or unknown answer, or an error with status 200, is a failure."""
    with pytest.raises(expected):
        WIRE.chunks(body)


def test_a_filtered_answer_may_be_empty() -> None:
    """The filter's stop reason is the answer."""
    chunks = WIRE.chunks(whole([], "content_filtered"))
    assert {0: "content_filter"} == next(c.finish_reasons for c in chunks if c.finish_reasons)


def test_calls_that_may_not_be_made_are_left_out() -> None:
    """What the answer says beside them stays, and it ends as an answer without calls does."""
    events = [START, delta(0, text="so"), opened(1, **tool()), closed(1), stopped("tool_use"), METADATA]
    chunks = [without_calls(chunk) for chunk in streamed(*events)[1]]
    choice = message_of(chunks)
    assert ("so", "stop", False) == (choice["message"]["content"], choice["finish_reason"], "tool_calls" in str(choice))
    assert (False, Usage(12, 9, 4, cache_write_tokens=5)) == (any(c.has_tool_calls for c in chunks), chunks[-1].usage)
