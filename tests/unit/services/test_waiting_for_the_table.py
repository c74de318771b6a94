"""What a request waits for at the table: its writes, and the lease for a live probe."""

import asyncio
from dataclasses import replace

import pytest

from tests.unit.services.environments import LEAD, OPEN, SETTINGS, Local, observations, play, timed
from tests.unit.services.worlds import NOW, World


class TestSettling:
    @pytest.mark.parametrize(("delay", "seconds"), [(0.0, 0.0), (0.1, 0.1), (60.0, 2.0)])
    def test_it_waits_for_writes_but_not_long(self, delay: float, seconds: float) -> None:
        """What is being written is waited for, as long as the caller may be kept."""

        async def story(world: World) -> float:
            local = Local(world)
            world.table.delay = delay
            local.bad()
            return (await timed(local.settle(2)))[1]

        assert seconds == play(story)

    def test_nobody_waits_for_a_table_that_is_not_trusted(self) -> None:
        """While the table is slow its writes go on alone."""

        async def story(world: World) -> tuple[float, int]:
            local = Local(world)
            local.adopt(SETTINGS, {}, trusted=False)
            world.table.delay = 1.0
            local.bad()
            _, seconds = await timed(local.settle(2))
            await asyncio.sleep(1.5)
            return seconds, len(observations(world))

        assert (0.0, 1) == play(story)


class TestLease:
    def test_one_live_probe_for_the_fleet(self) -> None:
        """Of many environments that find an overdue target at the same moment, one gets the lease."""

        async def story(world: World) -> list[bool]:
            world.store.put_health(OPEN)
            environments = [Local(world, OPEN) for _ in range(10)]
            return list(await asyncio.gather(*(local.lease(LEAD) for local in environments)))

        assert [False] * 9 + [True] == sorted(play(story))

    @pytest.mark.parametrize("trusted", [True, False])
    def test_one_live_probe_for_an_environment(self, trusted: bool) -> None:
        """Of two requests of one environment that ask at the same moment only the first probes."""

        async def story(world: World) -> tuple[list[bool], bool]:
            world.store.put_health(OPEN)
            local = Local(world)
            local.adopt(SETTINGS, {"lead": OPEN}, trusted=trusted)
            asked = await asyncio.gather(local.lease(LEAD), local.lease(LEAD))
            return list(asked), local.standing(LEAD).probe_due

        assert ([True, False], False) == play(story)

    def test_before_its_time_there_is_none(self) -> None:
        """A live request is no probe before twice the open time, and the table is not asked."""

        async def story(world: World) -> tuple[bool, list[str]]:
            local = Local(world, replace(OPEN, breaker=replace(OPEN.breaker, changed_at=NOW - 12, until=NOW - 2)))
            return await local.lease(LEAD), world.table.calls

        assert (False, []) == play(story)

    def test_whoever_is_refused_asks_again_in_a_second(self) -> None:
        """While another environment probes, this one asks once a second and gets the lease when the other's is over."""

        async def story(world: World) -> list[tuple[float, bool]]:
            held = replace(OPEN, breaker=replace(OPEN.breaker, lease_until=NOW + 2.5))
            world.store.put_health(held)
            local, asked = Local(world, OPEN), []
            for tenth in range(40):
                if local.standing(LEAD).probe_due:
                    asked.append((tenth / 10, await local.lease(LEAD)))
                await asyncio.sleep(0.1)
            return asked

        assert [(0.0, False), (1.0, False), (2.0, False), (3.0, True)] == play(story)

    def test_a_rival_write_loses_the_lease(self) -> None:
        """Where somebody else writes the item in between, there is no lease this time."""

        async def story(world: World) -> bool:
            health = world.store.put_health(OPEN)
            world.table.before_put = lambda: world.store.put_health(replace(health, score=0.5))
            return await Local(world, OPEN).lease(LEAD)

        assert not play(story)

    def test_without_a_table_the_lease_is_local(self) -> None:
        """Where the table fails, each environment probes for itself: recovery does not depend on the store."""

        async def story(world: World) -> list[bool]:
            world.store.put_health(OPEN)
            local = Local(world, OPEN)
            world.table.down = True
            return [await local.lease(LEAD), await local.lease(LEAD)]

        assert [True, False] == play(story)

    def test_nobody_waits_for_the_lease_of_a_table_that_is_not_trusted(self) -> None:
        """While the table is slow it is not even asked."""

        async def story(world: World) -> tuple[tuple[bool, float], list[str]]:
            local = Local(world)
            local.adopt(SETTINGS, {"lead": OPEN}, trusted=False)
            world.table.delay = 5.0
            return await timed(local.lease(LEAD)), world.table.calls

        assert ((True, 0.0), []) == play(story)

    def test_a_table_that_answers_late_costs_a_request_little(self) -> None:
        """A trusted table that takes seconds is waited for 20 ms; then the request goes elsewhere."""

        async def story(world: World) -> tuple[bool, float]:
            world.store.put_health(OPEN)
            local = Local(world, OPEN)
            world.table.delay = 5.0
            return await timed(local.lease(LEAD))

        assert (False, 0.02) == play(story)

    @pytest.mark.parametrize("delay", [0.015, 0.03, 0.4])
    def test_a_lease_that_came_late_is_used_by_the_next_request(self, delay: float) -> None:
        """A lease that was granted after its request had gone elsewhere is not lost: the next request probes."""

        async def story(world: World) -> list[bool]:
            world.store.put_health(OPEN)
            local = Local(world, OPEN)
            world.table.delay = delay
            first = await local.lease(LEAD)
            await asyncio.sleep(1)
            return [first, await local.lease(LEAD)]

        assert [False, True] == play(story)

    def test_a_late_lease_that_is_over_is_asked_for_again(self) -> None:
        """A lease that came late and was not used in its time is no right to probe: somebody else may have it now."""

        async def story(world: World) -> bool:
            health = world.store.put_health(OPEN)
            local = Local(world, OPEN)
            world.table.delay = 0.4
            await local.lease(LEAD)
            world.table.delay = 0.0
            await asyncio.sleep(31)
            held = replace(health.breaker, lease_until=NOW + 60)
            world.store.put_health(replace(health, breaker=held, rev=2))
            return await local.lease(LEAD)

        assert not play(story)
