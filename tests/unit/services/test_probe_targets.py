"""Which targets are probed when, how often, and what is told of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from tests.unit.services.environments import observations, play
from tests.unit.services.probing import Provider, minute, prober
from tests.unit.services.worlds import DOCUMENT, NOW, LoopClock, World
from tests.virtual import run
from understudy.chat.unary import UnaryRequest
from understudy.errors import CallerFault, Credential, RateLimited, Refusal, SecretError, Transient, UnderstudyError
from understudy.health.breaker import Breaker
from understudy.health.item import Health
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

BOOM = Transient("boom")
T = TypeVar("T")


def opened(until: float, **fields: Any) -> Health:
    """The lead, opened 4 s before `until`; seconds from NOW."""
    breaker = Breaker("open", changed_at=NOW + until - 4, until=NOW + until, opens=1, down_since=NOW - 4, **fields)
    return Health("lead", breaker)


def play_with(document: str, story: Callable[[World], Awaitable[T]]) -> T:
    """The end of a story in virtual time, with a document of its own."""

    async def told() -> T:
        return await story(World(LoopClock(), document))

    return run(told())


class TestRecovery:
    @pytest.mark.parametrize(
        ("until", "slept", "asked"),
        [(-1.0, [], 2), (0.0, [], 2), (0.9, [0.9], 2), (1.5, [1.5], 2), (1.6, [], 0), (30.0, [], 0)],
    )
    def test_a_message_that_comes_a_little_early_waits(self, until: float, slept: list[float], asked: int) -> None:
        """The queue delays by whole seconds: a message that is early by less waits for the end of the open time, one
        that is far too early is passed over."""

        async def story() -> tuple[list[float], int]:
            world, provider, waits = World(), Provider(), []
            world.store.put_health(opened(until))

            async def sleep(seconds: float) -> None:
                waits.append(round(seconds, 6))
                world.clock.now += seconds

            await prober(world, provider, sleep).recover("lead")
            return waits, len(provider.asked)

        assert (slept, asked) == run(story())

    def test_it_asks_as_often_as_closing_takes_under_one_lease(self) -> None:
        """Two good answers in a row are one observation, written once, after one lease."""

        async def story(world: World) -> tuple[list[str], list[tuple[Any, ...]], list[str]]:
            provider = Provider(seconds=0.25)
            world.store.put_health(opened(0))
            world.table.calls = []
            await prober(world, provider).recover("lead")
            fields = ("source", "ok", "failures", "at", "last_ok_at")
            seen = [tuple(one[name] for name in fields) for one in observations(world)]
            return provider.asked, seen, [call for call in world.table.calls if call == "put"]

        told = [("probe", 2, 0, NOW + 0.5, NOW + 0.25)]
        assert (["lead", "lead"], told, ["put", "put"]) == play(story)

    def test_a_target_that_only_embeds_is_asked_for_an_embedding(self) -> None:
        """A chat would be refused and prove nothing; one that does both is asked for the shorter answer, a chat."""

        async def story(world: World) -> list[str]:
            provider = Provider()
            world.store.put_health(opened(0))
            await prober(world, provider).recover("lead")
            return [one.operation if isinstance(one, UnaryRequest) else "chat" for one in provider.requests]

        model = "model: large"
        assert model in DOCUMENT
        for chats, expected in (("false", "embeddings"), ("true", "chat")):
            can = f"{model}, capabilities: {{embeddings: true, chat: {chats}}}"
            assert [expected] * 2 == play_with(DOCUMENT.replace(model, can, 1), story)

    @pytest.mark.parametrize("thinks", [False, True], ids=["plain", "reasoning"])
    @pytest.mark.parametrize("seconds", [8.0, 55.0, 1000.0])
    def test_a_probe_ends_before_its_lease(self, thinks: bool, seconds: float) -> None:
        """However slowly a target answers, the probe is over while its lease still keeps others away."""

        async def story(world: World) -> bool:
            world.store.put_health(opened(0))
            going = asyncio.create_task(prober(world, Provider(seconds=seconds)).recover("lead"))
            await asyncio.sleep(0.1)
            lease_until = world.store.health(["lead"])["lead"].breaker.lease_until
            await going
            return world.clock() < lease_until

        model = "model: large"
        thinking = f"{model}, capabilities: {{reasoning: true}}"
        assert play_with(DOCUMENT.replace(model, thinking, 1) if thinks else DOCUMENT, story)

    def test_it_asks_as_often_as_the_document_says(self) -> None:
        """The number of good answers that close a breaker is the document's."""

        async def story(world: World) -> int:
            provider = Provider()
            world.store.put_health(opened(0))
            await prober(world, provider).recover("lead")
            return len(provider.asked)

        assert 5 == play_with(DOCUMENT.replace("jitter: 0", "jitter: 0, successes_to_close: 5"), story)

    @pytest.mark.parametrize(
        ("outcomes", "asked", "told"), [([BOOM], 1, (0, 1)), ([None, BOOM], 2, (1, 1)), ([None, None, BOOM], 2, (2, 0))]
    )
    def test_the_first_bad_answer_ends_it(
        self, outcomes: list[UnderstudyError | None], asked: int, told: tuple[int, int]
    ) -> None:
        """A target that fails its probe is left alone at once, without a retry."""

        async def story(world: World) -> tuple[int, list[tuple[int, int]]]:
            provider = Provider(lead=outcomes)
            world.store.put_health(opened(0))
            await prober(world, provider).recover("lead")
            return len(provider.asked), [(seen["ok"], seen["failures"]) for seen in observations(world)]

        assert (asked, [told]) == play(story)

    @pytest.mark.parametrize(("rivals", "asked"), [(1, 2), (4, 2), (5, 0)])
    def test_a_conflict_is_no_answer_about_the_lease(self, rivals: int, asked: int) -> None:
        """Late observations are folded into the item all the time: the lease is tried again, five times in all."""

        async def story(world: World) -> int:
            provider, left = Provider(), iter(range(1, rivals))
            world.store.put_health(opened(0))

            def rival() -> None:
                world.store.put_health(replace(world.store.health(["lead"])["lead"], score=0.5))
                if next(left, None) is not None:
                    world.table.before_put = rival

            world.table.before_put = rival
            await prober(world, provider).recover("lead")
            return len(provider.asked)

        assert asked == play(story)

    def test_a_rival_may_have_taken_the_lease(self) -> None:
        """Whoever finds after a conflict that somebody else probes, does not."""

        async def story(world: World) -> list[str]:
            provider = Provider()
            health = world.store.put_health(opened(0))
            held = replace(health, breaker=replace(health.breaker, lease_until=NOW + 30))
            world.table.before_put = lambda: world.store.put_health(held)
            await prober(world, provider).recover("lead")
            return provider.asked

        assert [] == play(story)

    def test_two_messages_give_one_probe(self) -> None:
        """A message that is delivered twice, to two environments at once, leads to one probe and one observation."""

        async def story(world: World) -> tuple[list[str], int]:
            provider = Provider(seconds=1.0)
            world.store.put_health(opened(0))
            await asyncio.gather(*(prober(world, provider).recover("lead") for _ in range(2)))
            return provider.asked, len(observations(world))

        assert (["lead", "lead"], 1) == play(story)

    @pytest.mark.parametrize(
        ("health", "probed"),
        [
            (None, False),
            (Health("lead", evaluations=3), False),
            (Health("lead", Breaker(changed_at=NOW - 1, opens=1), evaluations=2), True),
            (Health("lead", Breaker("half_open", changed_at=NOW - 1, until=NOW - 2, opens=1, successes=1)), True),
            (opened(0, lease_until=NOW + 5), True),
        ],
        ids=["unknown", "settled", "closed, not settled", "half open", "somebody probes"],
    )
    def test_it_goes_on_until_all_is_settled(self, health: Health | None, probed: bool) -> None:
        """There is something to do until the target has been good often enough, and nothing afterwards."""

        async def story(world: World) -> bool:
            if health is not None:
                world.store.put_health(health)
            return await prober(world, Provider()).recover("lead")

        assert probed == play(story)

    def test_a_closed_target_is_asked_once_and_without_a_lease(self) -> None:
        """After the recovery one answer is one evaluation."""

        async def story(world: World) -> tuple[list[str], int]:
            provider = Provider()
            world.store.put_health(Health("lead", Breaker(changed_at=NOW - 1, opens=1), evaluations=2))
            await prober(world, provider).recover("lead")
            return provider.asked, world.store.health(["lead"])["lead"].rev

        assert (["lead"], 1) == play(story)

    def test_a_target_that_is_gone_is_not_asked(self) -> None:
        """A message for a target that was taken out of the document, or without any document, does nothing."""

        async def story(world: World) -> tuple[bool, bool, list[str]]:
            provider = Provider()
            gone = await prober(world, provider).recover("gone")
            world.store = Store(MemoryTable())
            return gone, await prober(world, provider).recover("lead"), provider.asked

        assert (False, False, []) == play(story)


