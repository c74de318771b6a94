"""The router with targets of the Gemini wire: what callers get, what faults are, and what becomes of signatures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.local.simulators import FAULTS, SimulatedProvider
from tests.one_router import SECRET, Router, Told
from tests.simulated import FILLED, SCHEMA
from understudy.catalog import Auth, Capabilities, Provider, Target
from understudy.chat.request import chat_request
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import (
    AttemptFailed,
    ContextTooLong,
    Credential,
    Garbage,
    Overloaded,
    RateLimited,
    Transient,
)
from understudy.services.upstream import Upstream
from understudy.transport.http import HttpTransport
from understudy.transport.secrets import ReferencedSecrets
from understudy.wire.gemini_contents import UNSIGNED

SAYS = "[simulated gemini provider, model m] "
USER = {"role": "user", "content": "use forecast please"}
AUTH = {"gemini": ("x-goog-api-key", ""), "openai": ("Authorization", "Bearer"), "anthropic": ("x-api-key", "")}
TOOLS = [{"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}}]


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider("gemini", token_delay=0, api_key=SECRET)
    provider.first_token_delay = provider.drip_delay = 0.01
    provider.start()
    yield provider
    provider.stop()


def document(*targets: SimulatedProvider, **capabilities: Any) -> str:
    names = ["lead", "spare"][: len(targets)]
    providers = {
        name: {
            "wire": one.wire.name,
            "base_url": one.base_url,
            "simulated": True,
            "auth": dict(zip(("header", "scheme"), AUTH[one.wire.name], strict=True)) | {"secret": "env:KEY"},
        }
        for name, one in zip(names, targets, strict=True)
    }
    made = {name: {"provider": name, "model": "m", "capabilities": capabilities} for name in names}
    limits = {"limits": {"backoff_s": 0.01, "first_token_s": 2}}
    return json.dumps(
        {
            "schema": 1,
            "defaults": limits,
            "providers": providers,
            "targets": made,
            "routes": {"chat": {"targets": names}},
        }
    )


def asking(
    provider: SimulatedProvider, *bodies: dict[str, Any], stream: bool = False, **capabilities: Any
) -> list[Told]:
    """What a router with one target answers to the requests, one after the other."""

    async def told() -> list[Told]:
        router = Router(document(provider, **capabilities))
        try:
            return [await router.ask(stream=stream, **body) for body in bodies]
        finally:
            await router.transport.close()

    return asyncio.run(told())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("streaming", [False, True], ids=["asked whole", "asked to stream"])
def test_a_caller_gets_the_answer(provider: SimulatedProvider, stream: bool, streaming: bool) -> None:
    """Text, stop reason, counts and model arrive, however the caller and the target are asked."""
    messages = [{"role": "user", "content": "count to 3"}]
    options = {"stream_options": {"include_usage": True}} if stream else {}
    told = asking(provider, {"messages": messages, **options}, stream=stream, streaming=streaming)[0]
    assert told.whole(SAYS + "You said: count to 3 1 2 3")
    assert ("m", 16) == (told.model, told.usage and told.usage["total_tokens"])


def test_several_answers_with_thinking_and_probabilities(provider: SimulatedProvider) -> None:
    """Each choice has its own text, thinking apart from it, and log probabilities in OpenAI's shape."""
    body = {"messages": [{"role": "user", "content": "hi"}], "n": 2, "logprobs": True, "top_logprobs": 2}
    told = asking(provider, {**body, "reasoning_effort": "low"}, reasoning_control="effort")[0]
    choices = json.loads(told.raw)["choices"]
    assert [SAYS + "You said: hi"] * 2 == [one["message"]["content"] for one in choices]
    assert [True, True] == ["simulated" in one["message"]["reasoning_content"] for one in choices]
    for one in choices:
        entries = one["logprobs"]["content"]
        assert one["message"]["content"] == "".join(entry["token"] for entry in entries)
        assert {2} == {len(entry["top_logprobs"]) for entry in entries}
    usage = json.loads(told.raw)["usage"]
    assert usage["completion_tokens"] > usage["completion_tokens_details"]["reasoning_tokens"] > 0


