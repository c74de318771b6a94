"""Who can carry what: everything a request may need against everything a target may declare that it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import request
from tests.builders import target as built
from understudy.catalog import Candidate, Capabilities, Route, Target
from understudy.chat.request import ChatRequest, Native
from understudy.chat.unary import UnaryRequest
from understudy.services.fitness import idle, lost, offence, shortened, unfit
from understudy.services.upstream import _exchange
from understudy.wire import WIRES


def target(name: str = "lead", **can: Any) -> Target:
    return built(name, capabilities=Capabilities(**can))


def route(*targets: Target, may_drop: frozenset[str] = frozenset()) -> Route:
    return Route("chat", tuple(Candidate(one, n) for n, one in enumerate(targets, 1)), may_drop=may_drop)


def misfit(asked: ChatRequest | UnaryRequest, one: Target) -> tuple[str, str, str] | None:
    """(reason, field, code) of a target that is alone on its route."""
    reason, found = unfit(asked, route(one), one), offence(asked, route(one))
    if found is None:
        assert reason is None
        return None
    assert reason is not None
    return reason, found.field, found.code


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, *parts]}]}


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


DATA = image({"url": "data:image/png;base64,AAAA"})
FETCHED = image({"url": "https://h.example/i.png"})
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALLED = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "a", "content": "1"},
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}

# what is asked, what is declared, the field that is named, a declaration that carries it
NEEDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "tools": ({"tools": [TOOL]}, {"tools": False}, "tools"),
    "older functions": ({"functions": [{"name": "f"}]}, {"tools": False}, "functions"),
    "calls made earlier": ({"messages": CALLED}, {"tools": False}, "messages[1].tool_calls"),
    "an image": (user(DATA), {"vision": False}, "messages[0].content[1]"),
    "an image to fetch": (user(DATA, FETCHED), {"image_urls": False}, "messages[0].content[2].image_url"),
    "an image as a bare address": (user(image("HTTPS://h")), {"image_urls": False}, "messages[0].content[1].image_url"),
    "audio": (user({"type": "input_audio", "input_audio": {}}), {"audio": False}, "messages[0].content[1]"),
    "an answer in audio": ({"audio": {"voice": "x"}}, {"audio": False}, "audio"),
    "audio among the modalities": ({"modalities": ["text", "audio"]}, {"audio": False}, "modalities"),
    "a file": (user({"type": "file", "file": {}}), {"files": False}, "messages[0].content[1]"),
    "a schema": ({"response_format": SCHEMA}, {"json_schema": False}, "response_format"),
    "several answers": ({"n": 2}, {"refuses": frozenset({"n"})}, "n"),
    "log probabilities": ({"logprobs": True}, {"refuses": frozenset({"logprobs"})}, "logprobs"),
    "a temperature": ({"temperature": 0.2}, {"refuses": frozenset({"temperature"})}, "temperature"),
    "a field of the future": ({"zzz": 0}, {"refuses": frozenset({"zzz"})}, "zzz"),
    "a long answer": ({"max_tokens": 101}, {"max_output_tokens": 100}, "max_tokens"),
    "a long answer, newer": ({"max_completion_tokens": 101}, {"max_output_tokens": 100}, "max_completion_tokens"),
    "a chat": ({}, {"chat": False, "embeddings": True}, "model"),
}
CARRIED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no tools": ({"tools": [], "functions": []}, {"tools": False}),
    "an image that is there": (user(DATA, image("data:,")), {"image_urls": False}),
    "text alone": (user(), {"vision": False, "audio": False, "files": False, "image_urls": False}),
    "a text answer": ({"modalities": ["text"], "audio": {}}, {"audio": False}),
    "any JSON": ({"response_format": {"type": "json_object"}}, {"json_schema": False}),
    "an answer as long as may be": ({"max_tokens": 100}, {"max_output_tokens": 100}),
    "a stream": ({"stream": True}, {"streaming": False}),
    "what is so anyway": (
        {"n": 1, "temperature": 1.0, "logprobs": False},
        {"refuses": frozenset({"n", "temperature", "logprobs"})},
    ),
}


@pytest.mark.parametrize("need", NEEDS)
def test_what_a_target_declares_it_cannot_is_not_sent_to_it(need: str) -> None:
    """The target is unfit, the field that asks for it is named; a target that declares nothing carries it."""
    asks, declares, field = NEEDS[need]
    found = misfit(request(**asks), target(**declares))
    assert (field, "unsupported_parameter") == (found[1:] if found else None)
    assert None is misfit(request(**asks), target())


@pytest.mark.parametrize("need", CARRIED)
def test_what_a_target_can_is_sent_to_it(need: str) -> None:
    """A declaration turns away what it is about and no more."""
    asks, declares = CARRIED[need]
    assert None is misfit(request(**asks), target(**declares))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_route_may_have_answers_shortened(field: str) -> None:
    """Where a route may drop the limit, a smaller target is asked for the longest answer that it gives, in the caller's
    own words too; a limit that it can keep stays as it is."""
    small = target(max_output_tokens=100)
    given = request(**{field: 32000})
    native = replace(given, native=Native("anthropic", {"max_tokens": 32000, "messages": []}))
    agreed = Route("r", (Candidate(small, 1),), may_drop=frozenset({field}))
    assert None is unfit(native, agreed, small)
    short = shortened(native, small)
    assert (100, {"max_tokens": 100, "messages": []}) == (short.body[field], short.native.body if short.native else {})
    assert given is shortened(given, target())


def test_a_prompt_above_the_window_is_one_that_is_too_long() -> None:
    """Programs know one word for it, whoever says it."""
    long = request(messages=[{"role": "user", "content": "x" * 8016}])
    words = "about 2004 tokens do not fit its window of 1000"
    assert (words, "messages", "context_length_exceeded") == misfit(long, target(context_window=1000))
    inputs = UnaryRequest("embeddings", "r", {"model": "r", "input": ["x" * 8016]})
    embedding = target(context_window=1000, embeddings=True)
    assert (words, "input", "context_length_exceeded") == misfit(inputs, embedding)


def test_embeddings_go_to_those_who_make_them() -> None:
    """A target must declare it, and its protocol have a way; what else it cannot does not matter."""
    asked = UnaryRequest("embeddings", "r", {"model": "r", "input": "x"})
    assert None is misfit(asked, target(embeddings=True, chat=False, tools=False, vision=False))
    assert ("it does not make embeddings", "model", "unsupported_parameter") == misfit(asked, target())
    counted = UnaryRequest("count_tokens", "r", {"model": "r", "messages": []})
    assert ("it has no count tokens", "model", "unsupported_parameter") == misfit(counted, target())


def test_the_first_offending_field_is_named() -> None:
    """In the caller's own order, whichever target of the route cannot carry it."""
    asked = request(seed=1, tools=[TOOL], n=2)
    one, other = target("lead", tools=False), target("spare", refuses=frozenset({"n", "seed"}))
    found = offence(asked, route(one, other))
    assert found is not None
    assert "seed" == found.field
    images = request(**user(FETCHED, {"type": "file", "file": {}}), n=2)
    found = offence(images, route(target(files=False, refuses=frozenset({"n"})), target(image_urls=False)))
    assert found is not None
    assert "messages[0].content[1].image_url" == found.field


