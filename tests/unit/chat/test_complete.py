"""What compatible servers leave out of an answer is filled in, and what is there stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import piece
from understudy.chat.complete import Completed
from understudy.chat.response import chunks_from_completion, completion_from_chunks
from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "big-1"}


def fed(*payloads: dict[str, Any], seed: str = "r1") -> list[Chunk]:
    """The chunks as they leave."""
    completed = Completed(seed, 99)
    return [each for payload in payloads for each in completed.feed(chunk_from(payload), "asked")]


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **fields}


def call(**fields: Any) -> dict[str, Any]:
    """A chunk with one piece of a call; `name` and `arguments` are its function's."""
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return chunk({"tool_calls": [{**fields, "function": function} if function else fields]})


def calls(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """The pieces of calls, in order."""
    return [one for each in chunks for c in each.payload["choices"] for one in c["delta"].get("tool_calls", ())]


def joined(chunks: list[Chunk]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of the calls that a client puts together by index."""
    found: dict[int, list[str]] = {}
    for one in calls(chunks):
        known = found.setdefault(one["index"], ["", "", ""])
        known[0] += one.get("id", "")
        known[1] += one["function"].get("name", "")
        known[2] += one["function"]["arguments"]
    assert list(range(len(found))) == list(found)
    return [(known[0], known[1], known[2]) for known in found.values()]


def test_what_is_whole_stays_the_same_object() -> None:
    """A chunk that lacks nothing is passed on untouched, unknown fields and all."""
    given = chunk_from(chunk({"role": "assistant", "content": "hi", "zzz": 1}, zzz=[2]))
    (left,) = Completed("r1", 99).feed(given, "asked")
    assert given is left


@pytest.mark.parametrize("missing", [{}, {"id": None, "created": None, "model": None}, {"id": "", "created": 0}])
def test_a_missing_envelope_is_filled_in(missing: dict[str, Any]) -> None:
    """Id, time, model and object come in every chunk, the same ones, where a server sends none."""
    payload = {**missing, "choices": [{"delta": {"content": "hi"}}]}
    first, second = fed(payload, payload)
    envelope = {name: first.payload[name] for name in HEAD}
    assert ("chat.completion.chunk", 99, "asked") == (envelope["object"], envelope["created"], envelope["model"])
    assert envelope == {name: second.payload[name] for name in HEAD}
    assert [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}] == first.payload["choices"]


def test_a_minted_id_is_that_of_one_answer() -> None:
    """Two answers do not share an id; the same answer has the same one again."""
    one, other = (fed({"choices": []}, seed=seed)[0].payload["id"] for seed in ("r1", "r2"))
    assert (True, False) == (one.startswith("chatcmpl-"), one == other)
    assert one == fed({"choices": []})[0].payload["id"]


@pytest.mark.parametrize(("given", "expected"), [(7.6, 7), ("soon", 99), (True, 99), (-1, 99), (float("inf"), 99)])
def test_a_time_is_whole_seconds(given: Any, expected: int) -> None:
    """Some servers give fractions."""
    assert expected == fed({**HEAD, "created": given, "choices": []})[0].payload["created"]


def test_the_stop_reason_comes_once() -> None:
    """A server that repeats it, beside its counts, is not repeated; its counts are."""
    usage = Usage(1, 2).payload()
    *_, last = fed(chunk({"content": "hi"}), chunk({}, "stop"), chunk({}, "stop", usage=usage))
    assert ([], usage) == (last.payload["choices"], last.payload["usage"])


def test_stopping_after_calls_is_said() -> None:
    """A server that says `stop` after it called is corrected; a cut by length stays one."""
    start = call(index=0, id="a", name="f", arguments="{}")
    assert {0: "tool_calls"} == fed(start, chunk({}, "stop"))[-1].finish_reasons
    assert {0: "length"} == fed(start, chunk({}, "length"))[-1].finish_reasons
    assert {0: "stop"} == fed(chunk({"content": "x"}), chunk({}, "stop"))[-1].finish_reasons


FRAGMENTS: dict[str, list[dict[str, Any]]] = {
    "as OpenAI sends them": [
        call(index=0, id="a", type="function", name="f", arguments=""),
        call(index=0, arguments='{"x"'),
        call(index=0, arguments=":1}"),
        call(index=1, id="b", type="function", name="g", arguments="{}"),
    ],
    "numbered from 1": [call(index=1, id="a", name="f", arguments='{"x":1}'), call(index=2, id="b", name="g")],
    "all numbered 0": [call(index=0, id="a", name="f", arguments='{"x":1}'), call(index=0, id="b", name="g")],
    "without numbers": [call(id="a", name="f", arguments='{"x":1}'), call(id="b", name="g", arguments="{}")],
    "pieces without numbers": [
        call(id="a", name="f", arguments=""),
        call(arguments='{"x":'),
        call(arguments="1}"),
        call(id="b", name="g", arguments="{}"),
    ],
    "id and name in every piece": [
        call(index=0, id="a", name="f", arguments='{"x":'),
        call(index=0, id="a", name="f", arguments="1}"),
        call(index=1, id="b", name="g", arguments="{}"),
    ],
    "the name late": [
        call(index=0, id="a", arguments='{"x"'),
        call(index=0, name="f", arguments=":1}"),
        call(index=1, id="b", name="g", arguments="{}"),
    ],
    "the id late": [
        call(index=0, name="f", arguments='{"x"'),
        call(index=0, id="a", arguments=":1}"),
        call(index=1, id="b", name="g", arguments="{}"),
    ],
    "arguments as an object": [
        call(index=0, id="a", name="f", arguments={"x": 1}),
        call(index=1, id="b", name="g", arguments={}),
    ],
    "an id for every piece": [
        call(index=0, id="a", name="f", arguments='{"x":'),
        call(index=0, id="zz", arguments="1}"),
        call(index=1, id="b", name="g", arguments="{}"),
    ],
}


@pytest.mark.parametrize("how", FRAGMENTS)
def test_calls_are_numbered_and_begin_with_id_and_name(how: str) -> None:
    """However a server numbers and cuts its calls, clients read the same two; nothing comes before id and name."""
    left = fed(*FRAGMENTS[how], chunk({}, "stop"))
    assert [("a", "f", '{"x":1}'), ("b", "g", "{}")] == joined(left)
    firsts = {one["index"]: one for one in reversed(calls(left))}
    assert [("function", True, True)] * 2 == [
        (one.get("type"), bool(one.get("id")), bool(one["function"].get("name"))) for one in firsts.values()
    ]


@pytest.mark.parametrize("how", FRAGMENTS)
def test_whole_calls_are_the_same(how: str) -> None:
    """A caller that does not stream reads the same calls."""
    answer = completion_from_chunks(fed(*FRAGMENTS[how], chunk({}, "stop")))
    (choice,) = answer["choices"]
    assert ("tool_calls", ["a", "b"]) == (choice["finish_reason"], [c["id"] for c in choice["message"]["tool_calls"]])


@pytest.mark.parametrize("nothing", ["", None, " "])
def test_a_call_without_arguments_says_so(nothing: str | None) -> None:
    """`{}` comes before the stop reason, streamed or whole, because clients parse what they were given."""
    left = fed(call(index=0, id="a", name="f", arguments=nothing), chunk({}, "tool_calls"))
    assert ([{}], {0: "tool_calls"}) == ([json.loads(a) for _, _, a in joined(left)], left[-1].finish_reasons)
    whole = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": nothing}}]}
    body = {**HEAD, "choices": [{"message": whole, "finish_reason": "stop"}]}
    left = fed(dict(chunks_from_completion(body)[0].payload))
    (made,) = completion_from_chunks(left)["choices"][0]["message"]["tool_calls"]
    assert {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": made["function"]["arguments"]},
    } == made
    assert {} == json.loads(made["function"]["arguments"])


def test_ids_of_calls_are_minted_where_they_are_missing() -> None:
    """At most 40 characters, different within an answer and between answers; a repeated id is replaced too."""
    pieces = [call(index=0, name="f", arguments="{}"), call(index=1, id="b", name="g"), call(index=2, id="b", name="h")]
    ids = [id for seed in ("r1", "r2") for id, _, _ in joined(fed(*pieces, chunk({}, "stop"), seed=seed))]
    assert ["b", "b"] == [ids[1], ids[4]]
    minted = {ids[0], ids[2], ids[3], ids[5]}
    assert (4, True) == (len(minted), all(id.startswith("call_") and len(id) <= 40 for id in minted))


def test_other_fields_of_calls_are_kept() -> None:
    """What a server adds to a call, such as a signature, comes with its first piece; a custom tool's input too."""
    signed = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"sig": "x"}}
    (first,) = calls(fed(chunk({"tool_calls": [signed]})))
    assert {"sig": "x"} == first["extra_content"]
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": ""}}
    left = fed(chunk({"tool_calls": [custom]}), chunk({}, "stop"))
    assert [custom] == calls(left)


