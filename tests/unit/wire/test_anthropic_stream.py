"""What the Anthropic wire reads, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Garbage, Overloaded, Transient
from understudy.wire.anthropic import AnthropicWire
from understudy.wire.base import Event

WIRE = AnthropicWire()
USAGE = {"input_tokens": 12, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1}
COUNTS = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
ROLE = {"role": "assistant"}


def event(type: str, **fields: Any) -> Event:
    return Event(type, json.dumps({"type": type, **fields}))


def started(usage: Mapping[str, Any] = USAGE) -> Event:
    message = {"id": "msg_7", "type": "message", "role": "assistant", "content": [], "model": "claude-x"}
    return event("message_start", message={**message, "stop_reason": None, "usage": usage})


def opened(index: int, type: str, **fields: Any) -> Event:
    return event("content_block_start", index=index, content_block={"type": type, **fields})


def piece(index: int, type: str, **fields: Any) -> Event:
    return event("content_block_delta", index=index, delta={"type": type, **fields})


def closed(index: int) -> Event:
    return event("content_block_stop", index=index)


def ended(reason: str | None = "end_turn", **usage: Any) -> list[Event]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [event("message_delta", delta=delta, usage={"output_tokens": 7, **usage}), event("message_stop")]


def said(*pieces: str, index: int = 0) -> list[Event]:
    deltas = [piece(index, "text_delta", text=words) for words in pieces]
    return [opened(index, "text", text=""), *deltas, closed(index)]


def called(index: int, id: str, *pieces: str) -> list[Event]:
    deltas = [piece(index, "input_json_delta", partial_json=part) for part in pieces]
    return [opened(index, "tool_use", id=id, name="find_nest", input={}), *deltas, closed(index)]


def read(events: Iterable[Event]) -> list[Chunk]:
    decoder = WIRE.decoder()
    return [chunk for one in events for chunk in decoder.feed(one)]


def deltas(chunks: Iterable[Chunk]) -> list[Any]:
    return [choice["delta"] for chunk in chunks for choice in chunk.payload["choices"]]


def call(index: int, id: str) -> dict[str, Any]:
    function = {"name": "find_nest", "arguments": ""}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


def arguments(index: int, words: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": words}}]}


def test_text() -> None:
    """A plain answer: the role, the pieces, the finish, then the counts, all under one id."""
    chunks = read([started(), event("ping"), *said("A ", "", "wren."), *ended()])
    assert [ROLE, {"content": "A "}, {"content": "wren."}, {}] == deltas(chunks)
    assert {"chatcmpl-msg_7"} == {chunk.payload["id"] for chunk in chunks}
    assert {"claude-x"} == {chunk.model for chunk in chunks}
    assert {0: "stop"} == chunks[-2].finish_reasons
    assert ([], COUNTS) == (chunks[-1].payload["choices"], chunks[-1].payload["usage"])


STREAMS: dict[str, tuple[list[Event], list[dict[str, Any]]]] = {
    "text in the first event of a block": ([opened(0, "text", text="A"), closed(0)], [{"content": "A"}]),
    "two calls after text": (
        [
            *said("Let me look."),
            *called(1, "toolu_1", "", '{"bird": ', '"wren"}'),
            *called(2, "toolu_2", '{"bird":"owl"}'),
        ],
        [
            {"content": "Let me look."},
            call(0, "toolu_1"),
            arguments(0, '{"bird": '),
            arguments(0, '"wren"}'),
            call(1, "toolu_2"),
            arguments(1, '{"bird":"owl"}'),
        ],
    ),
    "a call without arguments": (called(0, "toolu_1", ""), [call(0, "toolu_1"), arguments(0, "{}")]),
    "thinking": (
        [
            opened(0, "thinking", thinking="", signature=""),
            piece(0, "thinking_delta", thinking="Small, "),
            piece(0, "thinking_delta", thinking="brown."),
            piece(0, "signature_delta", signature="c2lnbmVk"),
            closed(0),
            opened(1, "redacted_thinking", data="ZW5jcnlwdGVk"),
            closed(1),
            *said("A wren.", index=2),
        ],
        [{"reasoning_content": "Small, "}, {"reasoning_content": "brown."}, {"content": "A wren."}],
    ),
    "events of an unknown type": ([event("feather", index=0), *said("A wren.")], [{"content": "A wren."}]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_stream(name: str) -> None:
    """Each block becomes the deltas of its kind."""
    events, expected = STREAMS[name]
    assert [ROLE, *expected, {}] == deltas(read([started(), *events, *ended()]))


REASONS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_finish(reason: str, expected: str) -> None:
    """Every stop reason has its word in the chat shape."""
    chunks = read([started(), *said("A wren."), *ended(reason)])
    assert [{0: expected}] == [chunk.finish_reasons for chunk in chunks if chunk.finish_reasons]


def test_later_counts_replace_earlier_ones() -> None:
    """Counts at the end are running totals, not additions."""
    chunks = read([started(), *said("A wren."), *ended(input_tokens=30, cache_read_input_tokens=0)])
    assert (33, 7) == (chunks[-1].payload["usage"]["prompt_tokens"], chunks[-1].payload["usage"]["completion_tokens"])


def test_the_prompts_counts_are_known_from_the_start() -> None:
    """The first chunk knows the prompt's tokens, should the answer break off, but does not tell the caller of them."""
    first, second, *_ = read([started(), *said("A wren."), *ended()])
    assert ((20, 5), False, None) == (
        (first.usage.prompt_tokens, first.usage.cached_tokens) if first.usage else None,
        "usage" in first.payload,
        second.usage,
    )