class TestOutcomes:
    @pytest.mark.parametrize(
        ("failure", "expected"),
        [
            (BOOM, {"ok": 0, "failures": 1, "last_failure": "transient: boom"}),
            (Credential("401"), {"ok": 0, "failures": 1, "credential": True}),
            (RateLimited("wait", retry_after=9), {"ok": 0, "failures": 0, "benched_until": NOW + 9}),
            (CallerFault("what?"), {"ok": 1, "failures": 0, "last_ok_at": NOW}),
            (Refusal("no"), {"ok": 1, "failures": 0, "last_ok_at": NOW}),
            (SecretError("there is no such secret"), {"ok": 0, "failures": 0, "by_kind": {}}),
        ],
    )
    def test_what_a_probe_says(self, failure: UnderstudyError, expected: dict[str, Any]) -> None:
        """A fault is a fault, a provider that does not like the question is alive, and a probe that could not be sent
        says nothing."""

        async def story(world: World) -> list[dict[str, Any]]:
            await minute(world, Provider(spare=[failure]))
            seen = world.table.query("target#spare", prefix="observation#")
            return [{name: item.body[name] for name in expected} for item in seen]

        assert [expected] == play(story)

    def test_a_provider_that_refuses_every_probe_is_well_again(self) -> None:
        """Two refused questions close a breaker like two answers."""

        async def story(world: World) -> list[int]:
            world.store.put_health(opened(0))
            await prober(world, Provider(lead=[CallerFault("what?")])).recover("lead")
            return [seen["ok"] for seen in observations(world)]

        assert [2] == play(story)

    def test_probes_are_told_with_their_beginning(self) -> None:
        """The fleet learns when a probe's call began, as with any other."""

        async def story(world: World) -> list[tuple[float, float]]:
            world.store.put_health(opened(0))
            await prober(world, Provider(seconds=3.0, lead=[BOOM])).recover("lead")
            return [(seen["failing_since"] - NOW, seen["at"] - NOW) for seen in observations(world)]

        assert [(0.0, 3.0)] == play(story)


