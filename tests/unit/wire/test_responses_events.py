"""What a caller of the Responses API is told: events that OpenAI's library knows, and one whole response."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.builders import piece
from understudy.chat.complete import Completed
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage
from understudy.errors import RateLimited, StreamBroken
from understudy.wire import WIRES
from understudy.wire.base import Event
from understudy.wire.fronts import FRONTS
from understudy.wire.sse import SseDecoder

FRONT = FRONTS["/responses"]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = Usage(11, 7, 3, 2)
TOOLS = [{"type": "function", "name": "look", "parameters": {}}, {"type": "custom", "name": "run"}]


def request(**fields: Any) -> ChatRequest:
    read = FRONT.read(
        json.dumps({"model": "chat", "input": "hi", "stream": True, "tools": TOOLS} | fields).encode(), {}
    )
    assert isinstance(read, ChatRequest)
    return read


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The events of a stream; each has its type as its name, and the library's model knows it."""
    events = []
    for event in SseDecoder().feed(data):
        payload = json.loads(event.data)
        assert event.name == payload["type"]
        EVENT.validate_python(payload)
        events.append(payload)
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    return events


def told(chunks: Sequence[Chunk], **fields: Any) -> list[dict[str, Any]]:
    writer = FRONT.writer(request(**fields), created=5)
    return parsed(b"".join([*map(writer.event, chunks), writer.end()]))


def whole(chunks: Sequence[Chunk], **fields: Any) -> dict[str, Any]:
    answer = dict(FRONT.whole(request(**fields), chunks, created=5))
    Response.model_validate(answer)
    return answer


def calling(index: int, name: str | None = None, arguments: str = "", **more: Any) -> Chunk:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return piece(tool_calls=[{"index": index, "function": function} | more])


TEXT = [piece(role="assistant"), piece("Grü"), piece("ße"), piece(finish="stop"), piece(usage=USAGE)]
CALLS = [
    piece(reasoning_content="hm"),
    piece("so"),
    calling(0, "look", id="c1", type="function"),
    calling(0, arguments='{"a":'),
    calling(0, arguments="1}"),
    calling(1, "run", '{"input": "ls -l"}', id="c2", type="function"),
    calling(2, "look", id="c3", type="function"),
    piece(finish="tool_calls"),
    piece(usage=USAGE),
]
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def test_a_text_is_told_in_the_order_of_the_api() -> None:
    """Each thing is opened, said in pieces, said whole and closed; the last event brings the whole response."""
    events = told(TEXT)
    assert TEXT_EVENTS == [event["type"] for event in events]
    final = events[-1]["response"]
    assert whole(TEXT) == final
    assert "Grüße" == final["output"][0]["content"][0]["text"]
    assert {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    } == final["usage"]


def test_thinking_words_and_calls_are_items_of_their_own() -> None:
    """Each in its place, with arguments that are JSON, and the tool of free text called with its text."""
    events = told(CALLS)
    final = events[-1]["response"]
    assert whole(CALLS) == final
    thought, said, first, second, third = final["output"]
    assert [{"type": "summary_text", "text": "hm"}] == thought["summary"]
    assert "so" == said["content"][0]["text"]
    assert ("c1", '{"a":1}', "c3", "{}") == (
        first["call_id"],
        first["arguments"],
        third["call_id"],
        third["arguments"],
    )
    assert ("custom_tool_call", "c2", "ls -l") == (second["type"], second["call_id"], second["input"])
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(final["output"], key=json.dumps) == sorted(done, key=json.dumps)


def test_the_response_repeats_what_was_asked() -> None:
    """As the API does, but for what is not true of it: nothing is stored."""
    asked = {"instructions": "x", "temperature": 0.5, "metadata": {"a": "b"}, "max_output_tokens": 9, "store": True}
    answer = whole(TEXT, **asked)
    assert asked | {"store": False} == {name: answer[name] for name in asked}
    assert (TOOLS, None, 1) == (answer["tools"], answer["previous_response_id"], answer["created_at"])


ENDINGS = [
    ("stop", "completed", None),
    ("tool_calls", "completed", None),
    ("length", "incomplete", "max_output_tokens"),
    ("content_filter", "incomplete", "content_filter"),
]


