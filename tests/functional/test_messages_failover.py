"""Callers of the Messages API whose lead speaks it too and whose understudy does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest

from infra.local.simulators import SimulatedProvider
from tests.messages_clients import Place, configured, says, simulated
from tests.one_router import KEY, Router, routed
from tests.raw_provider import RawProvider, Reply
from tests.served_router import served
from tests.spoken import ANTHROPIC, OPENAI, streamed
from understudy.runtime.gateway import ApiRequest

THINK: Any = {"type": "enabled", "budget_tokens": 1024}
TOOLS: Any = [{"name": "forecast", "input_schema": {"type": "object", "properties": {}}}]
AGENT: Any = {
    "model": "chat",
    "max_tokens": 2000,
    "thinking": THINK,
    "system": [
        {"type": "text", "text": "You are an agent."},
        {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral"}},
    ],
    "metadata": {"user_id": "user_" + "f" * 90},
    "tools": TOOLS,
}
"""What a coding agent sends with everything."""


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, SimulatedProvider]]:
    with simulated() as found:
        yield found


@pytest.fixture
def place(providers: dict[str, SimulatedProvider]) -> Iterator[Place]:
    """A router that knows nothing yet, and healthy providers."""
    with served(configured(providers, "anthropic", "openai")) as (url, router):
        yield Place(url, router, providers)
    for one in providers.values():
        one.set_fault("*", None)


MIDWAY = ["cut_midstream", "stall_midstream", "end_midstream", "error_midstream"]


@pytest.mark.parametrize("fault", MIDWAY)
def test_an_answer_that_breaks_off_is_gone_on_with(place: Place, fault: str) -> None:
    """The SDK sees one message: begun in the lead's own events, ended by the understudy, and said to be resumed."""
    place.providers["anthropic"].set_fault("model-lead", fault)
    with place.client.messages.stream(model="chat", max_tokens=500, messages=says("recite to 40")) as stream:
        events = list(stream)
        message = stream.get_final_message()
    (block,) = message.content
    assert block.type == "text"
    assert "[simulated]" + "".join(f" {n}" for n in range(1, 41)) == block.text
    assert ("end_turn", "model-lead") == (message.stop_reason, message.model)
    (told,) = [event for event in events if event.type == "message_delta"]
    assert ["lead", "spare"] == [told.to_dict()["understudy"]["resumed"][0][end] for end in ("from", "to")]  # type: ignore[index]
    assert 1 == sum(event.type == "content_block_start" for event in events)


def test_an_answer_that_nobody_can_go_on_with_is_an_error(place: Place) -> None:
    """The SDK raises; nothing in the stream says that the message is whole."""
    place.providers["anthropic"].set_fault("*", "cut_midstream")
    place.providers["openai"].set_fault("*", "http_500")
    seen: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError) as broken,
        place.client.messages.stream(model="chat", max_tokens=500, messages=says("recite to 40")) as stream,
    ):
        seen.extend(event.type for event in stream)
    assert ("api_error", "stream_broken") == (broken.value.type, broken.value.error_code)
    assert {"message_delta", "message_stop"} & set(seen) == set()


def test_an_agent_goes_on_when_its_lead_falls_and_when_it_is_back(place: Place) -> None:
    """A tool loop under thinking changes hands twice: to an understudy that cannot carry thinking, and back again."""
    client = place.client
    messages: list[Any] = says("use forecast")

    def step(stream: bool) -> Any:
        if stream:
            with client.messages.stream(**AGENT, messages=messages) as running:
                answer = running.get_final_message()
        else:
            answer = client.messages.create(**AGENT, messages=messages)
        messages.append({"role": "assistant", "content": answer.content})
        return answer

    def results(answer: Any) -> None:
        uses = [block for block in answer.content if block.type == "tool_use"]
        messages.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": u.id, "content": "sunny"} for u in uses],
            }
        )

    first = step(stream=True)
    assert ["thinking", "tool_use"] == [block.type for block in first.content]
    results(first)
    place.providers["anthropic"].set_fault("*", "http_529")
    second = step(stream=False)
    assert ("spare", "end_turn") == (place.router.decision["target"], second.stop_reason)
    messages.append(says("use forecast again")[0])
    third = step(stream=True)
    assert ("spare", "tool_use") == (place.router.decision["target"], third.stop_reason)
    results(third)
    place.providers["anthropic"].set_fault("*", None)
    with served(configured(place.providers, "anthropic", "anthropic")) as (url, router):
        back = Place(url, router, place.providers)
        client = back.client
        fourth = step(stream=True)
        assert ("lead", "end_turn") == (router.decision["target"], fourth.stop_reason)
        # The open turn began with the understudy's call, so that there was no thinking to bring along.
        sent = back.sent[-1]
        assert {"type": "disabled"} == sent["thinking"]
        assert [["thinking", "tool_use"], ["text"], ["tool_use"]] == [
            [block["type"] for block in message["content"]]
            for message in sent["messages"]
            if message["role"] == "assistant"
        ]


def test_thinking_of_one_target_is_not_shown_to_another(providers: dict[str, SimulatedProvider]) -> None:
    """Two targets of the same protocol: the second gets the history without the first one's thinking, and says so."""
    with served(configured(providers, "anthropic", "anthropic")) as (url, router):
        place = Place(url, router, providers)
        asked: Any = {"model": "chat", "max_tokens": 2000, "thinking": THINK, "tools": TOOLS}
        history: list[Any] = says("use forecast")
        first = place.client.messages.create(**asked, messages=history)
        use = first.content[-1]
        assert use.type == "tool_use"
        history += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]},
        ]
        providers["anthropic"].set_fault("model-lead", "http_529")
        raw = place.client.messages.with_raw_response.create(**asked, messages=history)
        providers["anthropic"].set_fault("*", None)
        assert ("spare", "content bound to another target") == (
            raw.headers["x-understudy-target"],
            raw.headers["x-understudy-stripped"],
        )
        sent = place.sent[-1]
        assert (["tool_use"], {"type": "disabled"}) == (
            [block["type"] for block in sent["messages"][1]["content"]],
            sent["thinking"],
        )


