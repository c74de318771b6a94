"""A rotated provider key is used without a redeploy, and without a caller or a breaker noticing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests import builders
from understudy.catalog import Auth, Target
from understudy.errors import Credential
from understudy.services.upstream import Upstream

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "big",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
}


class Answering:
    """A reply; satisfies `understudy.ports.Reply`."""

    def __init__(self, status: int, content: dict[str, object]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json"}
        self._content = json.dumps(content).encode()

    async def body(self) -> AsyncIterator[bytes]:
        yield self._content


class Provider:
    """Takes one key and refuses every other; `seen` are the keys it was shown."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.seen: list[str] = []

    @asynccontextmanager
    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AsyncIterator[Answering]:
        key = headers["authorization"].removeprefix("Bearer ")
        self.seen.append(key)
        refusal: dict[str, object] = {"error": {"message": "bad key", "type": "invalid_request_error"}}
        yield Answering(200, dict(ANSWER)) if key == self.key else Answering(401, refusal)


class Vault:
    """Keeps `cached` until a renewal finds what is `kept`."""

    def __init__(self, cached: str, kept: str) -> None:
        self.cached = cached
        self.kept = kept
        self.refused: list[str] = []

    async def value(self, reference: str) -> str:
        return self.cached

    async def renewed(self, reference: str, refused: str) -> bool:
        self.refused.append(refused)
        self.cached = self.kept
        return self.cached != refused


def guarded() -> Target:
    made = builders.target("lead")
    return replace(made, provider=replace(made.provider, auth=Auth("Authorization", "Bearer", "ssm:/p")))


async def asked(provider: Provider, vault: Vault) -> str:
    ask = Upstream(provider, vault, "understudy/test", lambda: 0.0)
    return builders.text_of([chunk async for chunk in ask(builders.request(), guarded(), connect=1)])


def test_a_call_whose_key_was_rotated_is_sent_again_with_the_new_one() -> None:
    """The provider refuses the old key, the new one is read, and the caller gets the answer."""
    provider, vault = Provider("new"), Vault("old", "new")
    assert "hello" == asyncio.run(asked(provider, vault))
    assert (["old", "new"], ["old"]) == (provider.seen, vault.refused)


def test_a_key_that_was_not_rotated_is_tried_once() -> None:
    """A refusal that no new key explains is the failure it always was."""
    provider, vault = Provider("another"), Vault("old", "old")
    with pytest.raises(Credential):
        asyncio.run(asked(provider, vault))
    assert ["old"] == provider.seen


def test_a_new_key_that_is_refused_too_is_the_end() -> None:
    """A wrong rotation costs two calls and no more."""
    provider, vault = Provider("another"), Vault("old", "new")
    with pytest.raises(Credential):
        asyncio.run(asked(provider, vault))
    assert (["old", "new"], ["old"]) == (provider.seen, vault.refused)
