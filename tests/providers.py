"""Scripted providers, as `routing.attempts.Ask` sees them: what they say, how fast, and how they break.

A fault is a function of the provider and the call; a provider has a timetable of faults, and may be told to stumble
over its next calls.  Every call is kept: when, by whom, for which request, and how it ended for the provider.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tests.builders import piece
from understudy.catalog import Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, make_chunk
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed, Garbage, Transient
from understudy.wire.failures import classify, reported

TEXT = "".join(f"{n} is {'even' if n % 2 == 0 else 'odd'}, größer als {n - 1} 🙂; " for n in range(1, 21))
"""What every provider says unless told otherwise; no two places of it are alike, so that a wrong splice shows."""
PROBE = "probe"
"""Who asks when the control plane does."""
ERROR_AFTER = 0.05
"""Seconds until an error answer is there."""
SLOW = 20.0
BROWNOUT = 0.3

Answer = AsyncGenerator[Chunk, None]


@dataclass(slots=True)
class Call:
    """One call that a provider saw.  Times are virtual seconds; `by` is an environment's name or PROBE, `request` the
    number of the caller's request.  `outcome` is "ok" once the whole answer was said, else the failure's kind, "empty"
    or "given up" where the router closed the call."""

    target: str
    by: str
    request: str
    stream: bool
    began_at: float
    ended_at: float = math.inf
    outcome: str = "under way"

    @property
    def failed(self) -> bool:
        return self.outcome != "ok"


class Provider:
    """One target's provider: says `text` in `pieces`, the first after `first_token` seconds, one every `gap`."""

    def __init__(
        self, text: str = TEXT, *, first_token: float = 0.2, gap: float = 0.02, pieces: int = 20, seed: int = 1
    ) -> None:
        self.text = text
        self.first_token = first_token
        self.gap = gap
        self.pieces = pieces
        self.rng = random.Random(seed)
        self.calls: list[Call] = []
        self._timetable: list[tuple[float, float, Fault]] = []
        self._stumbles: list[Fault] = []

    def breaks(self, fault: str, start: float = 0.0, end: float = math.inf) -> Provider:
        """Calls that begin from `start` to `end` meet the fault."""
        self._timetable.append((start, end, FAULTS[fault]))
        return self

    def stumbles(self, *faults: str) -> Provider:
        """The next calls meet these faults, one each, before the timetable is looked at."""
        self._stumbles += [FAULTS[fault] for fault in faults]
        return self

    async def answer(self, call: Call) -> Answer:
        """One call, kept in `calls`."""
        self.calls.append(call)
        spoke = False
        try:
            async with aclosing(self._fault(call.began_at)(self, call)) as chunks:
                async for chunk in chunks:
                    spoke = spoke or bool(chunk.text)
                    if chunk.finish_reasons:
                        call.outcome = "ok" if spoke else "empty"
                    yield chunk
        except AttemptFailed as failure:
            call.outcome = failure.kind
            raise
        finally:
            call.ended_at = asyncio.get_running_loop().time()
            if call.outcome == "under way":
                call.outcome = "given up"

    async def say(self, parts: list[str], *, finish: bool = True) -> Answer:
        """Chunks as wires give them: the role, the text in parts, the stop reason, the counts."""
        yield piece()
        for place, part in enumerate(parts):
            if place:
                await asyncio.sleep(self.gap)
            yield piece(part)
        if finish:
            yield piece("", finish="stop")
            yield make_chunk(id="c1", model="big-1", created=1, usage=Usage(9, len(parts)))

    @property
    def parts(self) -> list[str]:
        size = math.ceil(len(self.text) / self.pieces)
        return [self.text[start : start + size] for start in range(0, len(self.text), size)]

    def _fault(self, now: float) -> Fault:
        if self._stumbles:
            return self._stumbles.pop(0)
        return next((fault for start, end, fault in self._timetable if start <= now < end), healthy)


class Providers:
    """The provider of each target."""

    def __init__(self, by_target: Mapping[str, Provider]) -> None:
        self.by_target = by_target

    def __getitem__(self, target: str) -> Provider:
        return self.by_target[target]

    def asked_by(self, name: str) -> Callable[..., Answer]:
        """An `Ask` whose calls are kept under this name."""

        def ask(request: ChatRequest, target: Target, *, connect: float, **more: object) -> Answer:
            began = asyncio.get_running_loop().time()
            call = Call(target.name, name, str(request.body.get("user", "")), request.stream, began)
            return self.by_target[target.name].answer(call)

        return ask

    def calls(self) -> list[Call]:
        """Every call on every target, in order."""
        every = [call for provider in self.by_target.values() for call in provider.calls]
        return sorted(every, key=lambda call: call.began_at)


