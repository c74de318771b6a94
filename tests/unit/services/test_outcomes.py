"""Counting in the environment, telling the fleet."""

import asyncio

from tests.unit.services.worlds import World
from understudy.catalog import BreakerSettings, HealthSettings, Provider, Target
from understudy.errors import Credential, RateLimited, Transient
from understudy.health.item import Health
from understudy.services.outcomes import LocalOutcomes

LEAD = Target("lead", Provider("acme", "openai", "https://acme.example/v1"), "large")
SETTINGS = HealthSettings(breaker=BreakerSettings(jitter=0))


def outcomes(world: World) -> LocalOutcomes:
    made = LocalOutcomes(world.store, world.clock, world.log, world.rng)
    made.adopt(SETTINGS, {})
    return made


def observations(world: World) -> list[dict]:
    return [dict(i.body) for i in world.table.query("target#lead", prefix="observation#")]


def test_good_calls_write_once_in_ten_seconds() -> None:
    """A thousand good calls are one observation."""

    async def story() -> list[int]:
        world = World()
        local = outcomes(world)
        for _ in range(1000):
            local.succeeded(LEAD, 0.1, probe=False)
            world.clock.now += 0.0101
        await local.settle(2)
        return [seen["ok"] for seen in observations(world)]

    counts = asyncio.run(story())
    assert (1, True) == (len(counts), counts[0] > 900)


def test_the_fifth_failure_in_a_row_opens_here_and_everywhere() -> None:
    """The environment stops calling at once, and the fleet's item says open with the same end."""

    async def story() -> tuple[list[float], str, bool]:
        world = World()
        local = outcomes(world)
        shares = []
        for _ in range(5):
            local.failed(LEAD, Transient("boom"), probe=False)
            shares.append(local.standing(LEAD).share)
        await local.settle(2)
        fleet = world.store.health(["lead"])["lead"].breaker
        return shares, fleet.state, fleet.until == world.clock.now + 2

    assert ([1.0, 1.0, 1.0, 1.0, 0.0], "open", True) == asyncio.run(story())


def test_fifty_environments_open_one_breaker_once() -> None:
    """However many environments see the outage, the fleet's breaker is opened once."""

    async def story() -> tuple[int, int]:
        world = World()
        for local in [outcomes(world) for _ in range(50)]:
            for _ in range(5):
                local.failed(LEAD, Transient("boom"), probe=False)
            await local.settle(2)
        health = world.store.health(["lead"])["lead"]
        return health.rev, health.breaker.opens

    assert (1, 1) == asyncio.run(story())


def test_a_bench_lasts_until_the_latest_hint() -> None:
    """A shorter wait that is told later does not end a longer one."""

    async def story() -> list[float]:
        world = World()
        local = outcomes(world)
        local.failed(LEAD, RateLimited("slow down", retry_after=30), probe=False)
        local.failed(LEAD, RateLimited("slow down", retry_after=3), probe=False)
        shares = []
        for _ in range(3):
            shares.append(local.standing(LEAD).share)
            world.clock.now += 15.5
        return shares

    assert [0.0, 0.0, 1.0] == asyncio.run(story())


def test_a_refused_credential_benches_without_touching_the_breaker() -> None:
    """Our own key's fault is no outage of the target."""

    async def story() -> tuple[float, int]:
        world = World()
        local = outcomes(world)
        for _ in range(10):
            local.failed(LEAD, Credential("bad key"), probe=False)
        await local.settle(2)
        return local.standing(LEAD).share, len(world.store.health(["lead"]))

    assert (0.0, 0) == asyncio.run(story())


def test_it_follows_the_fleet_and_then_its_own_later_knowledge() -> None:
    """What the fleet knows is taken over; what this environment saw later is not overwritten by older news."""

    async def story() -> list[float]:
        world = World()
        theirs = outcomes(world)
        for _ in range(5):
            theirs.failed(LEAD, Transient("boom"), probe=False)
        await theirs.settle(2)
        mine = outcomes(world)
        shares = [mine.standing(LEAD).share]
        mine.adopt(SETTINGS, world.store.health(["lead"]))
        shares.append(mine.standing(LEAD).share)
        theirs.adopt(SETTINGS, {"lead": Health("lead")})
        shares.append(theirs.standing(LEAD).share)
        return shares

    assert [1.0, 0.0, 0.0] == asyncio.run(story())


def test_what_cannot_be_written_is_kept() -> None:
    """A failed write of counts is added to the next one."""

    async def story() -> list[int]:
        world = World()
        local = outcomes(world)
        world.table.down = True
        local.failed(LEAD, Transient("boom"), probe=False)
        await local.settle(2)
        world.table.down = False
        world.clock.now += 1.1
        local.failed(LEAD, Transient("boom"), probe=False)
        await local.settle(2)
        return [seen["failures"] for seen in observations(world)]

    assert [2] == asyncio.run(story())


def test_one_live_probe_for_the_fleet() -> None:
    """Of many environments that find an overdue target, one gets the lease."""

    async def story() -> list[bool]:
        world = World()
        first = outcomes(world)
        for _ in range(5):
            first.failed(LEAD, Transient("boom"), probe=False)
        await first.settle(2)
        world.clock.now += 10
        locals_ = [outcomes(world) for _ in range(10)]
        return [await local.lease(LEAD) for local in locals_]

    assert [True, *[False] * 9] == asyncio.run(story())