TICKS = [
    ("never seen", None, 1),
    ("good a moment ago", Health("lead", last_ok_at=NOW - 54), 0),
    ("good almost a minute ago", Health("lead", last_ok_at=NOW - 55), 1),
    ("good a minute ago", Health("lead", last_ok_at=NOW - 60), 1),
    ("benched", Health("lead", last_ok_at=NOW - 600, benched_until=NOW + 1), 0),
    ("bench over", Health("lead", last_ok_at=NOW - 600, benched_until=NOW), 1),
    ("open", opened(1), 0),
    ("its message may still come", opened(-3.9), 0),
    ("its message was lost", opened(-4), 2),
    ("somebody probes", opened(-4, lease_until=NOW + 1), 0),
]


class TestSweep:
    @pytest.mark.parametrize(("health", "asked"), [t[1:] for t in TICKS], ids=[t[0] for t in TICKS])
    def test_only_what_nobody_else_proves_is_probed(self, health: Health | None, asked: int) -> None:
        """Recent good traffic, a bench, and a recovery that its own message sees to need no probe by the clock."""

        async def story(world: World) -> tuple[int, int]:
            provider = Provider()
            world.store.put_health(Health("spare", last_ok_at=NOW))
            if health is not None:
                world.store.put_health(health)
            return await minute(world, provider), provider.asked.count("lead")

        assert (min(asked, 1), asked) == play(story)

    def test_probes_are_observations(self) -> None:
        """The outcome of each probe is written as an observation that says it is one."""

        async def story(world: World) -> dict[str, list[tuple[str, int, int]]]:
            await minute(world, Provider(spare=[BOOM]))
            return {
                name: [
                    (i.body["source"], i.body["ok"], i.body["failures"])
                    for i in world.table.query(f"target#{name}", prefix="observation#")
                ]
                for name in ("lead", "spare")
            }

        assert {"lead": [("probe", 1, 0)], "spare": [("probe", 0, 1)]} == play(story)

    def test_a_target_that_no_route_may_use_is_not_probed(self) -> None:
        """A probe is an egress like any other: without a compliant route there is none."""
        document = DOCUMENT.replace(
            "{targets: [lead, spare]}", "{targets: [lead, spare], constraints: {no_training: true}}"
        )
        document = document.replace("model: small}", "model: small, data: {trains_on_data: false}}")

        async def story(world: World) -> list[str]:
            provider = Provider()
            world.store.put_health(opened(-4))
            await minute(world, provider)
            await prober(world, provider).recover("lead")
            return provider.asked

        assert ["spare"] == play_with(document, story)

    def test_without_a_document_there_is_nothing_to_probe(self) -> None:
        """Before the first publication the schedule does nothing."""

        async def story(world: World) -> int:
            world.store = Store(MemoryTable())
            return await prober(world, Provider()).tick()

        assert 0 == play(story)