def test_structured_output(provider: SimulatedProvider) -> None:
    """The schema reaches the model word for word."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    told = asking(provider, {"messages": [USER], "response_format": wanted})[0]
    assert FILLED == json.loads(told.text)


def call_of(told: Told) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(told.raw)["choices"][0]["message"]
    return message


def sent_signature(provider: SimulatedProvider) -> str | None:
    """What the first function call of the last request was signed with."""
    found = [part for one in provider.requests[-1].body["contents"] for part in one["parts"] if "functionCall" in part]
    signature: str | None = found[0].get("thoughtSignature")
    return signature


@pytest.mark.parametrize("keeps", [True, False], ids=["echoed", "stripped"])
def test_a_signature_comes_back_to_its_target(provider: SimulatedProvider, keeps: bool) -> None:
    """A caller who echoes the call sends its signature along; one who strips it has it put back."""

    async def turns() -> tuple[Told, Told]:
        router = Router(document(provider))
        try:
            first = await router.ask(stream=False, messages=[USER], tools=TOOLS)
            message = call_of(first)
            call = message["tool_calls"][0]
            if not keeps:
                del call["extra_content"]
            result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
            return first, await router.ask(stream=False, messages=[USER, message, result], tools=TOOLS)
        finally:
            await router.transport.close()

    first, second = asyncio.run(turns())
    call = call_of(first)["tool_calls"][0]
    assert ("tool_calls", FILLED) == (first.finish, json.loads(call["function"]["arguments"]))
    assert "us1." == call["extra_content"]["google"]["thought_signature"][:4]
    assert call["extra_content"]["google"]["thought_signature"].endswith(f".{sent_signature(provider)}")
    assert second.whole(SAYS + "The tool answered: sunny")


def test_a_history_from_elsewhere_is_gone_on_with(provider: SimulatedProvider) -> None:
    """A call that another provider made has no signature, and the API is told so in its own way."""
    call = {"id": "toolu_01", "type": "function", "function": {"name": "forecast", "arguments": ""}}
    history = [USER, {"role": "assistant", "content": None, "tool_calls": [call]}]
    history.append({"role": "tool", "tool_call_id": "toolu_01", "content": "sunny"})
    assert asking(provider, {"messages": history, "tools": TOOLS})[0].whole(SAYS + "The tool answered: sunny")
    assert UNSIGNED == sent_signature(provider)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_what_was_signed_is_nothing_to_another_provider(provider: SimulatedProvider, wire: Any) -> None:
    """A conversation of signed texts and calls goes on elsewhere; no signature goes along, and the caller is told."""
    spare = SimulatedProvider(wire, token_delay=0, api_key=SECRET)
    spare.start()

    async def turns() -> Told:
        router = Router(document(provider, spare))
        try:
            said = call_of(await router.ask(stream=False, messages=[{"role": "user", "content": "hi"}]))
            called = call_of(await router.ask(stream=False, messages=[USER], tools=TOOLS))
            result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "sunny"}
            assert "extra_content" in said and "extra_content" in called["tool_calls"][0]
            provider.set_fault("*", "http_401")
            hello = {"role": "user", "content": "hi"}
            return await router.ask(stream=False, messages=[hello, said, USER, called, result], tools=TOOLS)
        finally:
            await router.transport.close()

    try:
        told = asyncio.run(turns())
    finally:
        spare.stop()
    assert told.whole(f"[simulated {wire} provider, model m] The tool answered: sunny")
    assert ("spare", "content bound to another target") == (told.target, told.headers["x-understudy-stripped"])
    body = json.dumps(spare.requests[-1].body)
    assert ("us1." in body, "extra_content" in body) == (False, False)


def test_a_failing_target_is_gone_on_with_in_mid_answer(provider: SimulatedProvider) -> None:
    """The understudy continues the text that the lead broke off, as a turn of the model's."""
    lead = SimulatedProvider("gemini", token_delay=0, api_key=SECRET)
    lead.start()
    lead.set_fault("*", "end_midstream")

    async def told() -> Told:
        router = Router(document(lead, provider, prefill="message"))
        try:
            return await router.ask(stream=True, messages=[{"role": "user", "content": "recite to 9"}])
        finally:
            await router.transport.close()

    try:
        assert asyncio.run(told()).whole("[simulated] 1 2 3 4 5 6 7 8 9")
    finally:
        lead.stop()
    assert "model" == provider.requests[-1].body["contents"][-1]["role"]


def target(provider: SimulatedProvider, **capabilities: Any) -> Target:
    auth = Auth("x-goog-api-key", "", "env:KEY")
    return Target("lead", Provider("lead", "gemini", provider.base_url, auth), "m", "", Capabilities(**capabilities))


