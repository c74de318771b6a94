"""Providers that probes can ask, and the queue between a tick and its workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from tests.sweeping import batch
from tests.unit.services.worlds import World
from understudy.catalog import Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, make_chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import UnderstudyError
from understudy.ports import Due
from understudy.services.probe_targets import ProbeTargets


class Provider:
    """Answers, or fails: `outcomes` has what happens to the next calls of a target (None: an answer), the last one
    again and again.  Each call takes `seconds`; `asked` names the targets in order, `requests` what they were asked,
    `at_once` the most calls that were under way together."""

    def __init__(self, seconds: float = 0.0, **outcomes: list[UnderstudyError | None]) -> None:
        self.asked: list[str] = []
        self.requests: list[ChatRequest | UnaryRequest] = []
        self.at_once = 0
        self._seconds = seconds
        self._outcomes = outcomes
        self._under_way = 0

    async def __call__(
        self, request: ChatRequest | UnaryRequest, target: Target, *, connect: float
    ) -> AsyncGenerator[Chunk, None]:
        outcomes = self._outcomes.get(target.name, [None])
        failure = outcomes[min(self.asked.count(target.name), len(outcomes) - 1)]
        self.asked.append(target.name)
        self.requests.append(request)
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            await asyncio.sleep(self._seconds)
            if failure is not None:
                raise failure
            yield make_chunk(id="1", model="m", created=1, delta={"content": "ready"})
            yield make_chunk(id="1", model="m", created=1, finish_reason="stop")
        finally:
            self._under_way -= 1


class Sweeps:
    """Keeps what was asked for.  Satisfies `understudy.ports.DueQueue`."""

    def __init__(self) -> None:
        self.messages: list[Due] = []

    def send(self, messages: Sequence[Due]) -> None:
        self.messages += messages


def prober(
    world: World,
    provider: Provider,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    sweeps: Sweeps | None = None,
) -> ProbeTargets:
    queue = sweeps or Sweeps()
    return ProbeTargets(world.store, provider, queue, clock=world.clock, logger=world.log, rng=world.rng, sleep=sleep)


async def minute(world: World, provider: Provider) -> int:
    """A tick and all that it asks for, at its time and ten targets at a time; returns how many probes that is."""
    queue = Sweeps()
    probes = prober(world, provider, sweeps=queue)
    asked = await probes.tick()

    async def deliver(messages: Sequence[Due]) -> None:
        await asyncio.sleep(messages[-1].delay)
        assert [] == await probes.handle(batch(messages))

    groups = [queue.messages[start : start + 10] for start in range(0, len(queue.messages), 10)]
    await asyncio.gather(*(deliver(group) for group in groups))
    return asked