def test_what_may_be_dropped_is_no_misfit() -> None:
    """A route that agreed to lose a field has it carried without."""
    refusing = target(refuses=frozenset({"seed"}))
    asked = request(seed=1)
    assert None is unfit(asked, route(refusing, may_drop=frozenset({"seed"})), refusing)
    assert {"seed"} == lost(asked, refusing)


def test_what_says_nothing_is_left_out_where_it_is_refused() -> None:
    """Defaults that generated clients send, and shown thinking in an echoed answer, do not reach a strict target."""
    echoed = {"role": "assistant", "content": "b", "reasoning_content": "hm", "annotations": []}
    messages = [{"role": "user", "content": "a"}, echoed, {"role": "user", "content": "c"}]
    asked = request(n=1, messages=messages)
    strict = target(refuses=frozenset({"n", "seed", "reasoning_content"}))
    assert None is misfit(asked, strict)
    assert {"n", "reasoning_content"} <= idle(asked, strict)
    body = _exchange(asked, strict, route(strict)).call.body.decode()
    assert (False, False, True) == ('"n":' in body, "hm" in body, '"annotations":[]' in body)
    assert {"reasoning_content"} == idle(request(n=2), strict)


def test_a_callers_own_protocol_is_not_measured_by_the_chat_shape() -> None:
    """Where the wire sends on what the caller wrote, only declarations count."""
    native = ChatRequest("chat", request(seed=1).body, native=Native("openai", {}), needs=frozenset({"zzz"}))
    assert None is misfit(native, target())
    assert "seed" == (misfit(native, target(refuses=frozenset({"seed"}))) or ("", ""))[1]


def test_a_native_field_that_says_nothing_is_left_out_too() -> None:
    """An agent that always sends the usual temperature reaches a model that takes none; what says something is named
    as its own protocol has it."""
    native = Native("anthropic", {"model": "chat", "max_tokens": 9, "temperature": 1, "messages": []})
    one = target(refuses=frozenset({"temperature", "top_k", "thinking"}))
    one = replace(one, provider=replace(one.provider, wire="anthropic"))
    asked = ChatRequest("chat", request(temperature=1).body, native=native)
    assert None is misfit(asked, one)
    assert "temperature" not in json.loads(_exchange(asked, one, route(one)).call.body)
    thinking = {**native.body, "thinking": {"type": "adaptive"}}
    assert "thinking" == (misfit(replace(asked, native=replace(native, body=thinking)), one) or ("", ""))[1]


@pytest.mark.parametrize("wire", sorted(WIRES.keys() - {"responses"}))
@pytest.mark.parametrize("refuses", [frozenset(), frozenset({"parallel_tool_calls"})], ids=["taken", "refused"])
def test_one_call_at_a_time_can_be_had_of_everybody(wire: str, refuses: frozenset[str]) -> None:
    """No target is passed over for `parallel_tool_calls`: where its API has no such switch, the router sees to it."""
    asked = request(tools=[TOOL], parallel_tool_calls=False)
    one = target(refuses=refuses)
    one = replace(one, provider=replace(one.provider, wire=wire))
    assert misfit(asked, one) is None
    sent = json.loads(_exchange(asked, one, route(one)).call.body)
    assert not (refuses and "parallel_tool_calls" in sent)