def test_no_counts() -> None:
    """Where the provider counts nothing, no counts are made up."""
    assert [None] * 3 == [chunk.usage for chunk in read([started({}), *said("A wren."), *ended()])]


def test_complete_only_with_a_stop_reason() -> None:
    """An answer is complete with its stop reason, not with the last text and not with the end of the stream."""
    decoder = WIRE.decoder()
    seen = []
    for one in [started(), *said("A wren."), *ended(None), *ended()]:
        decoder.feed(one)
        seen.append(decoder.complete)
    assert [False] * 6 + [True] * 2 == seen


def test_a_second_stop_reason_says_nothing_new() -> None:
    """An answer finishes once."""
    chunks = read([started(), *said("A wren."), *ended(), *ended()])
    assert 1 == sum(bool(chunk.finish_reasons) for chunk in chunks)


ERRORS = [
    ("overloaded_error", Overloaded),
    ("api_error", Transient),
    ("rate_limit_error", Overloaded),
    ("feather_error", Transient),
]


@pytest.mark.parametrize(("kind", "expected"), ERRORS)
def test_error_event(kind: str, expected: type[AttemptFailed]) -> None:
    """An error inside a stream or a whole body is the failure that the table says, in the provider's words."""
    error = {"type": kind, "message": "Too many birds."}
    with pytest.raises(AttemptFailed) as streamed:
        read([started(), event("error", error=error)])
    with pytest.raises(AttemptFailed) as whole:
        WIRE.chunks({"type": "error", "error": error})
    assert [(expected, "Too many birds.")] * 2 == [(type(e.value), e.value.message) for e in (streamed, whole)]


