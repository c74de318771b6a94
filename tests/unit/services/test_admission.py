"""What the limits of a client key do: rates, requests at a time, budgets, and a table that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.limited import PROMPT, Asked, Environment, Overshoot, crowd, limited
from tests.unit.services.environments import play
from tests.unit.services.worlds import NOW, World
from understudy.errors import QuotaExceeded, RateExceeded
from understudy.keys import ClientKey
from understudy.ports import Charge, Token
from understudy.services.admission import DISTRUST

MINUTE_LEFT = 60 - NOW % 60
"""Seconds that the minute of NOW has left."""


def environment(world: World, name: str = "one", *, skew: float = 0.0) -> Environment:
    """One whose clock is wrong by `skew` seconds."""
    return Environment(world.store, lambda: world.clock() + skew, name, log=world.log)


def outcomes(asked: Sequence[Asked]) -> list[str]:
    """The code of each refusal, or ok."""
    return [str(one.refused.code) if one.refused else "ok" for one in asked]


async def in_turn(one: Environment, client: ClientKey, times: int, **named: Any) -> list[Asked]:
    return [await one.ask(client, **named) for _ in range(times)]


def spend(world: World, client: ClientKey, usd: str, *, at: float = NOW, number: int = 1) -> None:
    """Somebody else spends."""
    world.store.charge(client.account, [Charge("traffic", "chat", "x", Decimal(usd))], Token("other", number), at)


class TestRates:
    def test_a_key_without_limits_pays_nothing(self) -> None:
        """Neither a call to the table nor a ticket."""

        async def story(world: World) -> tuple[list[str], dict[str, str]]:
            told = await environment(world).ask(ClientKey("b" * 64, "free", 0.0))
            return [call for call in world.table.calls if call != "add_once"], told.headers

        assert ([], {}) == play(story)

    def test_the_fleet_together_makes_the_requests_of_a_minute(self) -> None:
        """Of many environments that ask at once as many get through as the limit says, and not one more."""

        async def story(world: World) -> list[str]:
            world.table.delay = 0.005
            fleet = [environment(world, f"e{n}") for n in range(50)]
            return outcomes(await asyncio.gather(*(one.ask(limited(requests_per_minute=20)) for one in fleet)))

        found = play(story)
        assert (20, 30) == (found.count("ok"), found.count("rate_limit_exceeded"))

    def test_a_new_minute_gives_new_requests(self) -> None:
        """The refusal says how long to wait; after that the next request is answered."""

        async def story(world: World) -> tuple[list[str], float, list[str]]:
            one, client = environment(world), limited(requests_per_minute=2)
            asked = await in_turn(one, client, 3)
            refused = asked[2].refused
            assert isinstance(refused, RateExceeded)
            await asyncio.sleep(refused.wait)
            return outcomes(asked), round(refused.wait, 3), outcomes(await in_turn(one, client, 1))

        assert (["ok", "ok", "rate_limit_exceeded"], round(MINUTE_LEFT - 2, 3), ["ok"]) == play(story)

    def test_what_is_known_to_be_used_up_is_refused_without_a_call(self) -> None:
        """Neither the table nor a provider is asked once this environment knows."""

        async def story(world: World) -> tuple[int, bool]:
            one, client = environment(world), limited(requests_per_minute=1)
            await in_turn(one, client, 2)
            before = len(world.table.calls)
            told = await one.ask(client)
            return len(world.table.calls) - before, told.called

        assert (0, False) == play(story)

    def test_tokens_of_prompts_and_answers_count(self) -> None:
        """A minute ends for a key with the request that takes its last tokens, whose answer it still gets."""

        async def story(world: World) -> tuple[list[str], dict[str, str]]:
            asked = await in_turn(environment(world), limited(tokens_per_minute=250), 4, tokens=100 - PROMPT)
            return outcomes(asked), asked[1].headers

        told, headers = play(story)
        assert ["ok", "ok", "ok", "rate_limit_exceeded"] == told
        assert ("250", "148") == (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"])

    def test_what_is_left_is_told_with_the_answer(self) -> None:
        """In the headers that OpenAI's clients know; the refusal says that nothing is left."""

        async def story(world: World) -> list[dict[str, str]]:
            asked = await in_turn(environment(world), limited(requests_per_minute=2), 3)
            refused = asked[2].refused
            assert isinstance(refused, RateExceeded)
            return [asked[0].headers, asked[1].headers, refused.headers]

        left = [round(MINUTE_LEFT) - seconds for seconds in (0, 1, 2)]
        assert [
            {
                "x-ratelimit-limit-requests": "2",
                "x-ratelimit-remaining-requests": str(2 - number - 1 if number < 2 else 0),
                "x-ratelimit-reset-requests": f"{seconds}s",
            }
            for number, seconds in enumerate(left)
        ] == play(story)

    @pytest.mark.parametrize("skew", [-3.0, 3.0])
    def test_clocks_that_differ_give_no_minute_twice(self, skew: float) -> None:
        """Around the beginning of a minute each request counts for one minute, as its own environment's clock says."""

        async def story(world: World) -> tuple[int, int]:
            client = limited(requests_per_minute=5)
            await asyncio.sleep(MINUTE_LEFT - 2)
            fleet = [environment(world, f"e{n}", skew=skew if n % 2 else 0.0) for n in range(40)]
            asked = await asyncio.gather(*(one.ask(client) for one in fleet))
            minutes = {int((NOW + MINUTE_LEFT - 2 + by) // 60) for by in (0.0, skew)}
            return outcomes(asked).count("ok"), len(minutes)

        answered, minutes = play(story)
        assert 5 * minutes == answered


class TestConcurrency:
    def test_so_many_requests_at_a_time_and_no_more(self) -> None:
        """Over the whole fleet; who comes when a place is free gets it."""

        async def story(world: World) -> list[str]:
            world.table.delay = 0.005
            client, fleet = limited(concurrent=3), [environment(world, f"e{n}") for n in range(10)]
            first = await asyncio.gather(*(one.ask(client) for one in fleet))
            await asyncio.sleep(0.1)
            return [*sorted(outcomes(first)), *outcomes([await fleet[9].ask(client)])]

        assert ["ok"] * 3 + ["rate_limit_exceeded"] * 7 + ["ok"] == play(story)

    def test_the_place_of_a_crashed_environment_becomes_free(self) -> None:
        """Nobody says that its request has ended, so the place is free when the request's own time is over."""

        async def story(world: World) -> list[str]:
            client, other = limited(concurrent=1), environment(world, "other")
            await environment(world).ask(client, crashes=True)
            told = [await other.ask(client)]
            await asyncio.sleep(120 + 60 + 60)
            return outcomes([*told, await other.ask(client)])

        assert ["rate_limit_exceeded", "ok"] == play(story)

    def test_a_refused_request_takes_no_place(self) -> None:
        """However often it is refused, the place that becomes free is there for the next one."""

        async def story(world: World) -> list[str]:
            client, one, other = limited(concurrent=1), environment(world), environment(world, "other")
            running = asyncio.create_task(one.ask(client))
            await asyncio.sleep(0.1)
            refused = [await other.ask(client) for _ in range(5)]
            await running
            await asyncio.sleep(0.1)
            return outcomes([*refused, await other.ask(client)])

        assert ["rate_limit_exceeded"] * 5 + ["ok"] == play(story)

    def test_a_request_whose_end_nobody_tells_keeps_no_place_for_ever(self) -> None:
        """Neither here nor in the table."""

        async def story(world: World) -> list[str]:
            client, one = limited(concurrent=1, usd_per_day=Decimal(1)), environment(world)
            told = [await one.ask(client, crashes=True), await one.ask(client)]
            await asyncio.sleep(240)
            return outcomes([*told, await one.ask(client)])

        assert ["ok", "rate_limit_exceeded", "ok"] == play(story)


class TestBudgets:
    @pytest.mark.parametrize("period", ["usd_per_day", "usd_per_month"])
    def test_a_spent_budget_stops_requests(self, period: str) -> None:
        """The request that spends the rest is answered, the next one is refused and no provider asked."""

        async def story(world: World) -> list[Asked]:
            return await in_turn(environment(world), limited(**{period: Decimal("0.25")}), 4)

        asked = play(story)
        assert ["ok", "ok", "ok", "insufficient_quota"] == outcomes(asked)
        assert (False, True) == (asked[3].called, isinstance(asked[3].refused, QuotaExceeded))

    @pytest.mark.parametrize(
        ("period", "days", "last"),
        [("usd_per_day", 1, "ok"), ("usd_per_month", 1, "insufficient_quota"), ("usd_per_month", 31, "ok")],
    )
    def test_a_new_day_has_a_new_budget(self, period: str, days: int, last: str) -> None:
        """And a new month; what was spent before is no longer counted, nor lost within the month."""

        async def story(world: World) -> list[str]:
            one, client = environment(world), limited(**{period: Decimal("0.10")})
            first = await in_turn(one, client, 2)
            await asyncio.sleep(86400 * days)
            return outcomes([*first, await one.ask(client)])

        assert ["ok", "insufficient_quota", last] == play(story)

    def test_a_raised_budget_counts_at_once(self) -> None:
        """What was refused for a smaller one is answered."""

        async def story(world: World) -> list[str]:
            one = environment(world)
            asked = await in_turn(one, limited(usd_per_day=Decimal("0.1")), 2)
            return outcomes([*asked, await one.ask(limited(usd_per_day=Decimal("0.5")))])

        assert ["ok", "insufficient_quota", "ok"] == play(story)

    def test_one_environment_spends_the_last_cent_once(self) -> None:
        """Requests at the same time in one environment count at what they may cost at most, before they have cost."""

        async def story(world: World) -> list[Asked]:
            one, client = environment(world), limited(usd_per_day=Decimal("0.35"))
            return list(await asyncio.gather(*(one.ask(client, longest=98) for _ in range(10))))

        asked = play(story)
        assert (4, 6) == (outcomes(asked).count("ok"), outcomes(asked).count("rate_limit_exceeded"))
        assert Decimal("0.4") == sum(one.usd for one in asked)

    def test_what_is_not_written_yet_counts_here(self) -> None:
        """Money that an environment has spent and the ledger does not know of is not spent again."""

        async def story(world: World) -> list[str]:
            one = environment(world)
            one.mute = True
            return outcomes(await in_turn(one, limited(usd_per_day=Decimal("0.25")), 4))

        assert ["ok", "ok", "ok", "insufficient_quota"] == play(story)

    def test_a_rotated_key_goes_on_with_the_budget_of_the_old_one(self) -> None:
        """Rotation is no way to new money."""

        async def story(world: World) -> list[str]:
            one, old = environment(world), limited(usd_per_day=Decimal("0.1"))
            new = ClientKey("b" * 64, old.name, NOW, limits=old.limits, replaces=old.hash, line=old.account)
            return outcomes([await one.ask(old), await one.ask(new)])

        assert ["ok", "insufficient_quota"] == play(story)

    @pytest.mark.parametrize("skew", [-3.0, 3.0])
    def test_clocks_that_differ_spend_no_money_twice(self, skew: float) -> None:
        """Around midnight each charge counts for one day, and each day's budget holds but for one request each."""

        async def story(world: World) -> tuple[Decimal, list[Decimal]]:
            client, until = limited(usd_per_day=Decimal("0.5")), 86400 - NOW % 86400
            await asyncio.sleep(until - 6)
            fleet = [environment(world, f"e{n}", skew=skew if n % 2 else 0.0) for n in range(4)]

            async def busy(one: Environment) -> None:
                while world.clock() < NOW + until + 6:
                    if (await one.ask(client)).refused:
                        await asyncio.sleep(0.5)

            await asyncio.gather(*map(busy, fleet))
            paid = sum((one.usd for each in fleet for one in each.asked), Decimal(0))
            return paid, [world.store.spent(client.account, NOW + until + by).day for by in (-1, 1)]

        paid, days = play(story)
        assert paid == sum(days)
        assert [True, True] == [Decimal("0.5") <= day <= Decimal("0.5") + 4 * Decimal("0.1") for day in days]

    def test_where_much_is_left_nobody_waits_for_the_table(self) -> None:
        """A provider is asked at once, and what the table says awaited before the caller gets a word."""

        async def story(world: World) -> list[float]:
            world.table.delay = 0.01
            asked = await in_turn(environment(world), limited(usd_per_day=Decimal(1000)), 3)
            return [one.waited for one in asked]

        # The first request of an environment knows nothing yet.
        first, *others = play(story)
        assert (True, [0.0, 0.0]) == (first > 0, others)

    def test_a_budget_that_is_spent_meanwhile_breaks_off_the_call(self) -> None:
        """What others have spent since the last look is found out while the provider thinks."""

        async def story(world: World) -> Asked:
            one, client = environment(world), limited(usd_per_day=Decimal(1000))
            await one.ask(client)
            spend(world, client, "1000")
            return await one.ask(client)

        told = play(story)
        assert ("insufficient_quota", True, Decimal(PROMPT) / 1000) == (*outcomes([told]), told.called, told.usd)


@pytest.mark.parametrize("usd", [2, 40])
def test_fifty_environments_overshoot_a_budget_by_one_request_each_at_most(usd: int) -> None:
    """A hard budget holds but for what was under way when it was used up, whether or not much was left at first; nobody
    begins a call once the ledger has all of it."""

    async def story(world: World) -> Overshoot:
        world.table.delay = 0.005
        return await crowd(world.store, world.clock, Decimal(usd), 50)

    found = play(story)
    assert (True, 0, 0) == (Decimal(0) <= found.usd <= 50 * found.dearest, found.after, found.broken)


class TestBadTable:
    """What holds when the table answers late or never."""

    async def known(self, world: World, client: ClientKey, times: int = 1) -> Environment:
        one = environment(world)
        await in_turn(one, client, times)
        return one

    @pytest.mark.parametrize("how", ["down", "slow"])
    def test_rates_are_held_by_what_is_counted_here(self, how: str) -> None:
        """An environment alone never gives more than the whole limit."""

        async def story(world: World) -> tuple[list[str], bool]:
            client = limited(requests_per_minute=5)
            one = await self.known(world, client)
            world.table.down, world.table.delay = how == "down", 30.0 if how == "slow" else 0.0
            asked = await in_turn(one, client, 6)
            failed = [m for _, line in world.log.lines for m in line.get("metrics", ()) if m.by == "service"]
            return outcomes(asked), bool(failed)

        assert (["ok"] * 4 + ["rate_limit_exceeded"] * 2, True) == play(story)

    def test_money_is_held_by_the_last_look_and_what_was_spent_here(self) -> None:
        """The budget of an environment that cannot ask ends where its own spending has used up what it knew of."""

        async def story(world: World) -> list[str]:
            client = limited(usd_per_day=Decimal("0.5"))
            spend(world, client, "0.2")
            one = await self.known(world, client)
            world.table.down = True
            return outcomes(await in_turn(one, client, 4))

        assert ["ok", "ok", "insufficient_quota", "insufficient_quota"] == play(story)

    def test_what_is_known_to_be_spent_stays_refused(self) -> None:
        """A dead table opens no door."""

        async def story(world: World) -> list[str]:
            client = limited(usd_per_day=Decimal("0.1"))
            one = await self.known(world, client, 2)
            world.table.down = True
            return outcomes(await in_turn(one, client, 1))

        assert ["insufficient_quota"] == play(story)

    def test_what_may_count_twice_keeps_nobody_out_for_long(self) -> None:
        """A look at the ledger while a charge may not be written counts it on both sides, until the next look."""

        class Doubtful(Environment):
            doubt = False

            async def _written(self, account: str, patience: float) -> bool:
                return await super()._written(account, patience) and not self.doubt

        async def story(world: World) -> tuple[list[str], int]:
            one, client = Doubtful(world.store, world.clock, log=world.log), limited(usd_per_month=Decimal("1"))
            told = [await one.ask(client, tokens=598)]
            one.doubt = True
            told.append(await one.ask(client))
            one.doubt = False
            await asyncio.sleep(DISTRUST)
            told.append(await one.ask(client))
            return outcomes(told), len(world.store.incidents())

        assert (["ok", "insufficient_quota", "ok"], 0) == play(story)

    def test_nobody_waits_long_for_a_slow_table(self) -> None:
        """The first request waits a quarter of a second, those after it not at all."""

        async def story(world: World) -> list[float]:
            client = limited(usd_per_day=Decimal("1"))
            one = await self.known(world, client)
            world.table.delay = 60.0
            return [told.waited for told in await in_turn(one, client, 3)]

        assert [0.25, 0.0, 0.0] == play(story)
