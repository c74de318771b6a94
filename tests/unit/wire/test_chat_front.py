"""What a client of the chat API reads: the events of a stream, and a whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import piece, request
from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage
from understudy.errors import InvalidRequest, Silent, StreamBroken
from understudy.wire.fronts.chat import ChatFront

FRONT = ChatFront()
USAGE = Usage(3, 2)
ASKED = {"stream": True, "stream_options": {"include_usage": True}}


def written(*chunks: Chunk, end: bool = True, **fields: Any) -> list[Any]:
    """The data of every event; `[DONE]` is itself."""
    writer = FRONT.writer(request(**(fields or {"stream": True})), created=9)
    raw = b"".join([writer.event(chunk) for chunk in chunks] + ([writer.end()] if end else []))
    data = [block.removeprefix("data: ") for block in raw.decode().split("\n\n")[:-1]]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def text(content: str, **fields: Any) -> Chunk:
    """A chunk of a text without a role."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return chunk_from({"id": "c1", "created": 1, "model": "m", "choices": [choice], **fields})


def test_the_role_comes_first_and_once() -> None:
    """The first delta of every choice says the assistant's role, no other does: clients join what comes twice."""
    second = chunk_from({"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": None}]})
    bare = text("a")
    events = written(bare, piece("x", role="assistant"), second, piece(None, content="y"))
    deltas = [choice["delta"] for one in events[:-1] for choice in one["choices"]]
    assert ["assistant", None, "assistant", None] == [delta.get("role") for delta in deltas]
    assert ["a", "x", "b", "y"] == [delta["content"] for delta in deltas]
    assert "role" not in bare.payload["choices"][0]["delta"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_not_read_as_some(word: str) -> None:
    """Python's parser takes these words; no provider would."""
    with pytest.raises(InvalidRequest, match=f"{word} is no number") as caught:
        FRONT.read(b'{"model":"r","messages":[{"role":"user","content":"x"}],"zzz":%b}' % word.encode(), {})
    assert "invalid_json" == caught.value.code


def test_one_id_and_one_time_throughout() -> None:
    """Also where another target with an id of its own goes on with the answer."""
    events = written(text("a"), text("b", id="c2", created=5), piece("", finish="stop", usage=USAGE), **ASKED)
    assert {("c1", 1)} == {(one["id"], one["created"]) for one in events[:-1]}


WHERE = {
    "in a chunk of its own": [piece("hi"), piece("", finish="stop"), chunk_from({"choices": [], "usage": {}})],
    "beside the stop reason": [piece("hi"), piece("", finish="stop", usage=USAGE)],
    "in every chunk": [
        piece("hi", usage=Usage(3, 1)),
        piece("", finish="stop", usage=USAGE),
        piece("", usage=USAGE),
    ],
}
WHERE["in a chunk of its own"][-1] = chunk_from({"id": "c1", "model": "big-1", "choices": [], "usage": USAGE.payload()})


@pytest.mark.parametrize("where", WHERE)
def test_usage_comes_once_and_last(where: str) -> None:
    """Asked for, the counts have an event of their own at the end, and every other event a null, wherever a provider
    puts them."""
    *events, done = written(*WHERE[where], **ASKED)
    assert ("[DONE]", [], USAGE.payload()) == (done, events[-1]["choices"], events[-1]["usage"])
    assert {None} == {one["usage"] for one in events[:-1]}
    assert ("chat.completion.chunk", "big-1") == (events[-1]["object"], events[-1]["model"])


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
def test_no_usage_where_nobody_asked(where: str, options: dict[str, Any]) -> None:
    """Not a null, and no event without choices: old clients read the first choice of each."""
    *events, done = written(*WHERE[where], stream=True, **options)
    assert ("[DONE]", []) == (done, [one for one in events if "usage" in one or not one["choices"]])


def test_counts_that_never_came_are_not_made_up() -> None:
    """A provider that gives no counts has none at the end."""
    assert ["hi", "[DONE]"] == [
        one if isinstance(one, str) else one["choices"][0]["delta"]["content"] for one in written(text("hi"), **ASKED)
    ]


def test_a_broken_stream_says_so_and_nothing_else() -> None:
    """An error event, without counts, stop reason or end marker."""
    writer = FRONT.writer(request(**ASKED), created=9)
    writer.event(piece("hi", usage=USAGE))
    data = writer.broken(StreamBroken("lead", Silent("silent for 10 s")))
    error = json.loads(data.removeprefix(b"data: "))["error"]
    assert (["message", "type", "param", "code"], "stream_broken") == (list(error), error["code"])


def test_the_bytes_of_an_event() -> None:
    """`data:` lines only, text not escaped."""
    data = FRONT.writer(request(stream=True), created=9).event(text("é🙂"))
    assert (True, True) == (data.startswith(b'data: {"id":"c1"'), data.endswith(b"}\n\n"))
    assert "é🙂".encode() in data


def test_a_whole_answer_has_every_field() -> None:
    """Nulls for what there is none of, as strict clients want them; the counts' total is their sum."""
    answer = FRONT.whole(request(), [piece("hi"), piece("", finish="stop", usage=USAGE)], created=9)
    (choice,) = answer["choices"]
    assert {"role": "assistant", "content": "hi", "refusal": None} == choice["message"]
    assert (0, "stop", None) == (choice["index"], choice["finish_reason"], choice["logprobs"])
    assert ("chat.completion", "c1", 1, 5) == (
        answer["object"],
        answer["id"],
        answer["created"],
        answer["usage"]["total_tokens"],
    )


CHUNKS = st.lists(
    st.builds(
        lambda index, content, finish, usage: chunk_from(
            {
                "id": "c1",
                "created": 1,
                "choices": [{"index": index, "delta": {"content": content}, "finish_reason": finish}],
                "usage": USAGE.payload() if usage else None,
            }
        ),
        st.integers(0, 2),
        st.text(max_size=3),
        st.none() | st.just("stop"),
        st.booleans(),
    ),
    max_size=8,
)


@given(CHUNKS, st.booleans())
def test_any_chunks_make_a_stream_that_clients_read(chunks: list[Chunk], asked: bool) -> None:
    """Nothing of the text is lost, and there is at most one event without choices, the last."""
    *events, done = written(*chunks, stream=True, stream_options={"include_usage": asked})
    said = [c["delta"]["content"] for one in events for c in one["choices"]]
    assert ("[DONE]", [chunk.text for chunk in chunks]) == (done, said)
    assert [one for one in events if not one["choices"]] == [one for one in events[-1:] if one.get("usage")]
