"""A small world for the services: a memory store with a published document, a clock that is told the time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.builders import Log
from tests.virtual import spend
from understudy.errors import StoreError
from understudy.keys import ClientKey, hash_key
from understudy.services.publish_control import publish
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

DOCUMENT = """
schema: 1
providers:
  acme: {wire: openai, base_url: "https://acme.example/v1"}
targets:
  lead: {provider: acme, model: large}
  spare: {provider: acme, model: small}
routes:
  chat: {targets: [lead, spare]}
health: {breaker: {jitter: 0}, quality: {sets: []}, drift: {prompts: 0}}
alerts: {renotify_s: 3600, link: "https://wiki.example/understudy"}
"""
NOW = 1_800_000_000.0


class Clock:
    """The time is what it was told last."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class LoopClock(Clock):
    """The time goes by with the (virtual) loop's, from NOW on."""

    def __call__(self) -> float:
        return self.now + asyncio.get_running_loop().time()


class Queue:
    """Keeps what was ordered."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float]] = []

    def send(self, target: str, delay: float) -> None:
        self.sent.append((target, round(delay, 3)))


class Sink:
    """Keeps what was told; refuses while `down`."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.down = False

    def send(self, notice: Any) -> None:
        if self.down:
            raise ConnectionError("the sink is down")
        self.told.append(notice)


class FrailTable(MemoryTable):
    """A table that can be down, or slow: then each call takes `delay` virtual seconds.

    `reads` counts batch reads, `calls` names every call, and `before_put` is done once, just before the next write.
    Items whose sort key begins with `refused` are not written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.delay = 0.0
        self.refused: str | None = None
        self.reads = 0
        self.calls: list[str] = []
        self.before_put: Callable[[], object] | None = None

    def batch(self, keys: Any) -> Any:
        self.reads += 1
        self._check("batch")
        return super().batch(keys)

    def get(self, key: Any) -> Any:
        self._check("get")
        return super().get(key)

    def put(self, item: Any, *, seen: int | None = None) -> None:
        self._check("put")
        if self.refused is not None and item.key[1].startswith(self.refused):
            raise StoreError(f"the table does not take {item.key}")
        rival, self.before_put = self.before_put, None
        if rival is not None:
            rival()
        super().put(item, seen=seen)

    def add(self, key: Any, amounts: Any, *, ttl: float) -> Any:
        self._check("add")
        return super().add(key, amounts, ttl=ttl)

    def add_once(self, key: Any, amounts: Any, writer: str, number: int, *, ttl: float) -> Any:
        self._check("add_once")
        return super().add_once(key, amounts, writer, number, ttl=ttl)

    def query(self, pk: str, **named: Any) -> Any:
        self._check("query")
        return super().query(pk, **named)

    def _check(self, call: str) -> None:
        self.calls.append(call)
        if self.delay:
            spend(self.delay)
        if self.down:
            raise StoreError("the table is down")


class World:
    def __init__(self, clock: Clock | None = None, document: str = DOCUMENT) -> None:
        self.clock = clock or Clock()
        self.log = Log()
        self.table = FrailTable()
        self.store = Store(self.table)
        self.rng = random.Random(7)
        publish(self.store, document, now=NOW, by="test")
        self.store.put_key(ClientKey(hash_key("us-key"), "app", NOW))
        self.table.reads, self.table.calls = 0, []
