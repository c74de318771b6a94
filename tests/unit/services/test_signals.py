"""What callers' requests say of the targets that answered them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import piece, request, target
from understudy.catalog import Candidate, Catalog, Limits, Price, Route, Target
from understudy.chat.request import ChatRequest
from understudy.chat.response import chunks_from_completion
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed, Refusal, Transient
from understudy.facts import NO_CONSTRAINTS
from understudy.keys import ClientKey
from understudy.routing.journal import Attempt, Journal
from understudy.routing.policy import Decision
from understudy.routing.resume import Resumption
from understudy.services.handling import Handling
from understudy.services.signals import AGAIN, FOLLOWED, REMEMBERED, VERSION_PAUSE, Signals, digest
from understudy.services.validity import LONGEST, flaws, judged
from understudy.wire.fronts.messages_request import messages_request

NOW = 1_800_000_000.0
LEAD = target("lead", price=Price(Decimal(1), Decimal(10)))
SPARE = target("spare")
CHAT = Route("chat", (Candidate(LEAD, 1), Candidate(SPARE, 2)))
APP = ClientKey("a" * 64, "app", NOW)
HELLO = [piece("hel"), piece("lo", finish="stop")]

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now"}},
    {"type": "function", "function": {"name": "find", "parameters": {"properties": {"q": {"pattern": "^a+$"}}}}},
    {"type": "custom", "custom": {"name": "shell"}},
    {"type": "web_search"},
]


def catalog(*routes: Route) -> Catalog:
    return Catalog(1, {"lead": LEAD, "spare": SPARE}, {route.name: route for route in routes})


def attempt(of: Target = LEAD, failure: AttemptFailed | None = None, **fields: Any) -> Attempt:
    """An attempt that took two seconds and, where it was good, said 60 tokens after half a second."""
    made = Attempt(of, 0.0, seconds=2.0, open=False)
    if failure is None:
        made.outcome, made.first_token, made.received, made.usage = "ok", 0.5, 60.0, Usage(1000, 100)
        made.model = "big-1"
    else:
        made.failed(failure)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def journal(chunks: Sequence[Chunk] = HELLO, *attempts: Attempt, **fields: Any) -> Journal:
    made = Journal(list(attempts) or [attempt()], **fields)
    made.answering = next((one for one in reversed(made.attempts) if one.outcome == "ok"), None)
    for chunk in chunks:
        made.delivered.add(chunk)
    return made


def handled(
    told: Journal,
    asked: ChatRequest | UnaryRequest | None = None,
    *,
    route: Route = CHAT,
    at: float = NOW,
    key: int = 1,
) -> Handling:
    return Handling(
        id="r1",
        front="/chat/completions",
        client=APP,
        request=asked or request(),
        route=route,
        decision=Decision("chat", (), ()),
        bound=frozenset(),
        journal=told,
        version=1,
        limits=Limits(),
        constraints=NO_CONSTRAINTS,
        started_at=at - 2,
        digest=key,
    )  # fmt: skip


def signals(*routes: Route) -> Signals:
    made = Signals()
    made.follow(catalog(*(routes or (CHAT,))))
    return made


def values(handling: Handling, by: Signals | None = None, *, whole: bool = True, at: float = NOW) -> dict[str, Any]:
    """By target, each value by its stream and kind."""
    found = (by or signals()).of(handling, at, whole=whole)
    return {
        name: {f"{one.stream or 'traffic'} {one.kind}": one.value for one in samples} for name, samples in found.items()
    }


TIMES = {"traffic latency": 0.4998, "traffic speed": 40.0, "traffic version": "big-1"}
COUNTS = {"route:chat tokens": 100.0, "route:chat cost": 0.002}
FINE = {f"traffic:{name}:chat quality": 1.0 for name in ("refusals", "finish", "retries")}


def test_a_good_answer_has_its_times_its_counts_and_its_signals() -> None:
    """All that one plain answer says, each kind in the stream where it is not mixed with what it must not be."""
    assert {"lead": TIMES | COUNTS | FINE} == values(handled(journal()))


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"estimated": True}, [*COUNTS]),
        ({"usage": None}, [*COUNTS]),
        ({"usage": Usage(1000, 0)}, ["route:chat tokens"]),
        ({"target": SPARE}, ["route:chat cost"]),
        ({"received": 3.0}, ["traffic speed"]),
        ({"model": ""}, ["traffic version"]),
        ({"model": "Sure! Here is what you asked:"}, ["traffic version"]),
        ({"how": "continuation"}, [*COUNTS]),
    ],
)
def test_what_is_not_known_has_no_value(fields: dict[str, Any], missing: list[str]) -> None:
    """Estimates are the router's own, a call without price has no cost, a short answer no speed."""
    (found,) = values(handled(journal(HELLO, attempt(**fields)))).values()
    assert set(missing) == {*TIMES, *COUNTS} - set(found)


