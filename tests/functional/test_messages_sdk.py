"""Anthropic's own SDK over loopback: whoever answers, and however, it reads what it expects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from infra.local.simulators import SimulatedProvider
from tests.messages_clients import Place, configured, says, simulated
from tests.one_router import KEY
from tests.served_router import served

TOOLS: list[Any] = [
    {
        "name": name,
        "description": f"It tells the {name}.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    for name in ("forecast", "population")
]
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
THINK: Any = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, SimulatedProvider]]:
    with simulated() as found:
        yield found


ROUTES = {"native": ("anthropic", "anthropic"), "translated": ("openai", "openai")}


@pytest.fixture(scope="module", params=ROUTES)
def place(request: pytest.FixtureRequest, providers: dict[str, SimulatedProvider]) -> Iterator[Place]:
    """A router whose targets speak the caller's protocol, and one whose targets do not."""
    with served(configured(providers, *ROUTES[request.param])) as (url, router):
        yield Place(url, router, providers)


@pytest.fixture
def broken(providers: dict[str, SimulatedProvider]) -> Iterator[dict[str, SimulatedProvider]]:
    """The providers, healed afterwards."""
    yield providers
    for one in providers.values():
        one.set_fault("*", None)


def test_a_message(place: Place) -> None:
    """A whole message with who answered, why it ended and what it used; `auth_token` serves as well as a key."""
    for client in (place.client, Anthropic(base_url=place.url, auth_token=KEY, api_key=None, max_retries=0)):
        message = client.messages.create(model="chat", max_tokens=100, system="Be brief.", messages=says("count to 3"))
        (block,) = message.content
        assert block.type == "text" and block.text.endswith("You said: count to 3 1 2 3")
        assert ("message", "assistant", "model-lead", "end_turn", None) == (
            message.type,
            message.role,
            message.model,
            message.stop_reason,
            message.stop_sequence,
        )
        assert (True, True) == (message.id.startswith("msg_"), message.usage.input_tokens > 0)
        assert message.usage.output_tokens > 0


def test_x_api_key_and_both_versions(place: Place) -> None:
    """Older clients send the key in a header of its own and the older version."""
    for version in ("2023-06-01", "2026-10-21"):
        answer = httpx.post(
            f"{place.url}/v1/messages?beta=true",
            json={"model": "chat", "max_tokens": 9, "messages": says("hi")},
            headers={"x-api-key": KEY, "anthropic-version": version},
            trust_env=False,
        )
        assert (200, "message") == (answer.status_code, answer.json()["type"])


def test_a_stream(place: Place) -> None:
    """The SDK's helpers see the text grow, and the message that the events make is the one that is not streamed."""
    asked: Any = {"model": "chat", "max_tokens": 100, "messages": says("count to 5")}
    with place.client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    whole = place.client.messages.create(**asked)
    assert len(pieces) > 3
    assert "".join(pieces) == final.content[0].text == whole.content[0].text  # type: ignore[union-attr]
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == (
        whole.stop_reason,
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )


def test_the_raw_events(place: Place) -> None:
    """One start, blocks that open and close in order, one delta with the reason, one end."""
    events = list(place.client.messages.create(model="chat", max_tokens=100, messages=says("hi"), stream=True))
    kinds = [event.type for event in events]
    assert ["message_start", "content_block_start"] == kinds[:2]
    assert ["content_block_stop", "message_delta", "message_stop"] == kinds[-3:]
    assert {"content_block_delta"} == set(kinds[2:-3])


