"""Days of a whole control plane in virtual time: probes with the shipped questions, detectors, incidents, alerts."""

from __future__ import annotations

import asyncio
import json
import math
import random
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.simulators.golden import Example, examples
from tests.tables import StreamedTable
from tests.unit.services.worlds import NOW, LoopClock, Queue, Sink, World
from tests.virtual import run
from understudy.catalog import Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, chunk_from, make_chunk
from understudy.chat.usage import Usage
from understudy.health.item import Health, health_from
from understudy.health.observation import observation_from
from understudy.incidents.incident import Incident, incident_from
from understudy.ports import Due
from understudy.services.golden_sets import GoldenSets
from understudy.services.probe_targets import ProbeTargets
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.update_health import UpdateHealth
from understudy.store import keys
from understudy.store.store import Store
from understudy.store.table import Item

DOCUMENT = """
schema: 1
providers:
PROVIDERS
targets:
TARGETS
routes:
  chat: {targets: [NAMES], quarantine: automatic}
health:
  probe: {period_s: 600}
alerts: {renotify_s: 2592000}
"""
PROVIDER = 'wire: openai, base_url: "https://ACME.example/v1"'
PRICE = '{input_per_million: "1", output_per_million: "5"}'
TARGET = f"provider: ACME, model: large, capabilities: {{logprobs: true}}, price: {PRICE}"
HOUR = 3600.0
SLIPS = 0.004
"""The part of answers that a steady model gives otherwise than usual."""
LOOSE = 0.03
"""The part of questions that it answers now this way, now that."""


