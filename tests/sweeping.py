"""Many targets, probed in virtual time by as many workers as Lambda would start.

The queue delivers each message when its delay is over, at most ten to a worker.  Lambda begins with five workers and
adds up to 300 a minute (AWS Lambda developer guide, "Using Lambda with Amazon SQS", scaling of standard queues).
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import count
from typing import Any

from tests.builders import NO_RUNS, Log
from tests.tables import StreamedTable
from understudy.catalog import Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, make_chunk
from understudy.health.observation import Observation, observation_from
from understudy.ports import Due
from understudy.services.probe_targets import ProbeTargets
from understudy.services.publish_control import publish
from understudy.services.update_health import UpdateHealth
from understudy.store import keys
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Item

EPOCH = 1_800_000_000.0
AT_MOST = 100
"""Workers at once that the template allows."""
BATCH = 10
STORE_DELAY = 0.005
STREAM_LAG = 0.3
QUEUE_LAG = 0.1
POLL = 0.05
TICK = 60.0


def lambda_scales(seconds: float) -> int:
    """Workers that Lambda runs when a queue has been full for so long."""
    return min(AT_MOST, int(5 + seconds * 300 / 60))


def document(targets: int, period: float) -> str:
    """A control document with so many targets, a hundred on each route."""
    names = [f"t{number:04d}" for number in range(targets)]
    lines = [
        "schema: 1",
        'providers: {acme: {wire: openai, base_url: "https://acme.example/v1"}}',
        "targets:",
        *(f"  {name}: {{provider: acme, model: {name}}}" for name in names),
        "routes:",
        *(f"  r{first}: {{targets: [{', '.join(names[first : first + 100])}]}}" for first in range(0, targets, 100)),
        f"health: {{probe: {{period_s: {period}}}, {NO_RUNS}}}",
    ]
    return "\n".join(lines)


class Sweep:
    """`asked` has the seconds in which each target was asked, `seen` its observations with the second of each;
    `at_once` is the largest number of workers that were busy together, `batches` the number of their invocations."""

    def __init__(
        self,
        targets: int,
        period: float,
        *,
        workers: Callable[[float], int] = lambda_scales,
        seconds: float = 1.0,
        hanging: frozenset[str] = frozenset(),
    ) -> None:
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.seen: dict[str, list[tuple[float, Observation]]] = defaultdict(list)
        self.at_once = self.batches = 0
        self.log = Log()
        self._store = Store(StreamedTable(MemoryTable(), self._changed, STORE_DELAY))
        self._document = document(targets, period)
        self._workers, self._seconds, self._hanging = workers, seconds, hanging
        self._control: Any = {"clock": self.clock, "logger": self.log, "rng": random.Random(1)}
        self._update = UpdateHealth(self._store, self, **self._control)
        self._waiting: list[tuple[float, int, Due]] = []
        self._idle: list[ProbeTargets] = []
        self._busy, self._numbers = 0, count()
        self._tasks: set[asyncio.Task[Any]] = set()

    def clock(self) -> float:
        return EPOCH + self.now

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def run(self, seconds: float) -> Sweep:
        """Publish the document and let so much time go by; the first tick comes at once.  Returns itself."""
        publish(self._store, self._document, now=self.clock(), by="test")
        self._start(self._deliver())
        tick = self._worker()
        while self.now < seconds:
            self._start(tick.tick())
            await asyncio.sleep(min(TICK, seconds - self.now))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self

    # the provider

    async def ask(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        self.asked[target.name].append(self.now)
        await asyncio.sleep(1e9 if target.name in self._hanging else self._seconds)
        yield make_chunk(id="1", model="m", created=1, delta={"content": "ready"})
        yield make_chunk(id="1", model="m", created=1, finish_reason="stop")

    # the queue and its workers

    def send(self, messages: Any, delay: float = 0.0) -> None:
        """The queue of sweeps.  That of recoveries is not played: what it is sent is dropped."""
        if not isinstance(messages, str):
            for message in messages:
                heapq.heappush(self._waiting, (self.now + message.delay + QUEUE_LAG, next(self._numbers), message))

    async def _deliver(self) -> None:
        full_since = self.now
        while True:
            if not self._waiting or self._waiting[0][0] > self.now:
                full_since = full_since if self._busy else self.now
            elif self._busy < self._workers(self.now - full_since):
                self._start(self._invoke(self._take()))
                continue
            await asyncio.sleep(POLL)

    def _take(self) -> Sequence[Due]:
        taken: list[Due] = []
        while self._waiting and self._waiting[0][0] <= self.now and len(taken) < BATCH:
            taken.append(heapq.heappop(self._waiting)[2])
        self._busy += 1
        self.batches += 1
        self.at_once = max(self.at_once, self._busy)
        return taken

    async def _invoke(self, taken: Sequence[Due]) -> None:
        worker = self._idle.pop() if self._idle else self._worker()
        try:
            assert [] == await worker.handle(batch(taken))
        finally:
            self._busy -= 1
            self._idle.append(worker)

    def _worker(self) -> ProbeTargets:
        return ProbeTargets(self._store, self.ask, self, **self._control)

    # the table stream

    def _changed(self, before: Item | None, after: Item) -> None:
        if after.key[1].startswith(keys.OBSERVATION):
            seen = observation_from(after.body)
            self.seen[seen.target].append((self.now, seen))
            asyncio.get_running_loop().call_later(STREAM_LAG, lambda: self._start(self._fold(seen)))

    async def _fold(self, seen: Observation) -> None:
        await asyncio.to_thread(self._update.observe, seen)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def batch(messages: Sequence[Due]) -> Mapping[str, tuple[str, int]]:
    """A batch as a worker gets it for the first time, the first message with the id "0"."""
    bodies = [json.dumps(message.plain()) for message in messages]
    return {str(place): (body, 1) for place, body in enumerate(bodies)}