UNREADABLE: dict[str, list[Event]] = {
    "no JSON": [Event("ping", '{"type": ')],
    "no object": [Event("ping", "[]")],
    "no type": [Event("ping", "{}")],
    "too deep": [Event("ping", "[" * 20_000 + "]" * 20_000)],
    "before the start": said("A wren."),
    "two starts": [started(), started()],
    "message without id": [event("message_start", message={"model": "claude-x"})],
    "unknown block": [started(), opened(0, "server_tool_use", id="srvtoolu_1", name="web_search", input={})],
    "block without type": [started(), event("content_block_start", index=0, content_block={"type": ["text"]})],
    "same block twice": [started(), opened(0, "text", text=""), opened(0, "text", text="")],
    "unknown delta": [started(), opened(0, "text", text=""), piece(0, "citations_delta", citation={})],
    "delta of another block": [started(), opened(0, "text", text=""), piece(0, "thinking_delta", thinking="Hm.")],
    "delta without a block": [started(), piece(0, "text_delta", text="A wren.")],
    "delta without text": [started(), opened(0, "text", text=""), piece(0, "text_delta", text=None)],
    "block without index": [started(), event("content_block_stop")],
    "call without name": [started(), opened(0, "tool_use", id="toolu_1", input={})],
    "paused": [started(), *said("A"), *ended("pause_turn")],
    "unknown reason": [started(), *said("A"), *ended("moulting")],
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(name: str) -> None:
    """What cannot be understood is said to be so, with nothing but ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        read(UNREADABLE[name])


CONTENT: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Small, brown.", "signature": "c2lnbmVk"},
    {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"},
    {"type": "text", "text": "A wren."},
    {"type": "tool_use", "id": "toolu_1", "name": "find_nest", "input": {"bird": "wren"}},
    {"type": "tool_use", "id": "toolu_2", "name": "find_nest", "input": {}},
]


def whole(content: Any, reason: str | None = "end_turn") -> dict[str, Any]:
    head = {"id": "msg_7", "type": "message", "role": "assistant", "model": "claude-x"}
    return {**head, "content": content, "stop_reason": reason, "usage": {**USAGE, "output_tokens": 7}}


def test_whole_message() -> None:
    """A whole message gives the chunks that it would have streamed."""
    events = [
        opened(0, "thinking", thinking="", signature=""),
        piece(0, "thinking_delta", thinking="Small, brown."),
        opened(1, "redacted_thinking", data="ZW5jcnlwdGVk"),
        *said("A wren.", index=2),
        *called(3, "toolu_1", '{"bird":"wren"}'),
        *called(4, "toolu_2"),
    ]
    start = started({**USAGE, "output_tokens": 7})
    assert read([start, *events, *ended("tool_use")]) == WIRE.chunks(whole(CONTENT, "tool_use"))


def test_whole_message_as_completion() -> None:
    """The completion that a caller gets has text, thinking, calls, reason and counts in their places."""
    completion = completion_from_chunks(WIRE.chunks(whole(CONTENT, "tool_use")))
    calls = [
        {"type": "function", "function": {"name": "find_nest", "arguments": words}, "id": id}
        for id, words in (("toolu_1", '{"bird":"wren"}'), ("toolu_2", "{}"))
    ]
    message = {"role": "assistant", "content": "A wren.", "refusal": None, "reasoning_content": "Small, brown."}
    choice = {"index": 0, "message": {**message, "tool_calls": calls}, "finish_reason": "tool_calls", "logprobs": None}
    assert ([choice], COUNTS) == (completion["choices"], completion["usage"])


def test_whole_refusal() -> None:
    """A refusal may be empty."""
    assert [ROLE, {}] == deltas(WIRE.chunks(whole([], "refusal")))


@pytest.mark.parametrize("body", [whole([]), whole(None), whole([{"type": "text", "text": "A"}], None), {}])
def test_whole_garbage(body: dict[str, Any]) -> None:
    """A 200 without content or without a stop reason is no answer."""
    with pytest.raises(Garbage):
        WIRE.chunks(body)


def test_whole_with_unknown_block() -> None:
    """A block that is no object or of an unknown type cannot be read."""
    for block in ("A wren.", {"type": "feather"}):
        with pytest.raises(ValueError, match="block"):
            WIRE.chunks(whole([block]))


@given(st.lists(st.lists(st.text(), max_size=6), max_size=4))
def test_text_is_the_concatenation(blocks: list[list[str]]) -> None:
    """However the pieces fall, over one block or several, the text is their concatenation."""
    events = [one for index, pieces in enumerate(blocks) for one in said(*pieces, index=index)]
    chunks = read([started(), *events, *ended()])
    assert "".join("".join(pieces) for pieces in blocks) == "".join(chunk.text for chunk in chunks)


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=4), st.data())
def test_arguments_are_the_concatenation(given_arguments: dict[str, Any], data: st.DataObject) -> None:
    """However the arguments are cut, they are read as the same object."""
    rest, pieces = json.dumps(given_arguments), []
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        pieces.append(rest[:cut])
        rest = rest[cut:]
    completion = completion_from_chunks(read([started(), *called(0, "toolu_1", *pieces), *ended("tool_use")]))
    function = completion["choices"][0]["message"]["tool_calls"][0]["function"]
    assert given_arguments == json.loads(function["arguments"])