def test_what_only_the_lead_can_carry_stays_with_it(place: Place) -> None:
    """A request that uses what no other protocol has fails with its lead; where nobody has it, its field is named."""
    place.providers["anthropic"].set_fault("*", "http_529")
    with pytest.raises(anthropic.ServiceUnavailableError) as down:
        place.client.messages.create(model="chat", max_tokens=9, messages=says("hi"), extra_body={"top_k": 5})
    assert "it cannot carry `top_k`" in str(down.value)
    with (
        served(configured(place.providers, "openai", "openai")) as (url, router),
        pytest.raises(anthropic.BadRequestError) as refused,
    ):
        Place(url, router, place.providers).client.messages.create(
            model="chat", max_tokens=9, messages=says("hi"), extra_body={"top_k": 5}
        )
    assert "`top_k`" in str(refused.value)
    with served(configured(place.providers, "openai", "openai", may_drop=["top_k"])) as (url, router):
        message = Place(url, router, place.providers).client.messages.create(
            model="chat", max_tokens=99, messages=says("hi"), extra_body={"top_k": 5}
        )
    assert "end_turn" == message.stop_reason


# errors of whoever speaks this API, whatever they ask for

STRANGE = [
    ("POST", "/messages", {}, 401, "authentication_error"),
    ("POST", "/messages/count_tokens", {}, 401, "authentication_error"),
    ("GET", "/messages", {"x-api-key": KEY}, 405, "invalid_request_error"),
    ("POST", "/messages/batches", {"x-api-key": KEY}, 404, "not_found_error"),
    ("GET", "/models", {"anthropic-version": "2023-06-01"}, 401, "authentication_error"),
    ("GET", "/nothing", {"anthropic-version": "2023-06-01"}, 404, "not_found_error"),
    ("POST", "/chat/completions", {"anthropic-version": "2023-06-01"}, 401, None),
    ("GET", "/nothing", {}, 404, None),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "kind"), STRANGE)
def test_errors_are_in_the_shape_of_who_asks(
    place: Place, method: str, path: str, headers: dict[str, str], status: int, kind: str | None
) -> None:
    """Below /messages, and for clients that name this API's version elsewhere, errors are this API's."""
    answer = httpx.request(method, f"{place.url}/v1{path}", headers=headers, trust_env=False)
    body = answer.json()
    assert (status, "error" if kind else None) == (answer.status_code, body.get("type"))
    assert kind is None or kind == body["error"]["type"]
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


def test_a_key_never_goes_upstream_and_betas_do() -> None:
    """Of the caller's headers a provider of the same API sees the betas, one of another API none."""

    async def scene() -> None:
        lead, spare = RawProvider(Reply(529)), RawProvider(streamed(OPENAI.pieces(["A"])))
        async with routed((ANTHROPIC, lead), (OPENAI, spare)) as router:
            body = json.dumps({"model": "chat", "max_tokens": 9, "messages": says("hi")}).encode()
            headers = {"x-api-key": KEY, "anthropic-beta": "context-1m", "anthropic-version": "2026-10-21"}
            answered = await router.service.answer(ApiRequest("POST", "/messages", headers, body, ""))
            assert 200 == answered.status
            first, second = lead.calls[0].headers, spare.calls[0].headers
            assert ("context-1m", "2023-06-01") == (first["anthropic-beta"], first["anthropic-version"])
            assert set() == {name for name in second if name.startswith("anthropic")}
            assert KEY not in str([dict(first), dict(second)])

    asyncio.run(scene())


def test_a_tool_of_the_providers_own_comes_through() -> None:
    """Events that only this API has reach the caller as the provider sent them, and count as an answer."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    usage = {"input_tokens": 5, "output_tokens": 1}
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    query = {"type": "input_json_delta", "partial_json": '{"query": "wren"}'}
    paused = {"stop_reason": "pause_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": head | {"stop_reason": None, "stop_sequence": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": search},
        {"type": "content_block_delta", "index": 0, "delta": query},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": paused, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    raw = [f"event: {one['type']}\ndata: {json.dumps(one, separators=(',', ':'))}\n\n".encode() for one in events]

    async def asked(router: Router, stream: bool) -> bytes:
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
        body = {"model": "chat", "max_tokens": 9, "messages": says("hi"), "tools": tools, "stream": stream}
        headers = {"x-api-key": KEY}
        answered = await router.service.answer(ApiRequest("POST", "/messages", headers, json.dumps(body).encode(), ""))
        if isinstance(answered.body, bytes):
            return answered.body
        return b"".join([piece async for piece in answered.body])

    async def scene() -> None:
        async with routed((ANTHROPIC, RawProvider(streamed(raw))), (OPENAI, RawProvider(Reply(500)))) as router:
            assert b"".join(raw) == await asked(router, stream=True)
            whole = json.loads(await asked(router, stream=False))
            assert ("pause_turn", {"query": "wren"}) == (whole["stop_reason"], whole["content"][0]["input"])
            assert [{"target": "spare", "reason": "it cannot carry `tools.0`"}] == router.decision["unfit"]

    asyncio.run(scene())