@pytest.mark.parametrize(("characters", "expected"), [(5, 0.5), (2_000, 0.4), (5_000, 0.25), (1_000_000, 0.25)])
def test_reading_a_prompt_is_no_part_of_the_latency(characters: int, expected: float) -> None:
    """Longer prompts are no slower target: what is allowed for reading them is taken off, up to half of all."""
    asked = request(messages=[{"role": "user", "content": "x" * characters}])
    assert pytest.approx(expected, abs=0.001) == values(handled(journal(), asked))["lead"]["traffic latency"]


def test_every_attempt_speaks_of_its_own_target() -> None:
    """A failed attempt has no times; a refusal that was routed around is the refusing target's own."""
    told = journal(HELLO, attempt(LEAD, Refusal("no")), attempt(LEAD, Transient("500")), attempt(SPARE))
    found = values(handled(told))
    spare = TIMES | {"route:chat tokens": 100.0} | FINE
    assert {"lead": {"traffic:refusals:chat quality": 0.0}, "spare": spare} == found


def test_an_answer_that_nobody_has_whole_is_not_judged() -> None:
    """Neither one that its caller left or that broke off, nor one that two targets wrote."""
    resumed = journal(resumptions=[Resumption("spare", "lead", 5, "repetition")])
    assert [TIMES | COUNTS] * 2 == [values(handled(resumed))["lead"], values(handled(journal()), whole=False)["lead"]]


def test_other_operations_give_only_what_can_be_compared() -> None:
    """Embeddings have their time and their cost, a count of tokens has neither."""
    embeddings = UnaryRequest("embeddings", "chat", {"input": "x"})
    counted = attempt(first_token=None, usage=Usage(1000, 0), received=0.0)
    expected = {"traffic latency": 1.9999, "traffic version": "big-1", "route:chat cost": 0.001}
    assert {"lead": expected} == values(handled(journal([], counted), embeddings))
    assert {} == values(handled(journal([], counted), replace(embeddings, operation="count_tokens")))


def calls(*made: tuple[str, str], finish: str = "tool_calls", **more: Any) -> list[Chunk]:
    """Tool calls in one chunk each for their name and for either half of their arguments."""
    chunks = []
    for i, (name, arguments) in enumerate(made):
        head = {"index": i, "id": f"c{i}", "type": "function", "function": {"name": name, "arguments": ""}}
        half = len(arguments) // 2
        parts = [{"index": i, "function": {"arguments": text}} for text in (arguments[:half], arguments[half:])]
        chunks += [piece(tool_calls=[part]) for part in (head, *parts)]
    return [*chunks, piece(finish=finish, **more)]


def part(**fields: Any) -> Chunk:
    return piece(tool_calls=[{"index": 0, "id": "c0", **fields}], finish="tool_calls")


PARIS = '{"city": "Paris"}'


