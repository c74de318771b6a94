"""One execution environment, and what tests say of it often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tests.unit.services.worlds import NOW, LoopClock, World
from tests.virtual import run
from understudy.catalog import BreakerSettings, HealthSettings, Provider, Target
from understudy.errors import AttemptFailed, Transient
from understudy.health.breaker import Breaker
from understudy.health.item import Health
from understudy.services.outcomes import LocalOutcomes

LEAD = Target("lead", Provider("acme", "openai", "https://acme.example/v1"), "large")
SETTINGS = HealthSettings(breaker=BreakerSettings(jitter=0))
BOOM = Transient("boom")
BUSY = Health("lead", Breaker(window=((int(NOW / 10), 20, 0),)))
"""A target with traffic, as the fleet sees it."""
OPEN = Health("lead", Breaker("open", changed_at=NOW - 20, until=NOW - 10, opens=1, reason="down"))
"""A target whose recovery nobody has probed for long."""

T = TypeVar("T")


class Local(LocalOutcomes):
    """An environment that has adopted what the fleet knows of the lead."""

    def __init__(self, world: World, fleet: Health | None = None) -> None:
        super().__init__(world.store, world.clock, world.log, world.rng)
        self.adopt(SETTINGS, {fleet.target: fleet} if fleet else {})

    def good(self, times: int = 1, *, first_token: float = 0.1, gap: float = 0.0, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.succeeded(LEAD, first_token, gap=gap, seconds=seconds, probe=False)

    def bad(self, times: int = 1, failure: AttemptFailed = BOOM, *, seconds: float = 0.0) -> str:
        """Returns what the last one did to the target."""
        return [self.failed(LEAD, failure, seconds=seconds, probe=False) for _ in range(times)][-1]

    @property
    def share(self) -> float:
        return self.standing(LEAD).share


def play(story: Callable[[World], Awaitable[T]]) -> T:
    """The end of a story that is told in virtual time."""

    async def told() -> T:
        return await story(World(LoopClock()))

    return run(told())


def observations(world: World) -> list[dict[str, Any]]:
    return [dict(i.body) for i in world.table.query("target#lead", prefix="observation#")]


def fleet_breaker(world: World) -> Breaker:
    return world.store.health(["lead"])["lead"].breaker


async def timed(waiting: Awaitable[T]) -> tuple[T, float]:
    """A result, and the virtual seconds it took."""
    began = asyncio.get_running_loop().time()
    result = await waiting
    return result, round(asyncio.get_running_loop().time() - began, 6)
