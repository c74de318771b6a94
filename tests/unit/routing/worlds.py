"""One request through the engine: scripted targets, outcomes that are set, virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from tests.builders import RecordingOutcomes, ScriptedAsk, Step, piece, request, target, text_of
from tests.virtual import run
from understudy.catalog import Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.usage import Usage
from understudy.compliance import Allowed, Denied
from understudy.errors import Cause
from understudy.routing.attempts import Attempts
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, Ranked

LIMITS = Limits(first_token=0.1, stall=0.1, request=30.0, backoff=0.3, retry_after_cap=5.0, connect=0.7)
USAGE = Usage(3, 2)


def answer(text: str) -> list[Step]:
    """A whole answer in the usual pieces: role, two texts, stop reason, counts."""
    half = len(text) // 2
    return [piece(), piece(text[:half]), piece(text[half:]), piece("", finish="stop"), piece("", usage=USAGE)]


FINE = answer("fine")


@dataclass
class World:
    """One request through the engine, with scripted targets, in virtual time.

    `waits` are the waits it asked for, none is slept; `seconds` is how long all took; `agreed` is what the route has
    opted in to."""

    scripts: dict[str, list[list[Step]]]
    limits: Limits = LIMITS
    leases: bool = True
    windows: dict[str, int] = field(default_factory=dict)
    prefills: dict[str, str] = field(default_factory=dict)
    ranked: Sequence[Ranked] = ()
    denied: tuple[Cause, ...] = ()
    agreed: dict[str, bool] = field(default_factory=dict)
    asked: ChatRequest = field(default_factory=request)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.ask = ScriptedAsk(self.scripts)
        self.outcomes = RecordingOutcomes()
        self.journal = Journal()
        self.waits: list[float] = []
        self.leased: list[str] = []
        self.forbidden: set[str] = set()
        self.seen: list[Chunk] = []

    async def _lease(self, one: Target) -> bool:
        self.leased.append(one.name)
        return self.leases

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def judged(self, one: Target) -> Allowed | Denied:
        return Denied("contract", "it has expired") if one.name in self.forbidden else Allowed()

    def target(self, name: str) -> Target:
        return target(name, window=self.windows.get(name), prefill=self.prefills.get(name, "none"), provider=name)

    def chunks(self, *, whole: bool = False) -> AsyncGenerator[Chunk, None]:
        ranked = self.ranked or [Ranked(self.target(n), "place") for n in self.scripts]
        decision = Decision("chat", tuple(ranked), self.denied, **self.agreed)
        engine = Attempts(
            self.ask, self.outcomes, self._lease, judged=self.judged, rng=random.Random(0), sleep=self._sleep
        )
        return engine.run(self.asked, decision, self.limits, self.journal, whole=whole)

    def run(self, *, whole: bool = False) -> str | Exception:
        """The text that the caller got, or what was raised."""

        async def collect() -> None:
            try:
                async with aclosing(self.chunks(whole=whole)) as chunks:
                    async for chunk in chunks:
                        self.seen.append(chunk)
            finally:
                self.seconds = asyncio.get_running_loop().time()

        try:
            run(collect())
        except Exception as error:  # noqa: BLE001 - the tests look at what it is
            return error
        return text_of(self.seen)

    @property
    def outcomes_told(self) -> list[tuple[str, str]]:
        return [(name, outcome) for name, outcome, _ in self.outcomes.told]
