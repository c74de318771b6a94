"""A provider that is played inside the process: what it does is what the request's message says.

`short` says "Hello" in two chunks, `think` pauses between them, `trickle` never ends, `bug` meets a fault of our own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.spoken import SSE, OpenAI

THINKING = 0.2
"""Seconds."""
PROVIDERS = [("openai", "https://a.invalid"), ("openai", "https://b.invalid")]
"""For a control document: nothing is ever sent to them."""


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