COUNTS = [
    ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2, 5)),
    ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 4}, (3, 2, 5)),
    ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 12}, (3, 9, 12)),
    (
        {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 12,
            "completion_tokens_details": {"reasoning_tokens": 7, "z": 1},
        },
        (3, 9, 12),
    ),
    ({"prompt_tokens": 3, "completion_tokens": None}, (3, 0, 3)),
]


@pytest.mark.parametrize(("usage", "expected"), COUNTS)
def test_the_total_is_the_sum(usage: dict[str, Any], expected: tuple[int, ...]) -> None:
    """Tokens of thinking that a server counts in the total alone belong to the answer, for the bill as well."""
    (left,) = fed({**HEAD, "choices": [], "usage": {**usage, "zzz": 1}})
    given = left.payload["usage"]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert (expected, 1) == (tuple(given[name] for name in names), given["zzz"])
    assert left.usage is not None
    assert expected[:2] == (left.usage.prompt_tokens, left.usage.completion_tokens)


def test_counts_that_cannot_be_read_are_left_out() -> None:
    """A client that adds up counts gets none rather than something else."""
    assert None is fed({**HEAD, "choices": [], "usage": {"prompt_tokens": "3"}})[0].payload["usage"]


def test_what_hangs_on_a_chunk_stays_on_it() -> None:
    """Native events and shown headers survive what is filled in."""
    given = chunk_from({"choices": [{"delta": {"content": "hi"}}]})
    marked = Chunk(given.payload, "hi", False, False, {}, None, True, ({"type": "x"},), {"x-ratelimit-limit": "1"})
    (left,) = Completed("r1", 99).feed(marked, "asked")
    assert (({"type": "x"},), {"x-ratelimit-limit": "1"}, True) == (left.native, left.headers, left.opaque)


