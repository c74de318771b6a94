"""Small things that many tests build: targets, observations, and a target whose answers are scripted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from understudy.catalog import Capabilities, Provider, Route, Target
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage
from understudy.compliance import judge
from understudy.errors import AttemptFailed
from understudy.health.latency import Histogram, bucket
from understudy.health.observation import Observation
from understudy.health.standing import Standing
from understudy.routing.policy import Judged

NO_RUNS = "quality: {sets: []}, drift: {prompts: 0}"
"""In the health section of a document: its targets are asked whether they are alive, and nothing else."""
PROVIDER = Provider(name="alpha", wire="openai", base_url="https://alpha.example/v1")


def target(
    name: str, *, window: int | None = None, prefill: str = "none", provider: str = "alpha", **fields: Any
) -> Target:
    """A target; `window` is the context window it declares, `prefill` how it continues another's answer."""
    can = fields.pop("capabilities", Capabilities(context_window=window, prefill=prefill))
    return Target(name, replace(PROVIDER, name=provider), "big", capabilities=can, **fields)


def by(route: Route, now: float = 0.0) -> Judged:
    """The judgement of a route's own constraints."""
    return partial(judge, constraints=route.constraints, now=now)


def request(**fields: Any) -> ChatRequest:
    """A small valid request, with more fields where given."""
    return chat_request({"model": "chat", "messages": [{"role": "user", "content": "hello"}], **fields})


def good(at: float, *, source: Any = "traffic", first_token: float = 0.1) -> Observation:
    """One good call."""
    return Observation("lead", at, source=source).success(at, first_token)


def bad(at: float, failure: AttemptFailed, *, source: Any = "traffic", bench: float = 0.0) -> Observation:
    """One failed call."""
    return Observation("lead", at, source=source).failure(at, failure, bench)


def piece(text: str | None = None, *, finish: str | None = None, usage: Usage | None = None, **delta: Any) -> Chunk:
    """One chunk: a text, a stop reason, the counts, or other fields of a delta."""
    delta = {"role": "assistant", **delta} if text is None else {"content": text, **delta}
    payload: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "big-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return chunk_from(payload | ({"usage": usage.payload()} if usage else {}))


def taking(seconds: float, answers: float = 100) -> Histogram:
    """The times of so many answers that took this long each."""
    return ((bucket(seconds), answers),)


def text_of(chunks: Sequence[Chunk]) -> str:
    """What the caller reads in these chunks."""
    return "".join(chunk.text for chunk in chunks)


def as_json(value: Any) -> Any:
    """The value after a trip through JSON text."""
    return json.loads(json.dumps(value))


HANG = object()
"""In a script: never say anything again."""

Step = Chunk | float | Exception | object


class ScriptedAsk:
    """Satisfies `routing.attempts.Ask`.  Each target has one script per call, the last one is repeated: chunks are
    given, numbers are seconds of silence, failures are raised, HANG hangs.  `calls` has the target of each call,
    `requests` what it was asked, `closed` those whose generator was closed or ended."""

    def __init__(self, scripts: dict[str, list[list[Step]]]) -> None:
        self.scripts = scripts
        self.calls: list[str] = []
        self.requests: list[ChatRequest] = []
        self.closed: list[str] = []
        self.connects: list[float] = []
        self.given = 0

    async def __call__(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        scripts = self.scripts[target.name]
        script = scripts[min(self.calls.count(target.name), len(scripts) - 1)]
        self.calls.append(target.name)
        self.requests.append(request)
        self.connects.append(connect)
        try:
            for step in script:
                await asyncio.sleep(0)
                if step is HANG:
                    await asyncio.Event().wait()
                elif isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                elif isinstance(step, Chunk):
                    self.given += 1
                    yield step
        finally:
            self.closed.append(target.name)


class RecordingOutcomes:
    """Satisfies `routing.attempts.Outcomes`: `told` has (target, "ok" or the kind of the failure, probe) in order.

    What it knows is set by target name: `standings` (healthy where not), `crowded` (targets whose calls before the
    last failure failed as well), `known` and `pauses` (first tokens and longest silences), `effects` (what a failure
    did).
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bool]] = []
        self.took: list[float] = []
        self.standings: dict[str, Standing] = {}
        self.crowded: set[str] = set()
        self.known: dict[str, Histogram] = {}
        self.pauses: dict[str, Histogram] = {}
        self.effects: dict[str, str] = {}

    def succeeded(self, target: Target, first_token: float, *, gap: float, seconds: float, probe: bool) -> None:
        self.told.append((target.name, "ok", probe))
        self.took.append(first_token)

    def failed(self, target: Target, failure: AttemptFailed, *, seconds: float, probe: bool) -> str:
        self.told.append((target.name, failure.kind, probe))
        return self.effects.get(target.name, "")

    def standing(self, target: Target) -> Standing:
        return self.standings.get(target.name, Standing())

    def alone(self, target: Target) -> bool:
        return target.name not in self.crowded

    def first_tokens(self, target: Target) -> Histogram:
        return self.known.get(target.name, ())

    def gaps(self, target: Target) -> Histogram:
        return self.pauses.get(target.name, ())


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, message: str, /, **fields: Any) -> None:
        self.lines.append((message, fields))

    warning = exception = info
