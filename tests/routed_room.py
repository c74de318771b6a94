"""The real data plane over a table in memory, for a runtime in a process of its own: no AWS, no provider, no network.

What the provider does is what the request's message says: `short`, `trickle`, `think` or `bug`.  Importing this changes
how the data plane is put together, so no test process does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from route_request.handler import handler as routed
from tests.one_router import Router, document
from tests.spoken import SSE, OpenAI
from understudy import bootstrap
from understudy.runtime import gateway
from understudy.services.route_request import RouteRequest
from understudy.settings import Settings

THINKING = 0.2
"""Seconds; pings come in a quarter of it."""
built: list[RouteRequest] = []


class Spoken:
    """Satisfies `understudy.ports.Reply`."""

    status = 200
    headers: Mapping[str, str] = SSE

    def __init__(self, play: str) -> None:
        self._play = play

    async def body(self) -> AsyncIterator[bytes]:
        hello, role, *texts, stop, _, done = OpenAI().pieces(["Hel", "lo"])
        yield hello + role
        if self._play == "trickle":
            while True:
                yield texts[0]
                await asyncio.sleep(0.02)
        yield texts[0]
        if self._play == "think":
            await asyncio.sleep(THINKING)
        if self._play == "bug":
            raise RuntimeError("a bug in our own parser")
        yield texts[1] + stop + done


class Playing:
    """Satisfies `understudy.ports.Transport`."""

    @asynccontextmanager
    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float) -> AsyncIterator[Spoken]:
        yield Spoken(json.loads(body)["messages"][-1]["content"])


def build(settings: Settings) -> RouteRequest:
    made = Router(document([("openai", "https://a.invalid"), ("openai", "https://b.invalid")]), transport=Playing())
    built.append(made.service)
    return made.service


bootstrap.route_request = build  # the composition root: the only place where adapters are named
gateway.PING_AFTER = THINKING / 4


def handler(event: Any, context: Any) -> Any:
    if event.get("inside"):
        loops = sum(thread.name == "understudy-loop" for thread in threading.enumerate())
        return {"built": len(built), "loops": loops, "boto3": "boto3" in sys.modules}
    return routed(event, context)
