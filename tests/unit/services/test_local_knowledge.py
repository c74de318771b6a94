"""What an environment knows of how targets do, and when it has reason to ask the fleet."""

import asyncio

import pytest

from tests.unit.services.environments import BUSY, LEAD, Local, play
from tests.unit.services.worlds import NOW, World
from understudy.errors import RateLimited
from understudy.health.breaker import Breaker
from understudy.health.item import Health
from understudy.health.latency import Histogram, bucket


class TestKnowing:
    FLEET = Health("lead", first_tokens=((bucket(8.0), 400.0),), gaps=((bucket(4.0), 400.0),))

    @pytest.mark.parametrize(("answers", "alone"), [(0, False), (19, False), (20, True)])
    def test_its_own_times_count_alone_as_soon_as_they_are_enough(self, answers: int, alone: bool) -> None:
        """Below twenty answers of its own the fleet's count too; from then on only those seen here."""

        async def story(world: World) -> tuple[Histogram, Histogram]:
            local = Local(world, self.FLEET)
            local.good(answers, first_token=0.2, gap=0.1)
            return local.first_tokens(LEAD), local.gaps(LEAD)

        mine = [((bucket(seconds), float(answers)),) if answers else () for seconds in (0.2, 0.1)]
        both = [a + b for a, b in zip(mine, (self.FLEET.first_tokens, self.FLEET.gaps), strict=True)]
        assert tuple(mine if alone else both) == play(story)

    def test_what_nobody_has_seen_is_empty(self) -> None:
        """Without an answer here or elsewhere nothing is known."""

        async def story(world: World) -> tuple[Histogram, Histogram]:
            local = Local(world)
            return local.first_tokens(LEAD), local.gaps(LEAD)

        assert ((), ()) == play(story)

    def test_answers_in_one_piece_say_nothing_about_silences(self) -> None:
        """An answer without a pause is no evidence of short ones."""

        async def story(world: World) -> tuple[Histogram, Histogram]:
            local = Local(world)
            local.good(30, first_token=0.2)
            return local.first_tokens(LEAD), local.gaps(LEAD)

        assert (((bucket(0.2), 30.0),), ()) == play(story)

    def test_a_failure_stands_alone_after_a_good_call(self) -> None:
        """A first failure is a blip; a second one, or one of an open target, is not."""

        async def story(world: World) -> list[bool]:
            busy, quiet = Local(world, BUSY), Local(world)
            alone = []
            for local in (busy, busy, quiet, quiet):
                local.bad()
                alone.append(local.alone(LEAD))
            busy.good()
            busy.bad()
            return [*alone, busy.alone(LEAD)]

        assert [True, False, True, False, True] == play(story)


class TestDoubt:
    def test_a_healthy_environment_is_in_no_doubt(self) -> None:
        """Good calls and healthy targets give no reason to ask more often."""

        async def story(world: World) -> bool:
            local = Local(world, Health("lead"))
            local.good(5)
            return local.in_doubt

        assert not play(story)

    def test_a_failure_is_doubted_for_two_seconds(self) -> None:
        """After any failure news are to be expected for a moment."""

        async def story(world: World) -> list[bool]:
            local = Local(world)
            local.bad(failure=RateLimited("wait"))
            doubts = [local.in_doubt]
            for _ in range(2):
                await asyncio.sleep(1.5)
                doubts.append(local.in_doubt)
            return doubts

        assert [True, True, False] == play(story)

    @pytest.mark.parametrize(
        ("breaker", "doubt"),
        [
            (Breaker("open", changed_at=NOW - 1, until=NOW + 7.5, opens=1), True),
            (Breaker("open", changed_at=NOW - 3, until=NOW + 5.5, opens=1), False),
            (Breaker("open", changed_at=NOW - 9, until=NOW - 0.5, opens=1), True),
            (Breaker("half_open", changed_at=NOW - 3, until=NOW - 4, opens=1), True),
            (Breaker(changed_at=NOW - 1, until=NOW - 2, opens=1), True),
            (Breaker(changed_at=NOW - 3, until=NOW - 4, opens=1), False),
        ],
    )
    def test_news_are_due_after_a_transition_and_while_a_recovery_is(self, breaker: Breaker, doubt: bool) -> None:
        """A breaker that has just changed is doubted, and one whose open time is over; not one that must wait."""

        async def story(world: World) -> bool:
            return Local(world, Health("lead", breaker)).in_doubt

        assert doubt == play(story)