@pytest.mark.parametrize(
    ("chunks", "value"),
    [
        (calls(("weather", PARIS)), 1.0),
        (calls(("weather", PARIS), ("now", "")), 1.0),
        (calls(("weather", PARIS), ("weather", '{"city": "Rome", "days": 2}')), 1.0),
        (calls(("weather", PARIS), finish="stop"), 1.0),
        (calls(("weather", "{}")), 0.0),
        (calls(("weather", '{"city": 5}')), 0.0),
        (calls(("weather", '{"city": "Paris", "unit": "C"}')), 0.0),
        (calls(("weather", '{"city": "Par')), 0.0),
        (calls(("weather", '{"city": "Paris", "days": NaN}')), 0.0),
        (calls(("weather", '["Paris"]')), 0.0),
        (calls(("now", "5")), 0.0),
        (calls(("forecast", PARIS)), 0.0),
        (calls(("weather", PARIS), ("weather", "{}")), 0.0),
        (calls(("find", '{"q": "aaa"}')), None),
        (calls(("find", '{"q": "aaa"}'), ("forecast", "{}")), 0.0),
        (calls(("weather", PARIS), finish="length"), None),
        (calls(("weather", "[" * 40_000)), None),
        (calls(("weather", '"' + "x" * LONGEST + '"')), None),
        ([part(type="custom", custom={"name": "shell", "input": "ls"})], 1.0),
        ([part(type="custom", custom={"name": "bash", "input": "ls"})], 0.0),
        ([part(function={"name": "weather", "arguments": {"city": "Paris"}})], 1.0),
        ([part(function={"name": "weather", "arguments": {"city": 5}})], 0.0),
        ([part(function={"name": "weather", "arguments": 5})], None),
        ([part(id="a", function={"name": "now"}), part(id="b", function={"name": "now"})], None),
        (HELLO, None),
    ],
)
def test_tool_calls_are_held_against_what_was_offered(chunks: list[Chunk], value: float | None) -> None:
    """Right are calls of offered tools with arguments that their schemas allow; what cannot be judged has no value."""
    found = dict(judged(request(tools=TOOLS), journal(chunks).delivered))
    assert value == found.get("tools")


def test_calls_are_judged_only_where_tools_are_offered() -> None:
    """Without the callers' own tools there is nothing to hold a call against."""
    for tools in ({}, {"tools": [{"type": "web_search"}]}):
        assert None is dict(judged(request(**tools), journal(calls(("weather", PARIS))).delivered)).get("tools")


def test_a_call_of_a_tool_that_the_provider_defines_is_no_mistake() -> None:
    """Tools that only one protocol's providers know may be called; a call of the caller's own is still judged."""
    own = {"name": "weather", "input_schema": WEATHER}
    asked = {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], "model": "chat"}
    both, one = (
        messages_request({**asked, "tools": tools}, {})
        for tools in ([{"type": "bash_20250124", "name": "bash"}, own], [own])
    )
    shell, wrong = journal(calls(("bash", "{}"))).delivered, journal(calls(("bash", "{}"), ("weather", "{}"))).delivered
    found = [dict(judged(by, answer)).get("tools") for by, answer in ((both, shell), (one, shell), (both, wrong))]
    assert [None, 0.0, 0.0] == found


def test_judging_an_answer_takes_milliseconds() -> None:
    """Whatever schemas its caller sent and however many calls it has: an answer has one budget, and then no value."""
    names = [f"n{i}" for i in range(5000)]
    slow = [{"items": {"required": names}}, {"items": {f"x-{name}": 1 for name in names}}, {"items": {"anyOf": [{}]}}]
    forms = [{"properties": {"a": part}} for part in slow] * 4
    tools = [{"type": "function", "function": {"name": f"t{i}", "parameters": form}} for i, form in enumerate(forms)]
    chunks = calls(*((f"t{i}", json.dumps({"a": [1] * 1500})) for i in range(12)))
    told, began = journal(chunks).delivered, time.process_time()
    assert None is dict(judged(request(tools=tools), told)).get("tools")
    assert max(0.2, time.process_time() - began) == 0.2


