"""What a tick asks for, and what becomes of its messages."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.builders import NO_RUNS
from tests.sweeping import batch
from tests.unit.services.environments import observations, play
from tests.unit.services.probing import Provider, Sweeps, prober
from tests.unit.services.worlds import DOCUMENT, NOW, LoopClock, World
from tests.virtual import run
from understudy.catalog import HealthSettings
from understudy.errors import QueueError, StoreError, Transient
from understudy.health.breaker import Breaker
from understudy.health.item import Health, fold
from understudy.health.observation import observation_from
from understudy.ports import Due
from understudy.services.publish_control import publish
from understudy.services.sweep import Call, call_from, rounds

BOOM = Transient("boom")
GOOD = '{"target": "spare", "due": 1800000000}'


def document(targets: int, period: float = 60.0) -> str:
    """A document with so many targets on one route, t000 and on."""
    names = [f"t{number:03d}" for number in range(targets)]
    return "\n".join(
        [
            "schema: 1",
            'providers: {acme: {wire: openai, base_url: "https://acme.example/v1"}}',
            "targets:",
            *(f"  {name}: {{provider: acme, model: m}}" for name in names),
            "routes:",
            *(f"  r{n}: {{targets: [{', '.join(names[n : n + 100])}]}}" for n in range(0, targets, 100)),
            f"health: {{probe: {{period_s: {period}}}, breaker: {{jitter: 0}}, {NO_RUNS}}}",
        ]
    )


def every(period: float) -> str:
    """The usual two targets, probed every `period` seconds."""
    return DOCUMENT.replace("breaker: {jitter: 0}", f"breaker: {{jitter: 0}}, probe: {{period_s: {period}}}")


def asked(world: World) -> list[Due]:
    """What a tick asks for now."""
    queue = Sweeps()
    run(prober(world, Provider(), sweeps=queue).tick())
    return queue.messages


def delays(world: World, name: str = "lead") -> list[int]:
    return [message.delay for message in asked(world) if message.target == name]


class TestTick:
    @pytest.mark.parametrize(
        ("period", "expected"),
        [
            (15, [0, 15, 30, 45]),
            (17, [0, 15, 30, 45]),
            (20, [0, 20, 40]),
            (30, [0, 30]),
            (45, [0]),
            (60, [0]),
            (3600, [0]),
            (86400, [0]),
        ],
    )
    def test_a_minute_has_as_many_rounds_as_the_period_asks_for(self, period: float, expected: list[int]) -> None:
        """A target that nobody has seen is asked for in each of the minute's rounds, four at most."""
        assert expected == delays(World(document=every(period)))
        assert len(expected) == rounds(period)

    @pytest.mark.parametrize(
        ("ago", "expected"),
        [(60, [0, 15, 30, 45]), (10, [0, 15, 30, 45]), (9.9, [15, 30, 45]), (0, [15, 30, 45]), (-5.1, [30, 45])],
    )
    def test_a_round_asks_only_for_what_may_be_due_by_then(self, ago: float, expected: list[int]) -> None:
        """A target that was good a moment ago is left out of the rounds in which that is still recent; rounds may come
        five seconds closer together than the period."""
        world = World(document=every(15))
        world.store.put_health(Health("lead", last_ok_at=NOW - ago))
        assert expected == delays(world)

    @pytest.mark.parametrize(
        ("health", "expected"),
        [
            (Health("lead", benched_until=NOW + 20), [30, 45]),
            (Health("lead", Breaker("open", NOW, NOW + 14, opens=1)), [30, 45]),
            (Health("lead", Breaker("open", NOW, NOW + 2, opens=1, lease_until=NOW + 31)), [45]),
        ],
        ids=["benched", "open, its message may be lost", "somebody probes"],
    )
    def test_a_round_waits_for_the_end_of_what_keeps_a_probe_away(self, health: Health, expected: list[int]) -> None:
        """A bench, an open time with its grace, a held lease: the rounds after it ask for the target."""
        world = World(document=every(15))
        world.store.put_health(health)
        assert expected == delays(world)

    def test_a_message_says_when_it_is_due(self) -> None:
        """Each message names its target and the moment of its round."""
        world = World(document=every(30))
        world.store.put_health(Health("spare", last_ok_at=NOW + 60))
        assert [Due("lead", NOW, 0), Due("lead", NOW + 30, 30)] == asked(world)

    @pytest.mark.parametrize(
        ("period", "longest"), [(15, [5, 20, 35, 50]), (20, [7, 27, 47]), (60, [20])], ids=["15 s", "20 s", "60 s"]
    )
    def test_many_targets_are_spread_over_a_third_of_their_round(self, period: float, longest: list[int]) -> None:
        """Three hundred targets come in groups of ten, each in a second of its own as far as there are enough, and no
        later than a third of the round; messages are ordered by their time."""
        found = asked(World(document=document(300, period)))
        seconds = Counter(message.delay for message in found)
        assert 300 * rounds(period) == len(found)
        assert {0} == {count % 10 for count in seconds.values()}
        assert [message.delay for message in found] == sorted(message.delay for message in found)
        assert all(any(0 <= last - delay <= 60 / rounds(period) / 3 + 1 for last in longest) for delay in seconds)

    def test_ten_targets_are_one_batch(self) -> None:
        """What fits one invocation is asked for in one moment."""
        assert {0: 10} == Counter(message.delay for message in asked(World(document=document(10))))

    def test_a_target_keeps_its_place(self) -> None:
        """Whatever else is due, a target's messages come at the same seconds of each minute."""
        world = World(document=document(100))
        before = {message.target: message.delay for message in asked(world)}
        for number in range(0, 100, 2):
            world.store.put_health(Health(f"t{number:03d}", last_ok_at=NOW + 30))
        after = {message.target: message.delay for message in asked(world)}
        assert 50 == len(after)
        assert {name: before[name] for name in after} == after

    def test_the_tick_itself_asks_nobody(self) -> None:
        """A tick is one read of the pointer, one of the document, and reads of a hundred targets; no call, no write."""

        async def story(world: World) -> tuple[list[str], list[str]]:
            provider = Provider()
            await prober(world, provider).tick()
            return provider.asked, world.table.calls

        assert ([], ["get", "get", "batch"]) == play(story)

    def test_a_target_that_no_route_may_use_is_not_asked_for(self) -> None:
        """No message is spent on a target that would not be probed."""
        constrained = DOCUMENT.replace(
            "{targets: [lead, spare]}", "{targets: [lead, spare], constraints: {no_training: true}}"
        ).replace("model: small}", "model: small, data: {trains_on_data: false}}")
        assert ["spare"] == [message.target for message in asked(World(document=constrained))]

    def test_a_queue_that_refuses_fails_the_tick(self) -> None:
        """A round that could not be asked for is an error of the tick: it is told, not passed over."""

        class Full(Sweeps):
            def send(self, messages: Any) -> None:
                raise QueueError("full")

        with pytest.raises(QueueError):
            run(prober(World(), Provider(), sweeps=Full()).tick())


