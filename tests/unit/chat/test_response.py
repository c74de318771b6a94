"""Whole answers and streamed ones say the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import piece
from understudy.chat.response import chunks_from_completion, completion_from_chunks
from understudy.chat.stream import chunk_from, make_chunk
from understudy.chat.usage import Usage, usage_from


def call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def choice(index: int = 0, **message: Any) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": None, "refusal": None, **message},
        "logprobs": None,
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
    }


def completion(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    head = {"id": "c1", "object": "chat.completion", "created": 7, "model": "big-1", "system_fingerprint": "fp"}
    return {**head, **fields, "choices": list(choices)}


def assembled(*deltas: dict[str, Any]) -> dict[str, Any]:
    """The message that these deltas of one choice make."""
    payloads = [{"id": "c1", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    message: dict[str, Any] = completion_from_chunks(map(chunk_from, payloads))["choices"][0]["message"]
    return message


LOGPROBS = {"content": [{"token": "hi", "logprob": -0.1, "top_logprobs": []}], "refusal": None}
WHOLE = [
    completion(choice(content="hello")),
    completion(choice(content="hello"), usage=Usage(3, 2, 1, 1).payload(), service_tier="default"),
    completion(choice(refusal="no")),
    completion(choice(tool_calls=[call("t1", "f", '{"a": 1}'), call("t2", "g", "{}")])),
    completion(choice(tool_calls=[{"id": "t1", "type": "custom", "custom": {"name": "sql", "input": "select"}}])),
    completion(choice(0, content="a"), choice(1, content="b"), choice(2, tool_calls=[call("t", "f", "{}")])),
    completion({**choice(content="hi"), "logprobs": LOGPROBS}),
    completion(choice(content="x", reasoning_content="hm", annotations=[{"type": "url_citation"}], audio={"id": "au"})),
    completion(choice(content="x", function_call={"name": "f", "arguments": "{}"})),
]


@pytest.mark.parametrize("whole", WHOLE)
def test_there_and_back(whole: dict[str, Any]) -> None:
    """A whole answer turned into chunks and back is the same answer, and is not changed on the way."""
    before = copy.deepcopy(whole)
    assert before == completion_from_chunks(chunks_from_completion(whole))
    assert before == whole


TEXTS = st.none() | st.text(max_size=5)
CALLS = st.lists(st.builds(call, st.text(max_size=3), st.text(max_size=3), st.text(max_size=5)), min_size=1, max_size=3)
CHOICES = st.builds(
    lambda content, refusal, calls: choice(
        content=content, refusal=refusal, **({"tool_calls": calls} if calls is not None else {})
    ),
    TEXTS,
    TEXTS,
    st.none() | CALLS,
)


@settings(deadline=None)
@given(st.lists(CHOICES, min_size=1, max_size=3))
def test_there_and_back_with_any_texts(choices: list[dict[str, Any]]) -> None:
    """Whatever the texts and calls are, and however many choices, nothing is lost or changed."""
    whole = completion(*[{**one, "index": i} for i, one in enumerate(choices)])
    assert whole == completion_from_chunks(chunks_from_completion(whole))


@settings(deadline=None)
@given(CHOICES, st.data())
def test_pieces_make_the_whole(one: dict[str, Any], data: st.DataObject) -> None:
    """However texts and arguments are cut into pieces, they are put together again."""
    message = one["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    for name in ("content", "refusal"):
        if message[name] is not None:
            at = data.draw(st.integers(0, len(message[name])))
            deltas += [{name: message[name][:at]}, {name: message[name][at:]}]
    for i, each in enumerate(message.get("tool_calls", ())):
        function = each["function"]
        at = data.draw(st.integers(0, len(function["arguments"])))
        deltas.append({"tool_calls": [{"index": i, **each, "function": {**function, "arguments": ""}}]})
        for part in (function["arguments"][:at], function["arguments"][at:]):
            deltas.append({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
    assert message == assembled(*deltas)


def test_tool_calls_are_put_together_by_index() -> None:
    """Pieces of several calls may come mixed and out of order; id, type and name are kept from the first piece."""
    message = assembled(
        {"tool_calls": [{"index": 1, "id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": '{"a'}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}, {"index": 0, "function": {"arguments": '":1}'}}]},
        {"tool_calls": [{"index": 1, "id": None, "type": None, "function": {"name": None, "arguments": "}"}}]},
    )
    assert [call("t1", "f", '{"a":1}'), call("t2", "g", "{}")] == message["tool_calls"]


@pytest.mark.parametrize("missing", [{}, {"index": None}])
def test_whole_calls_without_an_index_are_calls_of_their_own(missing: dict[str, Any]) -> None:
    """Servers that send each call whole and without an index still give every call."""
    calls = [call("t1", "f", "{}"), call("t2", "g", "{}")]
    assert calls == assembled(*[{"tool_calls": [{**missing, **one}]} for one in calls])["tool_calls"]


@pytest.mark.parametrize("nothing", [None, []])
def test_no_calls_are_no_field(nothing: Any) -> None:
    """A null or empty list of calls does not become an empty list, which providers refuse when it is sent back."""
    expected = {"role": "assistant", "content": "hi", "refusal": None}
    assert expected == assembled({"content": "hi", "tool_calls": nothing}, {"tool_calls": nothing})


def test_an_old_function_call_is_put_together() -> None:
    """The pieces of the older `function_call` are joined like those of a tool call."""
    pieces = [{"name": "f", "arguments": ""}, {"arguments": '{"a'}, {"arguments": '":1}'}]
    expected = {"name": "f", "arguments": '{"a":1}'}
    assert expected == assembled(*[{"function_call": one} for one in pieces])["function_call"]


def test_several_choices_may_come_mixed() -> None:
    """Chunks of several choices are sorted out by index, whichever comes first."""
    payloads = [
        {"choices": [{"index": 1, "delta": {"content": "b"}}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "B"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]},
    ]
    answer = completion_from_chunks(map(chunk_from, payloads))
    actual = [(c["index"], c["message"]["content"], c["finish_reason"]) for c in answer["choices"]]
    assert [(0, "a", "length"), (1, "bB", "stop")] == actual


def test_choices_without_an_index_stay_apart() -> None:
    """Whole choices that do not say their place keep the one they have in the list."""
    choices = [{k: v for k, v in choice(content=text).items() if k != "index"} for text in "ab"]
    answer = completion_from_chunks(chunks_from_completion(completion(*choices)))
    assert [(0, "a"), (1, "b")] == [(c["index"], c["message"]["content"]) for c in answer["choices"]]


def test_logprobs_are_added_up() -> None:
    """The log probabilities of all pieces stand in one list, in order."""
    payloads = [
        {"choices": [{"index": 0, "delta": {"content": t}, "logprobs": {"content": [{"token": t}], "refusal": None}}]}
        for t in ("a", "b")
    ]
    payloads.append({"choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]})
    answer = completion_from_chunks(map(chunk_from, payloads))
    assert {"content": [{"token": "a"}, {"token": "b"}], "refusal": None} == answer["choices"][0]["logprobs"]


def test_the_counts_come_from_the_last_chunk_that_has_them() -> None:
    """Usage is taken from wherever it stands; a later null does not erase it."""
    chunks = [piece("hi", finish="stop"), piece("", usage=Usage(3, 2)), chunk_from({"choices": [], "usage": None})]
    assert Usage(3, 2).payload() == completion_from_chunks(chunks)["usage"]


def test_stream_only_fields_are_left_out() -> None:
    """What belongs to a stream alone does not appear in a whole answer."""
    answer = completion_from_chunks([chunk_from({"id": "c", "obfuscation": "xx", "choices": []})])
    assert {"id": "c", "object": "chat.completion", "choices": []} == answer


@pytest.mark.parametrize("body", [{}, {"choices": 3}, {"choices": [3]}, {"choices": [{"message": "hi"}]}])
def test_other_shapes_are_refused(body: dict[str, Any]) -> None:
    """What is no completion raises ValueError, so that it counts as garbage."""
    with pytest.raises(ValueError, match="choice"):
        chunks_from_completion(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["index", "a"]), inner, max_size=2),
    max_leaves=6,
)


def loosely(*names: str, **exact: Any) -> Any:
    return st.fixed_dictionaries({}, optional={**dict.fromkeys(names, JSON), **exact}) | JSON


PIECES = st.lists(loosely("index", "id", "type", "function", function=loosely("name", "arguments")), max_size=2)
DELTA = loosely("role", "refusal", "x", content=st.text(max_size=2) | JSON, tool_calls=PIECES | JSON)
CHOICE = loosely("index", "finish_reason", "message", "logprobs", delta=DELTA)
CHUNK = st.fixed_dictionaries({}, optional={"choices": st.lists(CHOICE, max_size=2) | JSON, "usage": JSON, "id": JSON})


@settings(deadline=None, max_examples=300)
@given(st.lists(CHUNK, max_size=3))
def test_any_json_is_a_chunk_or_refused(payloads: list[Any]) -> None:
    """Whatever a provider sends raises ValueError as it is read, or can be put together."""
    try:
        chunks = [chunk_from(payload) for payload in payloads]
    except ValueError:
        return
    assert "chat.completion" == completion_from_chunks(chunks)["object"]


def test_chunks_of_other_wires() -> None:
    """A chunk that is built reads like one that came in; without delta and reason it carries only the counts."""
    told = make_chunk(id="c1", model="m", created=7, delta={"content": "hi"}, finish_reason="stop")
    counts = make_chunk(id="c1", model="m", created=7, usage=Usage(1, 2))
    assert ("hi", True, {0: "stop"}, None) == (told.text, told.has_content, told.finish_reasons, told.usage)
    assert ([], False, Usage(1, 2)) == (counts.payload["choices"], counts.has_content, counts.usage)


@pytest.mark.parametrize(("payload", "expected"), [
    (Usage(3, 2, 1, 1).payload(), Usage(3, 2, 1, 1)),
    ({"prompt_tokens": 3, "completion_tokens": None}, Usage(3)),
    ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(3, 2)),
    ({"prompt_tokens": "3"}, None),
    (None, None),
    ([], None),
])  # fmt: skip
def test_counts_are_read_or_unknown(payload: object, expected: Usage | None) -> None:
    """Counts are read where they are numbers; what is not known is not taken for nothing."""
    assert expected == usage_from(payload)
