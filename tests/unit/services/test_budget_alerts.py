"""A budget that is almost spent is told once for each day or month, and once more when requests are refused."""

from __future__ import annotations

from decimal import Decimal

from tests.limited import Environment, limited
from tests.unit.services.environments import play
from tests.unit.services.worlds import NOW, World
from understudy.incidents.incident import Incident
from understudy.incidents.wording import notice
from understudy.ports import Charge, Token
from understudy.services.budget_alerts import end_those_over

DAY = 86400.0
KEY = limited(usd_per_day=Decimal(1))


def environment(world: World, name: str = "one") -> Environment:
    return Environment(world.store, world.clock, name, log=world.log)


def spend(world: World, usd: str, number: int = 1) -> None:
    """Somebody else spends, now."""
    charges = [Charge("traffic", "chat", "x", Decimal(usd))]
    world.store.charge(KEY.account, charges, Token("other", number), world.clock())


def told(world: World) -> Incident | None:
    return world.store.incident("key:app", "budget")


def test_below_four_fifths_nobody_is_told() -> None:
    """What is spent up to there is what the budget is for."""

    async def story(world: World) -> Incident | None:
        spend(world, "0.65")
        await environment(world).ask(KEY)
        return told(world)

    assert None is play(story)


def test_at_four_fifths_it_is_told_once_by_the_whole_fleet() -> None:
    """However many environments see it, with who answers for the key and what was spent."""

    async def story(world: World) -> Incident | None:
        spend(world, "0.8")
        for n in range(5):
            await environment(world, f"e{n}").ask(KEY, tokens=0)
        return told(world)

    found = play(story)
    assert found is not None
    assert ("open", "warning", 1, "team a") == (found.status, found.severity, found.notices, found.facts["owner"])
    assert 1 == found.rev, "who sees it next writes nothing"
    assert "[warning] Key app has spent most of its budget" == notice(found).subject
    assert "`understudy keys set app --usd-per-day USD`" in notice(found).text


def test_the_request_that_takes_it_past_four_fifths_tells_it() -> None:
    """A key that is not used again is told of as well."""

    async def story(world: World) -> Incident | None:
        spend(world, "0.75")
        await environment(world).ask(KEY)
        return told(world)

    assert play(story) is not None


def test_that_requests_are_refused_is_told_once_more() -> None:
    """The same incident becomes critical."""

    async def story(world: World) -> Incident | None:
        one = environment(world)
        spend(world, "0.8")
        await one.ask(KEY)
        spend(world, "0.3", 2)
        for _ in range(3):
            await one.ask(KEY)
        return told(world)

    found = play(story)
    assert found is not None
    assert ("critical", 2) == (found.severity, found.notices)
    assert "[critical] Key app has spent its budget (still" in notice(found).subject


def test_it_ends_with_its_day_and_begins_anew() -> None:
    """Whether or not the key is used; the next day has an incident of its own."""

    async def story(world: World) -> tuple[int, int, str, str, float]:
        one = environment(world)
        spend(world, "0.8")
        await one.ask(KEY)
        early = end_those_over(world.store, world.clock())
        world.clock.now += DAY
        ended = end_those_over(world.store, world.clock())
        first = told(world)
        spend(world, "0.8", 2)
        await one.ask(KEY)
        second = told(world)
        assert first is not None and second is not None
        return early, ended, first.status, second.status, second.opened_at - first.opened_at

    early, ended, first, second, between = play(story)
    assert (0, 1, "resolved", "open", True) == (early, ended, first, second, between >= DAY)


def test_a_month_is_told_beside_its_day() -> None:
    """Another budget of the same key is news of the same incident, which lasts as long as one of them."""
    key = limited(usd_per_day=Decimal(1), usd_per_month=Decimal("1.1"))

    async def story(world: World) -> tuple[list[tuple[int, list[str]]], list[int]]:
        one, seen = environment(world), []
        for number, usd in enumerate(("0.82", "0.07")):
            spend(world, usd, number + 1)
            await one.ask(key, tokens=0)
            found = told(world)
            assert found is not None
            seen.append((found.notices, [name for name in found.facts if name != "owner"]))
        return seen, [end_those_over(world.store, NOW + days * DAY) for days in (1, 31)]

    assert ([(1, ["day"]), (2, ["day", "month"])], [0, 1]) == play(story)


def test_a_table_that_is_down_costs_no_answer_and_the_next_request_tells() -> None:
    """What could not be told is told when it can be."""

    async def story(world: World) -> tuple[bool, Incident | None, Incident | None]:
        one = environment(world)
        spend(world, "0.8")
        world.table.refused = "key:"
        first = await one.ask(KEY, tokens=0)
        missing = told(world)
        world.table.refused = None
        await one.ask(KEY, tokens=0)
        return first.refused is None, missing, told(world)

    answered, missing, found = play(story)
    assert (True, None, True) == (answered, missing, found is not None)