class TestMessages:
    def test_the_targets_of_a_batch_are_probed_at_the_same_time(self) -> None:
        """Ten targets that take five seconds each take five seconds together, after three reads of the table."""

        async def story() -> tuple[list[str], int, float, list[str]]:
            world, provider = World(LoopClock(), document(10)), Provider(seconds=5.0)
            failed = await prober(world, provider).handle(batch([Due(f"t00{n}", NOW, 0) for n in range(10)]))
            reads = [call for call in world.table.calls if call not in ("put", "add")]
            return failed, provider.at_once, world.clock() - NOW, reads

        assert ([], 10, 5.0, ["get", "get", "batch"]) == run(story())

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "lead",
            "null",
            "[]",
            "{}",
            '{"target": 7}',
            '{"target": null, "due": 1}',
            '{"target": "lead", "due": "now"}',
            "[" * 100_000,
        ],
    )
    def test_a_message_that_cannot_be_read_fails_alone(self, body: str) -> None:
        """Whatever stands in a message, it alone is reported, and the other one is done."""

        async def story(world: World) -> tuple[list[str], list[str]]:
            provider = Provider()
            failed = await prober(world, provider).handle({"bad": (body, 1), "good": (GOOD, 1)})
            return failed, provider.asked

        assert (["bad"], ["spare"]) == play(story)

    def test_a_probe_that_raises_fails_alone(self) -> None:
        """A mistake in one probe is reported and told; its neighbour's outcome is written."""

        class Broken(Provider):
            def __call__(self, request: Any, target: Any, *, connect: float) -> Any:
                if target.name == "lead":
                    raise RuntimeError("a mistake")
                return super().__call__(request, target, connect=connect)

        async def story(world: World) -> tuple[list[str], int, list[str]]:
            failed = await prober(world, Broken()).handle(batch([Due("lead", NOW, 0), Due("spare", NOW, 0)]))
            told = [message for message, _ in world.log.lines if "failed" in message]
            return failed, len(world.table.query("target#spare", prefix="observation#")), told

        assert (["0"], 1, ["a probe failed"]) == play(story)

    def test_a_recovery_that_raises_fails_alone(self) -> None:
        """A recovery message is handled, and fails, by itself; one that cannot be read as well."""

        async def story(world: World) -> list[str]:
            world.table.down = True
            return await prober(world, Provider()).handle({"a": ('{"target": "lead"}', 1), "b": ("?", 1)})

        assert ["b", "a"] == play(story)

    def test_without_the_table_the_whole_batch_comes_again(self) -> None:
        """Where nothing could be read nothing was done, and Lambda is told so."""

        async def story(world: World) -> None:
            world.table.down = True
            await prober(world, Provider()).handle(batch([Due("lead", NOW, 0)]))

        with pytest.raises(StoreError):
            play(story)

    @pytest.mark.parametrize(
        ("health", "calls"),
        [
            (None, 1),
            (Health("lead", last_ok_at=NOW - 9), 0),
            (Health("lead", last_ok_at=NOW - 10), 1),
            (Health("lead", benched_until=NOW + 1), 0),
            (Health("lead", Breaker("open", NOW - 9, NOW - 1, opens=1)), 0),
            (Health("lead", Breaker("open", NOW - 20, NOW - 10, opens=1)), 2),
        ],
        ids=["unknown", "proved meanwhile", "not proved", "benched", "its recovery will come", "its recovery was lost"],
    )
    def test_a_target_is_looked_at_again_before_it_is_asked(self, health: Health | None, calls: int) -> None:
        """What happened between the tick and the message counts, not what the tick knew."""

        async def story() -> int:
            world, provider = World(LoopClock(), every(15)), Provider()
            if health is not None:
                world.store.put_health(health)
            assert [] == await prober(world, provider).handle(batch([Due("lead", NOW, 0)]))
            return len(provider.asked)

        assert calls == run(story())

    def test_a_target_that_left_the_document_is_not_asked(self) -> None:
        """Its message is done, not failed."""

        async def story(world: World) -> tuple[list[str], list[str]]:
            provider = Provider()
            gone = DOCUMENT.replace("[lead, spare]", "[spare]").replace("  lead: {provider: acme, model: large}\n", "")
            publish(world.store, gone, now=NOW, by="test")
            failed = await prober(world, provider).handle(batch([Due("lead", NOW, 0), Due("spare", NOW, 0)]))
            return failed, provider.asked

        assert ([], ["spare"]) == play(story)

    @pytest.mark.parametrize(
        ("age", "receives", "calls"),
        [(0.0, 1, 1), (14.9, 1, 1), (15.0, 1, 0), (600.0, 1, 0), (1080.0, 2, 1)],
        ids=["in time", "late", "its next one is there", "far too late", "it failed before"],
    )
    def test_a_message_is_for_its_own_round(self, age: float, receives: int, calls: int) -> None:
        """After a jam one probe of a failing target is enough: a message whose next one has come is dropped.  One that
        failed is tried again however late, so that it is done or lands in the dead letter queue."""

        async def story() -> tuple[list[str], int]:
            world, provider = World(LoopClock(), every(15)), Provider(lead=[BOOM])
            messages = {"m": (batch([Due("lead", NOW - age, 0)])["0"][0], receives)}
            return await prober(world, provider).handle(messages), len(provider.asked)

        assert ([], calls) == run(story())

    def test_a_body_may_say_more_than_is_known(self) -> None:
        """A newer tick's message is read by an older worker."""
        assert Call("lead", 5.0, again=True) == call_from('{"target": "lead", "due": 5.0, "more": {}}', 2)