class Model:
    """Answers the shipped questions nearly always the same way.

    `lost` is the part of them that it has unlearned, `border` that of other questions to which it says one word and not
    the other, `leans` how far the log-odds of that word are from where they were, up for some and down for others.
    `slower` and `tokens` are what its latency and the length of its answers are multiplied by, `version` is what it
    calls itself.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.lost = 0.0
        self.slower = self.tokens = 1.0
        self.border, self.leans = 0.4, 0.0
        self.version = "large-1"
        self.asked = 0

    async def __call__(self, request: ChatRequest, now: float) -> AsyncGenerator[Chunk, None]:
        self.asked += 1
        text = str(request.messages[-1]["content"]).strip()
        day = 1 + 0.4 * math.sin(2 * math.pi * now / 86400)
        await asyncio.sleep(0.4 * day * self.slower * self.rng.lognormvariate(0, 0.25))
        delta, words = self._said(text)
        chunk = make_chunk(id="1", model=self.version, created=1, delta=delta)
        yield _with_odds(chunk, self._odds(text)) if request.body.get("logprobs") else chunk
        spent = max(1, round(words * self.tokens * self.rng.lognormvariate(0, 0.03)))
        stop = "tool_calls" if "tool_calls" in delta else "stop"
        yield make_chunk(id="1", model=self.version, created=1, finish_reason=stop, usage=Usage(20, spent))

    def _said(self, text: str) -> tuple[dict[str, Any], int]:
        example = examples().get(text)
        if example is None:
            return {"content": ("Yes", "Sure")[self._place(text) < self.border]}, 3
        said = example.right if self._right(text, example) else example.wrong
        words = 4 + int(40 * self._place(text))
        if isinstance(said, dict):
            call = {"name": said["name"], "arguments": json.dumps(said.get("arguments") or {})}
            return {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": call}]}, words
        return {"content": str(said)}, words

    def _right(self, text: str, example: Example) -> bool:
        if example.wrong is None:
            return True
        place = self._place(text)
        if place < self.lost:
            return False
        slips = 0.4 if place > 1 - LOOSE else SLIPS
        return self.rng.random() >= slips

    def _odds(self, text: str) -> float:
        """Log-odds of the first word."""
        up = 1 if self._place(f"up {text}") < 0.5 else -1
        return 4 * self._place(f"odds {text}") - 1 + up * self.leans + self.rng.gauss(0, 0.03)

    def _place(self, text: str) -> float:
        return zlib.crc32(text.encode()) % 10_000 / 10_000


def _with_odds(chunk: Chunk, odds: float) -> Chunk:
    (choice,) = chunk.payload["choices"]
    token = {"token": choice["delta"].get("content", ""), "logprob": -math.log1p(math.exp(-odds))}
    return chunk_from({**chunk.payload, "choices": [choice | {"logprobs": {"content": [token]}}]})


@dataclass(frozen=True)
class Moment:
    """What was told until then, and how the targets were."""

    told: list[str]
    health: Mapping[str, Health]


class Weeks:
    """The control plane, and targets of which `models` says how they are.

    `incidents` holds every change of an incident as (hours, incident), `told` the subjects of what was published and
    `kept` the moments that were to be kept.
    """

    def __init__(self, seed: int = 1, models: Sequence[str] = ("lead", "spare", "last")) -> None:
        self.models = {name: Model(seed * 10 + place) for place, name in enumerate(models)}
        self.kept: dict[str, Moment] = {}
        targets = "\n".join(f"  {name}: {{{TARGET.replace('ACME', name)}}}" for name in models)
        providers = "\n".join(f"  {name}: {{{PROVIDER.replace('ACME', name)}}}" for name in models)
        text = DOCUMENT.replace("TARGETS", targets).replace("PROVIDERS", providers).replace("NAMES", ", ".join(models))
        self.world = World(LoopClock(), text)
        self._news: list[tuple[Item | None, Item]] = []
        self.store = Store(StreamedTable(self.world.table, lambda before, after: self._news.append((before, after))))
        self.incidents: list[tuple[float, Incident]] = []
        self.sink, self._orders = Sink(), Orders()
        log, rng = self.world.log, random.Random(seed)
        clock = self.world.clock
        self._probes = ProbeTargets(self.store, self._ask, self._orders, clock=clock, logger=log, rng=rng)
        self._update = UpdateHealth(
            self.store,
            Queue(),
            clock=clock,
            logger=log,
            rng=rng,
            confirms=self._orders,
            find=GoldenSets().find,
        )
        self._alerts = PublishAlerts(self.store, [("sink", self.sink)], clock=clock, logger=log)

    def play(self, *acts: tuple[float, Any]) -> Weeks:
        """So many hours, then what is to happen; one act after the other."""

        async def story() -> None:
            for hours, then in acts:
                await self._hours(hours)
                then(self)

        run(story())
        return self

    @property
    def hours(self) -> float:
        return (self.world.clock() - NOW) / HOUR

    @property
    def told(self) -> list[str]:
        return [notice.subject for notice in self.sink.told]

    def keep(self, name: str) -> None:
        """Keep this moment."""
        self.kept[name] = Moment(list(self.told), {target: self.health(target) for target in self.models})

    def health(self, target: str) -> Health:
        return self.world.store.health([target])[target]

    async def _ask(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        async for chunk in self.models[target.name](request, self.world.clock()):
            yield chunk

    async def _hours(self, hours: float) -> None:
        end = self.world.clock() + hours * HOUR
        while self.world.clock() < end - 1:
            await self._probes.tick()
            began = self.world.clock()
            while self._orders.waiting:
                await self._handle(self._orders.next(10))
                self._stream()
            await asyncio.sleep(max(0.0, began + 60 - self.world.clock()))

    async def _handle(self, orders: Sequence[dict[str, Any]]) -> None:
        bodies = {str(place): (json.dumps(order), 1) for place, order in enumerate(orders)}
        failed = await self._probes.handle(bodies)
        assert [] == failed

    def _stream(self) -> None:
        """What the table's stream brings, until it brings nothing more."""
        while self._news:
            news, self._news = self._news, []
            for before, after in news:
                pk, sk = after.key
                if sk.startswith(keys.OBSERVATION):
                    self._update.observe(observation_from(after.body))
                elif sk == keys.HEALTH:
                    old = health_from(before.body, before.rev) if before else None
                    self._update.react(old, health_from(after.body, after.rev))
                elif pk == keys.INCIDENT:
                    known = incident_from(before.body, before.rev) if before else None
                    incident = incident_from(after.body, after.rev)
                    self.incidents.append((self.hours, incident))
                    self._alerts.publish(known, incident)
            self._update.learn()


class Orders:
    """Both queues of probes; delays are not waited for."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.bought = 0

    def send(self, first: Any, stream: str | None = None) -> None:
        if stream is None:
            self.waiting += [message.plain() for message in first if isinstance(message, Due)]
        else:
            self.bought += 1
            self.waiting.append({"target": first, "ask": "confirm", "set": stream})

    def next(self, most: int) -> list[dict[str, Any]]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken
