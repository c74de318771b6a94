"""Counting in the environment, and telling the fleet."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.services.environments import BOOM, BUSY, LEAD, OPEN, SETTINGS, Local, fleet_breaker, observations, play
from tests.unit.services.worlds import NOW, World
from understudy.detectors.sample import Sample
from understudy.errors import AttemptFailed, Credential, Overloaded, RateLimited, Silent
from understudy.health.breaker import Breaker
from understudy.health.item import Health
from understudy.health.observation import Observation


class TestTelling:
    def test_good_calls_write_once_in_ten_seconds(self) -> None:
        """A thousand good calls of ten seconds are one observation."""

        async def story(world: World) -> list[int]:
            local = Local(world)
            for _ in range(1000):
                local.good()
                await asyncio.sleep(0.0101)
            await local.settle(2)
            return [seen["ok"] for seen in observations(world)]

        counts = play(story)
        assert (1, True) == (len(counts), counts[0] > 900)

    def test_failures_write_at_most_three_times_a_second(self) -> None:
        """A failure is told at once, the next ones together, without waiting for another call."""

        async def story(world: World) -> list[tuple[float, int]]:
            local = Local(world, BUSY)
            for _ in range(4):
                local.bad()
                await asyncio.sleep(0.05)
            await asyncio.sleep(1)
            return [(round(seen["at"] - NOW, 2), seen["failures"]) for seen in observations(world)]

        assert [(0.0, 1), (0.15, 3)] == play(story)

    def test_copies_write_once_in_ten_seconds(self) -> None:
        """What copies show is added up, failures too, since they are nobody's breaker; a table that was down costs
        nothing of it."""

        async def story(world: World) -> list[tuple[int, int, int]]:
            local, copy = Local(world), Observation("lead", NOW, source="shadow")
            for number in range(1200):
                world.table.down = 990 < number < 1100
                one = copy.failure(NOW, BOOM) if number % 2 else copy.success(NOW, 0.1)
                local.copied(one.measured(Sample("quality", 1.0, NOW, "shadow")))
                await asyncio.sleep(0.0101)
            local.good()
            await asyncio.sleep(10)
            local.flush_due()
            await local.settle(2)
            seen = [one for one in observations(world) if one["source"] == "shadow"]
            return [(one["ok"], one["failures"], len(one["samples"])) for one in seen]

        written = sorted(play(story))
        assert [(1, 0, 1), 1200] == [written[0], sum(ok + failed for ok, failed, _ in written)]
        assert (2, True) == (len(written), all(samples <= 48 for *_, samples in written))

    def test_values_go_with_what_is_counted(self) -> None:
        """A call's outcome is a value too, told at once where it failed; others wait for the next flush, and come
        through a table that was down."""

        async def story(world: World) -> list[list[tuple[str, float]]]:
            local = Local(world, BUSY)
            local.bad()
            await asyncio.sleep(0.01)
            local.bad(failure=RateLimited("later"))
            local.good()
            local.measured("lead", (Sample("latency", 0.5, NOW), Sample("tokens", 7.0, NOW, "route:chat")))
            world.table.down = True
            await asyncio.sleep(1)
            world.table.down = False
            local.good()
            await asyncio.sleep(1)
            return [[tuple(one[:2]) for one in seen["samples"]] for seen in observations(world)]

        first = [("errors", 1.0)]
        assert [first, [("errors", 0.0), ("latency", 0.5), ("tokens", 7.0), ("errors", 0.0)]] == play(story)

    def test_what_cannot_be_written_is_kept(self) -> None:
        """Counts whose write failed are written a little later, whether or not there are further calls."""

        async def story(world: World) -> list[int]:
            local = Local(world, BUSY)
            world.table.down = True
            local.bad()
            await local.settle(2)
            world.table.down = False
            await asyncio.sleep(1.1)
            local.bad()
            await local.settle(2)
            return [seen["failures"] for seen in observations(world)]

        assert [1, 1] == play(story)

    def test_one_write_at_a_time(self) -> None:
        """What a slow table has not taken yet is not written beside it: it becomes one observation as soon
        as the table has."""

        async def story(world: World) -> list[int]:
            local = Local(world, BUSY)
            world.table.delay = 5.0
            for _ in range(4):
                local.bad()
                await asyncio.sleep(1)
            under_way = world.table.calls.count("put")
            await asyncio.sleep(2)
            local.bad()
            await local.settle(10)
            return [under_way, *(seen["failures"] for seen in observations(world))]

        assert [1, 1, 3, 1] == play(story)

    def test_a_probe_is_told_alone(self) -> None:
        """The outcome of a probe is an observation of its own, marked as one, beside that of the traffic."""

        async def story(world: World) -> list[tuple[str, int]]:
            local = Local(world)
            local.good(3)
            local.succeeded(LEAD, 0.1, gap=0, seconds=0.5, probe=True)
            await asyncio.sleep(11)
            local.good()
            await local.settle(2)
            return sorted((seen["source"], seen["ok"]) for seen in observations(world))

        assert [("probe", 1), ("traffic", 4)] == play(story)

    def test_calls_are_told_with_their_beginning(self) -> None:
        """The fleet learns when the calls began, not only when they ended."""

        async def story(world: World) -> list[tuple[float, float]]:
            local = Local(world, BUSY)
            local.good(seconds=9)
            local.bad(seconds=2)
            await asyncio.sleep(1)
            return [(NOW - seen["last_ok_at"], NOW - seen["failing_since"]) for seen in observations(world)]

        assert [(9.0, 2.0)] == play(story)


class TestOpening:
    @pytest.mark.parametrize(
        ("fleet", "shares", "seconds"),
        [(None, [1.0, 0.0], 8.5), (BUSY, [1.0, 1.0, 1.0, 1.0, 0.0], 2.0)],
        ids=["quiet: the second in a row", "busy: the fifth in a row"],
    )
    def test_failures_in_a_row_open_here_and_everywhere(
        self, fleet: Health | None, shares: list[float], seconds: float
    ) -> None:
        """The environment stops calling at once, and the fleet's item says open with the same end."""

        async def story(world: World) -> tuple[list[float], str, float]:
            local = Local(world, fleet)
            actual = []
            for _ in shares:
                local.bad()
                actual.append(local.share)
            await local.settle(2)
            return actual, fleet_breaker(world).state, fleet_breaker(world).until - NOW

        assert (shares, "open", seconds) == play(story)

    def test_a_refused_credential_opens_at_once_and_tells_the_fleet(self) -> None:
        """One refused credential takes the target out here and everywhere, and says that the key is the cause."""

        async def story(world: World) -> tuple[float, str, float, bool, str]:
            local = Local(world, BUSY)
            local.bad(failure=Credential("401"))
            share = local.share
            await local.settle(2)
            health = world.store.health(["lead"])["lead"]
            breaker = health.breaker
            return share, breaker.state, breaker.until - NOW, health.credential_failed, health.last_failure

        assert (0.0, "open", 8.5, True, "credential: 401") == play(story)

    def test_fifty_environments_open_one_breaker_once(self) -> None:
        """However many environments see the outage at the same moment, the fleet's breaker is opened once."""

        async def story(world: World) -> tuple[int, int]:
            environments = [Local(world) for _ in range(50)]
            for local in environments:
                local.bad(2)
            await asyncio.gather(*(local.settle(2) for local in environments))
            return world.store.health(["lead"])["lead"].rev, fleet_breaker(world).opens

        assert (1, 1) == play(story)

    def test_an_opening_outlives_a_rival_write(self) -> None:
        """Where somebody else writes the item first, the opening is told on top of that."""

        async def story(world: World) -> tuple[int, str, int]:
            local = Local(world)
            world.table.before_put = lambda: world.store.put_health(Health("lead", evaluations=9))
            local.bad(2)
            await local.settle(2)
            health = world.store.health(["lead"])["lead"]
            return health.rev, health.state, health.evaluations

        assert (2, "open", 0) == play(story)

    def test_it_never_shortens_what_the_fleet_knows(self) -> None:
        """An environment that has not heard of the openings before counts as their next: `until` does not move back."""

        async def story(world: World) -> tuple[int, float, float]:
            known = Breaker(changed_at=NOW - 1, until=NOW + 30, opens=4, down_since=NOW - 300)
            world.store.put_health(Health("lead", known))
            local = Local(world)
            local.bad(2)
            await local.settle(2)
            breaker = fleet_breaker(world)
            return breaker.opens, breaker.until - NOW, NOW - breaker.down_since

        assert (5, 30.0, 300.0) == play(story)

    @pytest.mark.parametrize("state", ["open", "half_open"])
    def test_an_opening_that_the_fleet_knows_is_not_told_again(self, state: Any) -> None:
        """Where the fleet's breaker is not closed any more, nothing is written but the observation."""

        async def story(world: World) -> tuple[int, str]:
            world.store.put_health(replace(OPEN, breaker=replace(OPEN.breaker, state=state)))
            local = Local(world)
            local.bad(2)
            await local.settle(2)
            return world.store.health(["lead"])["lead"].rev, fleet_breaker(world).state

        assert (1, state) == play(story)

    def test_it_follows_the_fleet_and_then_its_own_later_knowledge(self) -> None:
        """What the fleet knows is taken over; what this environment saw later is not overwritten by older news."""

        async def story(world: World) -> list[float]:
            theirs, mine = Local(world), Local(world)
            theirs.bad(2)
            await theirs.settle(2)
            shares = [mine.share]
            mine.adopt(SETTINGS, world.store.health(["lead"]))
            shares.append(mine.share)
            theirs.adopt(SETTINGS, {"lead": Health("lead")})
            return [*shares, theirs.share]

        assert [1.0, 0.0, 0.0] == play(story)

    @pytest.mark.parametrize(
        ("failures", "words"),
        [
            ([BOOM], ""),
            (
                [BOOM, Silent("late")],
                "its breaker opened for 8.5 s: 2 failures in a row on little traffic, the last: silent: late",
            ),
            ([Credential("401")], "its breaker opened for 8.5 s: credential: 401"),
            ([RateLimited("wait", retry_after=12)], "benched for 12.0 s, as it asked"),
            ([RateLimited("wait")], ""),
        ],
    )
    def test_it_says_what_a_failure_did(self, failures: list[AttemptFailed], words: str) -> None:
        """The decision log hears in words that a failure opened the breaker or benched the target."""

        async def story(world: World) -> str:
            local = Local(world)
            return [local.bad(failure=failure) for failure in failures][-1]

        assert words == play(story)


class TestBench:
    def test_a_bench_lasts_until_the_latest_hint(self) -> None:
        """A shorter wait that is told later does not end a longer one."""

        async def story(world: World) -> list[float]:
            local = Local(world)
            local.bad(failure=RateLimited("slow down", retry_after=30))
            local.bad(failure=RateLimited("slow down", retry_after=3))
            shares = []
            for _ in range(3):
                shares.append(local.share)
                await asyncio.sleep(15.5)
            return shares

        assert [0.0, 0.0, 1.0] == play(story)

    @pytest.mark.parametrize(
        ("failure", "share"),
        [
            (RateLimited("wait", retry_after=60), 0.0),
            (RateLimited("wait"), 1.0),
            (Overloaded("busy", retry_after=60), 1.0),
        ],
    )
    def test_only_a_rate_limit_with_a_hint_benches(self, failure: AttemptFailed, share: float) -> None:
        """A rate limit with a hint takes the target out without touching its breaker, and the fleet hears of it."""

        async def story(world: World) -> tuple[float, list[float], dict[str, Health]]:
            local = Local(world)
            local.bad(failure=failure)
            await local.settle(2)
            benched = [seen["benched_until"] for seen in observations(world)]
            return local.share, benched, dict(world.store.health(["lead"]))

        assert (share, [NOW + 60 if share == 0 else 0.0], {}) == play(story)

    def test_it_keeps_a_bench_that_the_fleet_told(self) -> None:
        """A bench is taken over from the fleet, and older news do not end it."""

        async def story(world: World) -> list[float]:
            local = Local(world, Health("lead", benched_until=NOW + 9))
            before = local.share
            local.adopt(SETTINGS, {"lead": Health("lead")})
            return [before, local.share]

        assert [0.0, 0.0] == play(story)
