"""A router behind the local HTTP front, as a client meets it: real sockets on both sides, a table in memory."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import openai

from infra.local.front import Front
from infra.local.template import wiring
from tests.one_router import KEY, Router, document
from tests.raw_provider import RawProvider, Script
from tests.spoken import JSON, OPENAI, Reply, Speaker
from understudy.runtime.gateway import Answer, api_request, filler
from understudy.runtime.loop import LoopThread

_wiring = cache(wiring)
Party = tuple[Speaker, Sequence[Script]]


@dataclass(slots=True)
class Fronted:
    """The front's `url` ends in /v1; `lead` and `spare` keep what they were asked."""

    url: str
    router: Router
    lead: RawProvider
    spare: RawProvider
    http: httpx.Client

    @property
    def calls(self) -> tuple[int, int]:
        return len(self.lead.calls), len(self.spare.calls)

    def send(self, method: str, path: str, content: Any = None, *, key: str = KEY, **headers: str) -> httpx.Response:
        """A request with the key; a body that is no bytes and no iterator is sent as JSON."""
        if isinstance(content, dict):
            content = json.dumps(content).encode()
        named = {"authorization": f"Bearer {key}"} if key else {}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + path, content=content, headers=named)

    def post(self, content: Any, path: str = "/chat/completions", **headers: str) -> httpx.Response:
        return self.send("POST", path, content, **headers)

    def client(self, **options: Any) -> openai.OpenAI:
        """OpenAI's own client, which does not retry unless it is told to."""
        return openai.OpenAI(api_key=KEY, base_url=self.url, **{"max_retries": 0, **options})

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes have been sent."""
        host, port = self.url.removeprefix("http://").removesuffix("/v1").rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=5)
        connection.sendall(data)
        return connection


@contextmanager
def fronted(
    lead: Party | None = None, spare: Party | None = None, documented: str | None = None, **fields: Any
) -> Iterator[Fronted]:
    """`fields` are those of `one_router.document`; by default both providers say "hello"."""
    loop = LoopThread()
    parties = [lead or (OPENAI, [said()]), spare or (OPENAI, [said()])]
    providers = [RawProvider(*replies) for _, replies in parties]
    for provider in providers:
        loop.run(provider.__aenter__())
    addresses = [(speaker.wire, provider.url) for (speaker, _), provider in zip(parties, providers, strict=True)]
    router = Router(documented or document(addresses, **fields))
    template = _wiring()

    def handler(event: Any, caller: Any) -> Answer:
        answered = loop.run(router.service.answer(api_request(event)), caller.on_start)
        if isinstance(answered.body, bytes):
            return Answer(answered.status, answered.headers, answered.body)
        chunks, close = loop.iterate(answered.body, *filler(answered.headers))
        return Answer(answered.status, answered.headers, chunks=chunks, close=close)

    front = Front(("127.0.0.1", 0), handler, template.api, template.gateway_responses, lambda *_: (404, {}))
    front.start()
    try:
        with httpx.Client(timeout=10, verify=False) as http:  # noqa: S501 - loading certificates takes longer than a test
            yield Fronted(f"{front.url}/v1", router, *providers, http)
    finally:
        front.shutdown()
        front.server_close()
        for provider in providers:
            loop.run(provider.__aexit__())
        loop.run(router.transport.close())
        loop.stop()


def said(text: str = "hello") -> Script:
    """A provider that streams where it is asked to, and answers whole where not."""

    def reply(body: dict[str, Any]) -> Reply:
        if body.get("stream"):
            pieces = OPENAI.pieces([text])
            return Reply(headers={"content-type": "text/event-stream"}, pieces=[(0.0, piece) for piece in pieces])
        return Reply(headers=JSON, pieces=[(0.0, OPENAI.whole(text))])

    return reply