def test_the_calls_of_an_answer_share_their_length() -> None:
    """Calls that are short enough each are not judged where together they are longer than an answer may be."""
    long = json.dumps({"city": "x" * (LONGEST // 2)})
    found = [dict(judged(request(tools=TOOLS), journal(calls(*[("weather", long)] * n)).delivered)) for n in (1, 2)]
    assert [1.0, None] == [one.get("tools") for one in found]


def test_a_whole_answer_is_judged_like_a_stream() -> None:
    """The calls of an answer that came in one piece are judged alike."""
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    whole = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    assert 0.0 == dict(judged(request(tools=TOOLS), journal(chunks_from_completion(whole)).delivered))["tools"]


SCHEMA = {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER}}
OBJECT = {"type": "json_object"}
LOOSE = {"type": "json_schema", "json_schema": {"name": "w", "schema": {"type": "object", "minContains": 1}}}


@pytest.mark.parametrize(
    ("form", "chunks", "value"),
    [
        (SCHEMA, [piece('{"city": '), piece('"Rome"}', finish="stop")], 1.0),
        (SCHEMA, [piece('{"town": "Rome"}', finish="stop")], 0.0),
        (SCHEMA, [piece("```json\n{}\n```", finish="stop")], 0.0),
        (OBJECT, [piece('{"any": 1}', finish="stop")], 1.0),
        (OBJECT, [piece("[1]", finish="stop")], 0.0),
        (OBJECT, [piece("Sure!", finish="stop")], 0.0),
        (OBJECT, [piece('{"any": ', finish="length")], None),
        (OBJECT, [piece("I cannot", finish="content_filter")], None),
        (OBJECT, [piece(refusal="I cannot", finish="stop")], None),
        (OBJECT, calls(("weather", PARIS)), None),
        (OBJECT, [piece("[" * 40_000, finish="stop")], None),
        (LOOSE, [piece("{}", finish="stop")], None),
        (LOOSE, [piece("[]", finish="stop")], 0.0),
        ({"type": "grammar"}, [piece("x", finish="stop")], None),
        ({"type": "json_schema"}, [piece("7", finish="stop")], 1.0),
        ({"type": "text"}, HELLO, None),
        (SCHEMA, [], None),
    ],
)
def test_json_is_held_against_what_was_asked(form: dict[str, Any], chunks: list[Chunk], value: float | None) -> None:
    """An answer that was to be JSON is judged whole; one that was cut or refused has a signal of its own."""
    assert value == dict(judged(request(response_format=form), journal(chunks).delivered)).get("json")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (HELLO, []),
        (calls(("now", "")), []),
        (calls(("weather", "{}")), ["tools"]),
        (calls(("find", '{"q": "aaa"}')), []),
        ([piece("hel", finish="length")], []),
        ([piece("I", finish="content_filter")], ["refusals"]),
    ],
)
def test_a_copy_is_judged_as_callers_answers_are(chunks: list[Chunk], expected: list[str]) -> None:
    """A flaw is a signal that is not at its best; one cut at its length, or that cannot be judged, has none."""
    assert expected == flaws(request(tools=TOOLS), journal(chunks).delivered)


@pytest.mark.parametrize(
    ("chunks", "refusals", "finish"),
    [
        (HELLO, 1.0, 1.0),
        (calls(("weather", PARIS)), 1.0, 1.0),
        ([piece("hel", finish="length")], 1.0, 0.0),
        ([piece("I", finish="content_filter")], 0.0, None),
        ([piece(refusal="I cannot"), piece(finish="stop")], 0.0, 1.0),
        ([piece("x", finish="pause")], 1.0, None),
    ],
)
def test_how_answers_end(chunks: list[Chunk], refusals: float, finish: float | None) -> None:
    """By themselves, at the limit, by a filter, with a refusal, or in a way that nobody knows."""
    found = dict(judged(request(tools=TOOLS), journal(chunks).delivered))
    assert (refusals, finish) == (found["refusals"], found.get("finish"))


def test_several_choices_share_their_ends() -> None:
    """Of three choices, the share that came to an end of its own."""
    ends = {
        "choices": [{"index": i, "delta": {}, "finish_reason": r} for i, r in enumerate(["stop", "length", "stop"])]
    }
    whole = replace(HELLO[0], payload=ends, finish_reasons={0: "stop", 1: "length", 2: "stop"})
    assert 0.667 == dict(judged(request(n=3), journal([whole]).delivered))["finish"]


def version(by: Signals, name: str, at: float, fingerprint: str = "") -> Any:
    told = journal(HELLO, attempt(model=name, fingerprint=fingerprint))
    return values(handled(told), by, at=at)["lead"].get("traffic version")


def test_a_version_is_told_when_it_is_news() -> None:
    """At the first answer and at each change; versions that take turns are told now and then, not each time."""
    by = signals()
    story = [("m-1", 0), ("m-1", 1), ("m-2", 2), ("m-2", 3), ("m-1", 4), ("m-2", 5), ("m-1", VERSION_PAUSE + 1)]
    found = [version(by, name, NOW + at) for name, at in story]
    assert ["m-1", None, "m-2", None, None, None, "m-1"] == found
    long = "m" * 100, "f" * 99
    assert "/".join(long) == version(by, long[0], NOW + 401, long[1])
    assert ["m-1/fp_a", "m-1/fp_b"] == [version(by, "m-1", NOW + 400, fp) for fp in ("fp_a", "fp_b")]