PIECE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | st.none(),
        "id": st.sampled_from(["", "a", "b"]) | st.none(),
        "function": st.none()
        | st.text(max_size=2)
        | st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["", "f", "g"]) | st.none(),
                "arguments": st.text(max_size=3) | st.none() | st.just({}),
            },
        ),
        "zzz": st.integers(),
    },
)
DELTA = st.fixed_dictionaries({}, optional={"content": st.text(max_size=3), "tool_calls": st.lists(PIECE, max_size=3)})


@given(st.lists(st.tuples(DELTA, st.sampled_from([None, None, "stop", "length"])), max_size=8))
def test_whatever_comes_leaves_in_order(pieces: list[tuple[dict[str, Any], str | None]]) -> None:
    """Text is kept, calls are numbered without gaps, each begins once with an id of its own; one stop reason."""
    payloads = [chunk(delta, finish) for delta, finish in pieces]
    left = fed(*payloads)
    assert "".join(c.text for c in map(chunk_from, payloads)) == "".join(c.text for c in left)
    begun = [one for one in calls(left) if "id" in one]
    indexes = [one["index"] for one in begun]
    assert (sorted(set(indexes)), len(begun)) == (sorted(indexes), len({one["id"] for one in begun}))
    assert {one["index"] for one in calls(left)} == set(indexes)
    assert 1 >= sum(len(each.finish_reasons) for each in left)
    assert piece("x").text == "x"


@pytest.mark.parametrize("how", FRAGMENTS)
def test_a_caller_that_wants_one_call_at_a_time_gets_the_first(how: str) -> None:
    """However the calls come, only the first is given on, whole, and the answer still stops after a call."""
    completed = Completed("r1", 99, one_call=True)
    given = [*FRAGMENTS[how], chunk({}, "stop")]
    left = [each for payload in given for each in completed.feed(chunk_from(payload), "asked")]
    assert [("a", "f", '{"x":1}')] == joined(left)
    assert ["tool_calls"] == [
        c["finish_reason"] for each in left for c in each.payload["choices"] if c["finish_reason"]
    ]
