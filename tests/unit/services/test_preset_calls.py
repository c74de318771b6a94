"""Each preset, from the line in a document to the call that leaves: address, key, and the names of fields."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import builders
from understudy.catalog import Candidate, Route, SigV4, Target
from understudy.control.document import parse
from understudy.control.load import catalog
from understudy.control.presets import presets
from understudy.errors import AttemptFailed
from understudy.services.fitness import unfit
from understudy.services.upstream import Upstream
from understudy.wire import WIRES

KEY = "not-a-real-key"
VALUES = {"resource": "acme", "region": "eu-central-1", "location": "europe-west4", "project": "acme-1"}
BEARER = ("authorization", f"Bearer {KEY}")
CHAT = "/chat/completions"
CALLS = {
    "openai": (f"https://api.openai.com/v1{CHAT}", BEARER),
    "azure": (f"https://acme.openai.azure.com/openai/v1{CHAT}", ("api-key", KEY)),
    "anthropic": ("https://api.anthropic.com/v1/messages", ("x-api-key", KEY)),
    "gemini": (
        "https://generativelanguage.googleapis.com/v1beta/models/m-1:streamGenerateContent?alt=sse",
        ("x-goog-api-key", KEY),
    ),
    "vertex": (
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-1/locations/europe-west4/endpoints/openapi"
        + CHAT,
        BEARER,
    ),
    "bedrock": ("https://bedrock-runtime.eu-central-1.amazonaws.com/model/m-1/converse-stream", BEARER),
    "mistral": (f"https://api.mistral.ai/v1{CHAT}", BEARER),
    "groq": (f"https://api.groq.com/openai/v1{CHAT}", BEARER),
    "deepseek": (f"https://api.deepseek.com{CHAT}", BEARER),
    "xai": (f"https://api.x.ai/v1{CHAT}", BEARER),
    "together": (f"https://api.together.ai/v1{CHAT}", BEARER),
    "fireworks": (f"https://api.fireworks.ai/inference/v1{CHAT}", BEARER),
    "openrouter": (f"https://openrouter.ai/api/v1{CHAT}", BEARER),
    "cohere": (f"https://api.cohere.ai/compatibility/v1{CHAT}", BEARER),
    "ollama": (f"http://127.0.0.1:11434/v1{CHAT}", BEARER),
    "vllm": (f"http://127.0.0.1:8000/v1{CHAT}", BEARER),
    "llama-cpp": (f"http://127.0.0.1:8080/v1{CHAT}", BEARER),
}


class Refusing:
    """A reply that ends the call; satisfies `understudy.ports.Reply`."""

    status = 500
    headers: Mapping[str, str] = {"content-type": "application/json"}

    async def body(self) -> AsyncIterator[bytes]:
        yield b"{}"


class Recording:
    """Satisfies `understudy.ports.Transport`: keeps what it was given."""

    def __init__(self) -> None:
        self.url = ""
        self.headers: Mapping[str, str] = {}
        self.body: Any = None

    @asynccontextmanager
    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AsyncIterator[Refusing]:
        self.url, self.headers, self.body = url, headers, json.loads(body)
        yield Refusing()


class Vault:
    """One secret behind every reference."""

    async def value(self, reference: str) -> str:
        return KEY

    async def renewed(self, reference: str, refused: str) -> bool:
        return False


def by_preset(name: str, *, keyed: bool = True) -> Target:
    """A target of a provider that is written by preset alone."""
    row = presets()[name]
    written = {
        "preset": name,
        **({"with": {place: VALUES[place] for place in row.placeholders}} if row.placeholders else {}),
        **({"auth": {"secret": f"env:{row.variable}"}} if keyed else {}),
    }
    document = {
        "schema": 1,
        "providers": {"alpha": written},
        "targets": {"lead": {"provider": "alpha", "model": "m-1"}},
        "routes": {"chat": {"targets": ["lead"]}},
    }
    return catalog(parse(json.dumps(document)), 1).targets["lead"]


def called(target: Target, **body: object) -> Recording:
    """What leaves for the target."""
    if target.provider.wire not in WIRES:
        pytest.skip(f"there is no wire {target.provider.wire} here")
    transport = Recording()

    async def ask() -> None:
        request = builders.request(stream=True, **body)
        async for _ in Upstream(transport, Vault(), "understudy/test", lambda: 0.0)(request, target, connect=1):
            pass

    with pytest.raises(AttemptFailed):
        asyncio.run(ask())
    return transport


@pytest.mark.parametrize("name", presets())
def test_each_preset_calls_its_provider(name: str) -> None:
    """The address is that of the provider's documentation, and the key is where the provider looks for it."""
    address, (header, value) = CALLS[name]
    call = called(by_preset(name))
    assert (address, value) == (call.url, call.headers[header])
    assert [header] == [one for one, given in call.headers.items() if KEY in given]


@pytest.mark.parametrize("name", [row.name for row in presets().values() if row.keyless and not row.sigv4])
def test_a_server_without_a_key_is_sent_none(name: str) -> None:
    """Where the key may be left out, nothing stands in its place."""
    assert "authorization" not in called(by_preset(name, keyed=False)).headers


def test_a_signed_preset_is_signed_for_its_region() -> None:
    """Without a key Bedrock is given the service and the region to sign for, and no header of a key."""
    provider = by_preset("bedrock", keyed=False).provider
    assert (SigV4("bedrock", "eu-central-1"), None) == (provider.sigv4, provider.auth)


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("openai", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("mistral", {"max_completion_tokens": 9, "seed": 1}, {"max_tokens": 9, "random_seed": 1}),
        ("cohere", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("groq", {"max_completion_tokens": 9, "seed": 1}, {"max_completion_tokens": 9, "seed": 1}),
    ],
)
def test_fields_go_under_the_names_that_the_server_knows(
    name: str, given: dict[str, int], sent: dict[str, int]
) -> None:
    """A limit or a seed reaches a server under its own word for it, and under no other."""
    body = called(by_preset(name), **given).body
    names = {"max_tokens", "max_completion_tokens", "seed", "random_seed"}
    assert sent == {field: value for field, value in body.items() if field in names}


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": True}}], ids=["not asked", "asked"])
@pytest.mark.parametrize(("name", "options"), [("mistral", None), ("cohere", None), ("groq", {"include_usage": True})])
def test_a_stream_asks_for_usage_where_the_server_takes_that(
    name: str, options: object, asked: dict[str, object]
) -> None:
    """A server that refuses `stream_options` is not sent them, and a caller who wants the usage is not turned away."""
    target = by_preset(name)
    assert options == called(target, **asked).body.get("stream_options")
    assert None is unfit(builders.request(stream=True, **asked), Route("chat", (Candidate(target, 1),)), target)