def asked(provider: SimulatedProvider, request: Any, **capabilities: Any) -> list[Chunk]:
    """The chunks of one call, as the engine gets them."""

    async def chunks() -> list[Chunk]:
        transport = HttpTransport()
        secrets = ReferencedSecrets({"KEY": SECRET}, lambda service: None, time.time)
        upstream = Upstream(transport, secrets, "test", time.time)
        try:
            async with asyncio.timeout(2):
                return [chunk async for chunk in upstream(request, target(provider, **capabilities), connect=1)]
        finally:
            await transport.close()

    return asyncio.run(chunks())


REQUEST = chat_request({"model": "chat", "messages": [{"role": "user", "content": "count to 8"}]})
FINE = "[simulated gemini provider, model m] You said: count to 8 1 2 3 4 5 6 7 8"
SWAPPED = FINE.replace("[simulated", "Simulated: [", 1)
SILENT = {"hang", "stall_midstream"}
# What each fault is where the target streams, and where it answers whole: a failure, or the text that comes.
OUTCOMES: dict[str, tuple[type[AttemptFailed] | str, type[AttemptFailed] | str]] = {
    "http_500": (Transient, Transient),
    "http_503": (Overloaded, Overloaded),
    "http_529": (Overloaded, Overloaded),
    "http_429": (RateLimited, RateLimited),
    "http_429_bare": (Overloaded, Overloaded),
    "retry_after": (RateLimited, RateLimited),
    "quota": (Credential, Credential),
    "brownout": (Transient, Transient),
    "http_401": (Credential, Credential),
    "context_length": (ContextTooLong, ContextTooLong),
    "model_not_found": (Credential, Credential),
    "reset": (Transient, Transient),
    "garbage": (Garbage, Garbage),
    "malformed_json": (Garbage, Garbage),
    "wrong_content_type": (Garbage, Garbage),
    "cut_midstream": (Transient, Transient),
    "end_midstream": (Garbage, Garbage),
    "error_midstream": (Overloaded, Overloaded),
    "slow_drip": (FINE, FINE),
    "slow_first_token": (FINE, FINE),
    "error_first_event": (Overloaded, Overloaded),
    "empty_answer": ("", Garbage),
    "truncated_json": (Garbage, Garbage),
    "missing_done": (FINE, FINE),
    "malformed_event": (FINE, FINE),
    "refuse_prefill": (FINE, FINE),
    "refuse_content": ("", ""),
    "worse": (FINE, FINE),
    "dearer": (FINE, FINE),
    "swapped": (SWAPPED, SWAPPED),
}


def outcome(read: Callable[[], list[Chunk]]) -> type[AttemptFailed] | str:
    try:
        return "".join(chunk.text for chunk in read())
    except AttemptFailed as failure:
        return type(failure)


def test_every_fault_has_its_outcome() -> None:
    """The table below names every fault that a simulated provider can be broken with."""
    assert set(FAULTS) == SILENT | set(OUTCOMES)


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_is_what_the_engine_takes_it_for(provider: SimulatedProvider, fault: str, streaming: bool) -> None:
    """Each way to break the provider is the failure that the table of failures wants, or no failure at all."""
    provider.set_fault("*", fault)
    expected = OUTCOMES[fault][0 if streaming else 1]
    assert expected == outcome(lambda: asked(provider, REQUEST, streaming=streaming))


def test_a_hint_in_the_body_is_a_wait(provider: SimulatedProvider) -> None:
    """The provider says how long to wait in its error's details."""
    provider.set_fault("*", "retry_after")
    with pytest.raises(RateLimited) as caught:
        asked(provider, REQUEST)
    assert 2.0 == caught.value.retry_after


def test_a_refusal_is_a_stop_reason(provider: SimulatedProvider) -> None:
    """A blocked prompt without candidates is an answer that the content filter ended."""
    provider.set_fault("*", "refuse_content")
    reasons = [chunk.finish_reasons for chunk in asked(provider, REQUEST) if chunk.finish_reasons]
    assert [{0: "content_filter"}] == reasons


def test_embeddings(provider: SimulatedProvider) -> None:
    """Vectors of the wanted size for every text, with their counts; a broken provider is a failure here too."""
    request = UnaryRequest("embeddings", "chat", {"model": "chat", "input": ["one text", "two"], "dimensions": 4})
    payload = asked(provider, request)[0].payload
    assert [4, 4] == [len(one["embedding"]) for one in payload["data"]]
    assert ("m", 3) == (payload["model"], payload["usage"]["prompt_tokens"])
    provider.set_fault("*", "http_503")
    assert Overloaded is outcome(lambda: asked(provider, request))