def retry(by: Signals, key: int, at: float, of: Target = LEAD) -> dict[str, Any]:
    found = values(handled(journal(HELLO, attempt(of)), key=key, at=at), by, at=at)
    return {name: seen["traffic:retries:chat quality"] for name, seen in found.items() if
            "traffic:retries:chat quality" in seen}  # fmt: skip


def test_the_same_request_again_speaks_against_the_answer_before() -> None:
    """Soon after an answer, whoever gives the next one; not later, not of another request, and not of two at once."""
    by = signals()
    assert {"lead": 1.0} == retry(by, 1, NOW)
    assert {"lead": 0.0} == retry(by, 1, NOW + 10, SPARE)
    assert {"spare": 0.0} == retry(by, 1, NOW + 20)
    assert {"lead": 1.0} == retry(by, 1, NOW + 25 + AGAIN)
    assert {"lead": 1.0} == retry(by, 2, NOW + 26 + AGAIN)
    # It began before the one before had ended.
    assert {"lead": 1.0} == retry(by, 2, NOW + 27 + AGAIN)


def test_requests_are_the_same_for_one_client_only() -> None:
    """A request is known by its client, its length, its beginning and its end."""
    body = b"x" * 100_000 + b"?"
    same = [digest("a", body), digest("b", body), digest("a", body + b"?"), digest("a", body[:-1] + b"!")]
    assert (1, 4) == (len({digest("a", bytes(bytearray(body))), same[0]}), len(set(same)))


def test_memory_is_bounded() -> None:
    """Neither many requests nor many versions make it grow."""
    by = signals()
    for number in range(REMEMBERED + 50):
        told = journal(HELLO, attempt(model=f"m-{number}"))
        values(handled(told, key=number), by, at=NOW + number)
    assert (REMEMBERED, 8) == (len(by._answered), len(by._versions["lead"].at))


def test_the_first_routes_of_a_target_have_streams_of_their_own() -> None:
    """Of many routes over one target those that come first in the document; the rest count for the target only."""
    routes = [replace(CHAT, name=f"r{n}") for n in range(FOLLOWED + 1)]
    by = signals(*routes)
    first, last = (values(handled(journal(), route=route), by)["lead"] for route in (routes[0], routes[-1]))
    assert (True, {"traffic latency": 0.4998, "traffic speed": 40.0}) == ("route:r0 tokens" in first, last)
    by.follow(catalog(routes[-1]))
    assert f"route:r{FOLLOWED} tokens" in values(handled(journal(), route=routes[-1]), by)["lead"]


def test_nothing_that_was_said_is_in_a_value() -> None:
    """Neither the question, nor the answer, nor a tool's arguments, nor a key."""
    secret = "hunter2"
    asked = request(tools=TOOLS, user=secret, messages=[{"role": "user", "content": secret}])
    answer = [piece(secret), *calls(("weather", json.dumps({"city": secret})), (secret, secret))]
    found = signals().of(handled(journal(answer), asked), NOW, whole=True)
    assert (1, False) == (len(found), secret in json.dumps([one.plain() for one in found["lead"]]))


ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "index": ODD,
        "id": ODD,
        "function": ODD | st.fixed_dictionaries({}, optional={"name": ODD | st.just("weather"), "arguments": ODD}),
        "custom": ODD | st.fixed_dictionaries({}, optional={"name": ODD}),
    },
)


@given(parts=st.lists(PARTS, max_size=4), finish=st.sampled_from([None, "stop", "tool_calls"]), form=ODD)
@settings(max_examples=100, deadline=None)
def test_odd_answers_are_judged_or_not_but_break_nothing(parts: list[Any], finish: str | None, form: Any) -> None:
    """Whatever a provider sends that can be read as a chunk, and whatever form was asked for."""
    asked = request(tools=TOOLS, response_format={"type": "json_schema", "json_schema": form})
    told = journal([piece("x", tool_calls=parts, finish=finish)])
    found = dict(judged(asked, told.delivered))
    assert set() == {name for name, value in found.items() if not 0 <= value <= 1}