@pytest.mark.parametrize(("reason", "status", "why"), ENDINGS)
def test_a_stop_reason_is_a_status(reason: str, status: str, why: str | None) -> None:
    """An answer that was cut is incomplete, and says why; so is its last item."""
    answer = whole([piece("x"), piece(finish=reason)])
    details = {"reason": why} if why else None
    assert (status, details, status) == (answer["status"], answer["incomplete_details"], answer["output"][0]["status"])


def test_a_stop_reason_of_a_servers_own_does_not_look_complete() -> None:
    """It is told as it is."""
    events = FRONT.whole(request(), [piece("x"), piece(finish="abort")], created=5)
    assert ("incomplete", {"reason": "abort"}) == (events["status"], events["incomplete_details"])


def test_nothing_is_complete_before_its_counts() -> None:
    """The last event waits for the counts, which come behind the stop reason, or for the end without them."""
    writer = FRONT.writer(request(), created=5)
    said = b"".join(map(writer.event, TEXT[:-1]))
    assert b"response.completed" not in said
    assert b"response.completed" in writer.event(TEXT[-1])
    assert b"" == writer.end()


def test_a_refusal_is_a_part_of_its_own() -> None:
    """Words and a refusal in one message stand beside each other."""
    events = told([piece("I "), piece(refusal="won't"), piece(finish="stop")])
    parts = events[-1]["response"]["output"][0]["content"]
    assert ["output_text", "refusal"] == [part["type"] for part in parts]
    assert ("I ", "won't") == (parts[0]["text"], parts[1]["refusal"])


def test_log_probabilities_come_with_the_text() -> None:
    """With each piece and with the whole part."""
    token = {"token": "a", "bytes": [97], "logprob": -0.5}
    spoken = chunk_from(
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "a"},
                    "logprobs": {"content": [token | {"top_logprobs": [token]}]},
                }
            ]
        }
    )
    events = told([spoken, piece(finish="stop")])
    expected = [token | {"top_logprobs": [token]}]
    (delta,) = [event for event in events if event["type"] == "response.output_text.delta"]
    assert expected == delta["logprobs"] == events[-1]["response"]["output"][0]["content"][0]["logprobs"]


def test_citations_come_with_the_text() -> None:
    """A chat answer's citations are annotations of the part, one level flatter."""
    cited = {"url": "https://example.com", "title": "t", "start_index": 0, "end_index": 1}
    chunks = [piece("x"), piece(annotations=[{"type": "url_citation", "url_citation": cited}]), piece(finish="stop")]
    part = told(chunks)[-1]["response"]["output"][0]["content"][0]
    assert [{"type": "url_citation"} | cited] == part["annotations"]


def test_a_broken_answer_is_an_error_event_and_no_more() -> None:
    """It has the documented fields, the object that the libraries raise, and the next number."""
    writer = FRONT.writer(request(), created=5)
    before = writer.event(piece("x"))
    events = parsed(before + writer.broken(StreamBroken("lead", RateLimited("slow down", code="x"))))
    last = events[-1]
    assert ("error", "stream_broken", True) == (last["type"], last["code"], "slow down" in last["message"])
    assert last["message"] == last["error"]["message"]
    assert "response.completed" not in [event["type"] for event in events]


# relayed


def native_events(*texts: str) -> list[dict[str, Any]]:
    """What a target of this protocol says, up to the middle of a message."""
    response = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "model": "m"}
    response |= {"output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": None}
    where = {"item_id": "msg_1", "output_index": 1}
    thought = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    delta = {"type": "response.output_text.delta", "content_index": 0, "logprobs": [], **where}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": thought},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", "output_index": 1, "item": message},
        {"type": "response.content_part.added", "content_index": 0, "part": part, **where},
        *({**delta, "delta": text} for text in texts),
    ]
    return [event | {"sequence_number": number} for number, event in enumerate(events)]


def relayed(events: Sequence[dict[str, Any]]) -> list[Chunk]:
    decoder = WIRES["responses"].decoder(native=True, owner="1f2e3d4c")
    return [chunk for event in events for chunk in decoder.feed(Event("", json.dumps(event)))]