def test_tools_there_and_back(place: Place) -> None:
    """Two calls at once, streamed and not, and the results that go back, one of them failed, one a picture."""
    asked: Any = {"model": "chat", "max_tokens": 500, "tools": TOOLS, "messages": says("forecast and population")}
    with place.client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    message = place.client.messages.create(**asked)
    for one in (streamed, message):
        uses = [block for block in one.content if block.type == "tool_use"]
        assert ("tool_use", ["forecast", "population"]) == (one.stop_reason, [use.name for use in uses])
        assert [{"city": "simulated city"}] * 2 == [use.input for use in uses]
    uses = [block for block in message.content if block.type == "tool_use"]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": uses[0].id, "content": "sunny", "is_error": True},
        {"type": "tool_result", "tool_use_id": uses[1].id, "content": [{"type": "image", "source": PIXEL}]},
    ]
    history = [
        *asked["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    ]
    answer = place.client.messages.create(**{**asked, "messages": history})
    assert "end_turn" == answer.stop_reason


def test_thinking_and_its_signature(place: Place) -> None:
    """Thinking is asked of whoever can; what came with a signature goes back, and is recognised by its maker."""
    asked: Any = {"model": "chat", "max_tokens": 2000, "thinking": THINK, "messages": says("count to 2")}
    for secret in ("", ", think in secret"):
        asked["messages"] = says(f"use forecast{secret}")
        with place.client.messages.stream(**asked, tools=TOOLS) as stream:
            message = stream.get_final_message()
        whole = place.client.messages.create(**asked, tools=TOOLS)
        assert [block.type for block in message.content] == [block.type for block in whole.content]
        use = message.content[-1]
        assert use.type == "tool_use"
        results: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}
        history = [*asked["messages"], {"role": "assistant", "content": message.content}, results]
        answer = place.client.messages.create(**{**asked, "messages": history}, tools=TOOLS)
        assert "end_turn" == answer.stop_reason


def test_pictures_and_documents(place: Place) -> None:
    """Both reach the provider, whatever it speaks."""
    content: list[Any] = [
        {"type": "image", "source": PIXEL},
        {"type": "document", "source": PDF, "title": "a.pdf"},
        {"type": "text", "text": "what is this?"},
    ]
    message = place.client.messages.create(model="chat", max_tokens=99, messages=[{"role": "user", "content": content}])
    assert "(with 1 image)" in message.content[0].text  # type: ignore[union-attr]


def test_a_constrained_answer(place: Place) -> None:
    """An answer by a schema is JSON, whoever gives it."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    message = place.client.messages.create(model="chat", max_tokens=99, messages=says("where?"), output_config=config)
    assert {"city": "simulated city"} == json.loads(message.content[0].text)  # type: ignore[union-attr]


def test_tokens_are_counted(place: Place) -> None:
    """By the provider where one can; else by estimate, which says so, and nobody is asked."""
    before = sum(len(one.requests) for one in place.providers.values())
    raw = place.client.messages.with_raw_response.count_tokens(model="chat", system="a b", messages=says("c d e"))
    calls = sum(len(one.requests) for one in place.providers.values()) - before
    native = place.router.decision["target"] == "lead"
    assert ((5, None, 1) if native else (2, "true", 0)) == (
        raw.parse().input_tokens,
        raw.headers.get("x-understudy-estimated"),
        calls,
    )


def test_a_count_that_fails_is_an_estimate(place: Place, broken: dict[str, SimulatedProvider]) -> None:
    """A provider in trouble is no reason not to say how long a prompt is."""
    for one in broken.values():
        one.set_fault("*", "http_529")
    raw = place.client.messages.with_raw_response.count_tokens(model="chat", messages=says("c d e f"))
    assert (2, "true") == (raw.parse().input_tokens, raw.headers.get("x-understudy-estimated"))


def test_models(place: Place) -> None:
    """Routes are what there is to choose from."""
    assert ["chat"] == [model.id for model in place.client.models.list()]
    assert "chat" == place.client.models.retrieve("chat").display_name


def test_errors_are_the_sdks_own(place: Place, broken: dict[str, SimulatedProvider]) -> None:
    """Each status raises its class, with this API's word, the message, and the request's id."""
    client = place.client
    ask: Any = {"model": "chat", "max_tokens": 9, "messages": says("hi")}
    found: list[tuple[str, Any, Any]] = []
    said: list[str] = []

    def fails(kind: type[anthropic.APIStatusError], call: Any) -> None:
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        assert (True, True) == (bool(error.request_id), bool(error.api_message))
        found.append((type(error).__name__, error.status_code, error.type))
        said.append(str(error.api_message))

    stranger = Anthropic(base_url=place.url, api_key="us-other", max_retries=0)
    fails(anthropic.AuthenticationError, lambda: stranger.messages.create(**ask))
    fails(anthropic.AuthenticationError, lambda: stranger.models.list())
    fails(anthropic.NotFoundError, lambda: client.messages.create(**{**ask, "model": "nobody"}))
    fails(anthropic.NotFoundError, lambda: client.models.retrieve("nobody"))
    fails(anthropic.NotFoundError, lambda: client.post("/v1/complete", cast_to=object, body={}))
    fails(anthropic.APIStatusError, lambda: client.get("/v1/messages", cast_to=object))
    fails(anthropic.BadRequestError, lambda: client.messages.create(**{**ask, "messages": []}))
    fails(anthropic.ContentTooLargeError, lambda: client.messages.create(**{**ask, "system": "x" * (6 * 2**20)}))
    for one in broken.values():
        one.set_fault("*", "http_529")
    fails(anthropic.ServiceUnavailableError, lambda: client.messages.create(**ask))
    for one in broken.values():
        one.set_fault("*", "http_429")
    fails(anthropic.RateLimitError, lambda: client.messages.create(**ask))
    for one in broken.values():
        one.set_fault("*", "context_length")
    fails(anthropic.BadRequestError, lambda: client.messages.create(**ask))
    assert [
        ("AuthenticationError", 401, "authentication_error"),
        ("AuthenticationError", 401, "authentication_error"),
        ("NotFoundError", 404, "not_found_error"),
        ("NotFoundError", 404, "not_found_error"),
        ("NotFoundError", 404, "not_found_error"),
        ("APIStatusError", 405, "invalid_request_error"),
        ("BadRequestError", 400, "invalid_request_error"),
        ("ContentTooLargeError", 413, "request_too_large"),
        ("ServiceUnavailableError", 503, "overloaded_error"),
        ("RateLimitError", 429, "rate_limit_error"),
        ("BadRequestError", 400, "invalid_request_error"),
    ] == found
    assert said[-1].startswith("prompt is too long")