Fault = Callable[[Provider, Call], Answer]


async def healthy(provider: Provider, call: Call) -> Answer:
    await asyncio.sleep(provider.first_token)
    async with aclosing(provider.say(provider.parts)) as chunks:
        async for chunk in chunks:
            yield chunk


async def hang(provider: Provider, call: Call) -> Answer:
    await asyncio.Event().wait()
    yield piece()


async def slow_first_token(provider: Provider, call: Call) -> Answer:
    await asyncio.sleep(SLOW)
    async with aclosing(provider.say(provider.parts)) as chunks:
        async for chunk in chunks:
            yield chunk


async def empty_content(provider: Provider, call: Call) -> Answer:
    """A whole body without content is refused where it is read; in a stream there is a stop reason and no content."""
    await asyncio.sleep(ERROR_AFTER)
    if not call.stream:
        raise Garbage("the answer is empty", status=200)
    async with aclosing(provider.say([])) as chunks:
        async for chunk in chunks:
            yield chunk


async def brownout(provider: Provider, call: Call) -> Answer:
    chosen = FAULTS["http_500"] if provider.rng.random() < BROWNOUT else healthy
    async with aclosing(chosen(provider, call)) as chunks:
        async for chunk in chunks:
            yield chunk


async def dies_midway(provider: Provider, call: Call) -> Answer:
    async for chunk in _first_half(provider):
        yield chunk
    raise Transient("the connection broke (RemoteProtocolError)")


async def stalls_midway(provider: Provider, call: Call) -> Answer:
    async for chunk in _first_half(provider):
        yield chunk
    await asyncio.Event().wait()


async def _first_half(provider: Provider) -> Answer:
    await asyncio.sleep(provider.first_token)
    parts = provider.parts
    async with aclosing(provider.say(parts[: len(parts) // 2], finish=False)) as chunks:
        async for chunk in chunks:
            yield chunk


def raising(failure: Callable[[], AttemptFailed], after: float = ERROR_AFTER) -> Fault:
    """The fault of a call that fails before it says anything."""

    async def fault(provider: Provider, call: Call) -> Answer:
        await asyncio.sleep(after)
        raise failure()
        yield piece()

    return fault


def refusing(status: int, kind: str, **headers: str) -> Fault:
    """An HTTP error, read by the router's own failure table."""
    body: dict[str, Any] = {"error": {"message": "[simulated] no answer", "type": kind}}
    hints = {name.replace("_", "-"): value for name, value in headers.items()}
    return raising(lambda: classify(status, hints, json.dumps(body).encode()))


FAULTS: Mapping[str, Fault] = {
    "http_500": refusing(500, "server_error"),
    "http_429": refusing(429, "rate_limit_error"),
    "http_429_hint": refusing(429, "rate_limit_error", retry_after="2"),
    "http_503": refusing(503, "service_unavailable"),
    "http_529": refusing(529, "overloaded_error"),
    "http_401": refusing(401, "authentication_error"),
    "reset": raising(lambda: Transient("the connection broke (ReadError)")),
    "refused": raising(lambda: Transient("the connection was refused or could not be made"), after=0.001),
    "hang": hang,
    "slow": slow_first_token,
    "brownout": brownout,
    "malformed_json": raising(lambda: Garbage("its answer cannot be read: Expecting value", status=200)),
    "wrong_content_type": raising(lambda: Garbage("it answered with text/html instead of an answer", status=200)),
    "empty_content": empty_content,
    "stream_500": refusing(500, "server_error"),
    "stream_slow_first_token": slow_first_token,
    "stream_error_first_event": raising(
        lambda: reported({"error": {"message": "[simulated] no answer", "type": "server_error"}})
    ),
    "stream_dies_midway": dies_midway,
    "stream_stalls_midway": stalls_midway,
}
SILENT = frozenset({"hang", "slow", "stream_slow_first_token"})
"""Faults that only a limit of the router's own can see."""
MIDWAY = frozenset({"stream_dies_midway", "stream_stalls_midway"})
FAST = frozenset(FAULTS) - SILENT - MIDWAY - {"brownout"}