def test_another_target_goes_on_in_the_middle_of_a_relayed_text() -> None:
    """Its words go into the item that is open, under the numbers that follow, and the end says who was resumed."""
    note = {"resumed": [{"from": "a", "to": "b", "at": 3, "how": "repetition"}]}
    finish = chunk_from({**piece(finish="stop").payload, "understudy": note})
    events = told([*relayed(native_events("Grü")), piece("ße"), finish, piece(usage=USAGE)])
    final = events[-1]["response"]
    identifier = "resp_us1.1f2e3d4c.1"
    assert (identifier, identifier, "big-1", note) == (
        events[0]["response"]["id"],
        final["id"],
        final["model"],
        final["understudy"],
    )
    assert ["rs_us1.1f2e3d4c.1", "msg_us1.1f2e3d4c.1"] == [item["id"] for item in final["output"]]
    assert ("Grüße", "completed") == (final["output"][1]["content"][0]["text"], final["output"][1]["status"])
    assert 2 == [event["type"] for event in events].count("response.output_item.added")


@pytest.mark.parametrize("kept", range(3, len(native_events("a", "b")) + 1))
def test_whatever_was_open_is_closed(kept: int) -> None:
    """A cut at any place of a relayed answer leaves a stream that is sound when another goes on with it."""
    events = told(
        [*relayed(native_events("a", "b")[:kept]), piece("c"), calling(0, "look"), piece(finish="tool_calls")]
    )
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    final = events[-1]["response"]
    assert sorted(opened) == sorted(closed) == list(range(len(final["output"])))
    assert "function_call" == final["output"][-1]["type"]


def test_relayed_events_are_not_filled_in() -> None:
    """What the chat shape lacks is nothing that a caller of this API misses: no chunk of ours comes between."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": "", "status": "x"}
    added = {"type": "response.output_item.added", "output_index": 2, "item": call, "sequence_number": 7}
    response = native_events()[0]["response"] | {"status": "completed", "output": [call]}
    done = {"type": "response.completed", "response": response, "sequence_number": 8}
    completed = Completed("seed", 5)
    chunks = relayed([*native_events("x"), added, done])
    assert chunks == [each for chunk in chunks for each in completed.feed(chunk, "m")]


def test_a_relayed_answer_without_its_output_gets_what_was_said() -> None:
    """Servers that leave the items out of the last event have said them before."""
    events = native_events("x")
    done = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": []}
    events.append({"type": "response.output_item.done", "output_index": 1, "item": done, "sequence_number": 7})
    response = events[0]["response"] | {"status": "completed", "output": None}
    events.append({"type": "response.completed", "response": response, "sequence_number": 8})
    answer = FRONT.whole(request(), relayed(events), created=5)
    assert ["reasoning", "message"] == [item["type"] for item in answer["output"]]


PIECES = st.lists(
    st.one_of(
        st.text(max_size=5).map(piece),
        st.text(min_size=1, max_size=5).map(lambda said: piece(reasoning_content=said)),
        st.text(min_size=1, max_size=5).map(lambda said: piece(refusal=said)),
        st.tuples(st.integers(0, 3), st.text(max_size=5)).map(lambda one: calling(one[0], "look", one[1])),
    ),
    max_size=12,
)


@given(PIECES, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_any_answer_keeps_its_words_calls_and_counts(pieces: list[Chunk], finish: str) -> None:
    """Whatever comes in whatever order: the events are valid, and the response has all of it."""
    chunks = [*pieces, piece(finish=finish), piece(usage=USAGE)]
    events = told(chunks)
    final = events[-1]["response"]
    assert whole(chunks) == final
    parts = [part for item in final["output"] if item["type"] == "message" for part in item["content"]]
    deltas = [choice["delta"] for chunk in pieces for choice in chunk.payload["choices"]]
    for name, key in (("content", "text"), ("refusal", "refusal")):
        assert "".join(delta.get(name) or "" for delta in deltas) == "".join(part.get(key, "") for part in parts)
    expected: dict[int, str] = {}
    for one in (call for delta in deltas for call in delta.get("tool_calls", ())):
        expected[one["index"]] = expected.get(one["index"], "") + one["function"]["arguments"]
    empty = "" if finish in ("length", "content_filter") else "{}"
    calls = [item["arguments"] for item in final["output"] if item["type"] == "function_call"]
    assert [arguments or empty for arguments in expected.values()] == calls
    assert 18 == final["usage"]["total_tokens"]