class TestRhythm:
    @pytest.mark.parametrize(("period", "seconds"), [(15, 0.2), (15, 9.0), (20, 1.0), (30, 9.0), (60, 0.2), (60, 9.0)])
    def test_a_target_without_traffic_is_probed_once_a_period(self, period: float, seconds: float) -> None:
        """However long its answers take, an idle target is asked in every round of ten minutes: a probe counts from its
        beginning."""

        async def story() -> list[float]:
            world, provider = World(LoopClock(), every(period)), Provider(seconds=seconds)
            queue, began, tasks = Sweeps(), [], []
            probes = prober(world, provider, sweeps=queue)
            world.store.put_health(Health("spare", last_ok_at=NOW + 9999))

            async def deliver(message: Due) -> None:
                await asyncio.sleep(message.delay + 0.2)
                before = len(observations(world))
                await probes.handle(batch([message]))
                if len(observations(world)) > before:
                    began.append(message.at - NOW)
                    _fold(world)

            for _ in range(10):
                queue.messages.clear()
                await probes.tick()
                tasks += [asyncio.create_task(deliver(message)) for message in queue.messages]
                await asyncio.sleep(60)
            await asyncio.gather(*tasks)
            return began

        assert [n * period for n in range(int(600 / period))] == run(story())


def _fold(world: World) -> None:
    """The lead's latest observation becomes health, as update_health does it."""
    known = world.store.health(["lead"]).get("lead") or Health("lead")
    world.store.put_health(fold(known, observation_from(observations(world)[-1]), HealthSettings(), world.rng))
