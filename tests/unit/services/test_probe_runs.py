"""Runs of golden sets, drift prompts and confirmations: when they are planned, what they ask, tell and cost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sweeping import batch
from tests.unit.services.environments import observations
from tests.unit.services.probing import prober
from tests.unit.services.worlds import NOW, LoopClock, World
from tests.virtual import run
from understudy.catalog import Catalog, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, chunk_from, make_chunk
from understudy.chat.usage import Usage
from understudy.control.document import parse
from understudy.control.load import catalog
from understudy.detectors.sample import Sample
from understudy.errors import CallerFault, RateLimited, Transient
from understudy.golden.drift import PROMPTS
from understudy.health.breaker import Breaker
from understudy.health.finding import Hold
from understudy.health.item import Health
from understudy.health.observation import observation_from
from understudy.ports import Due
from understudy.services.probe_targets import ProbeTargets
from understudy.services.sweep import SLACK, jitter, moment, plan
from understudy.store import keys

LEAD = "lead: {provider: acme, model: large, price: {input_per_million: '1', output_per_million: '10'}}"
THINKING = "model: large, capabilities: {reasoning: true},"
QUALITY = "period_s: 3600, items: 4, sets: [sums], confirm_items: 8"
DOCUMENT = """
schema: 1
providers:
  acme: {wire: openai, base_url: "https://acme.example/v1"}
targets:
  LEAD
  spare: {provider: acme, model: small, capabilities: {reasoning: true}}
routes:
  chat: {targets: [lead, spare]}
golden_sets:
  sums:
    task: arithmetic
    items:
ITEMS
health:
  probe: {usd_per_day: "1"}
  quality: {QUALITY}
  drift: {period_s: 900, prompts: 3}
"""


def document(items: int = 10, *, lead: str = LEAD, quality: str = QUALITY, **changes: str) -> str:
    """Sums of which item n asks for n + 1."""
    sums = (
        f"      - {{id: s{n}, prompt: 'What is {n} plus 1?', checker: {{kind: number, value: {n + 1}}}}}"
        for n in range(items)
    )
    text = DOCUMENT.replace("LEAD", lead).replace("QUALITY", quality).replace("ITEMS", "\n".join(sums))
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


class Sums:
    """Knows sums, but for the items in `wrong`, and says nothing to those in `silent`; `failures` are raised one after
    another at first.  Each answer takes a second, and 20 tokens."""

    def __init__(self, *, wrong: Sequence[int] = (), silent: Sequence[int] = (), failures: Sequence[Any] = ()) -> None:
        self.asked: list[str] = []
        self.at_once = self.under_way = 0
        self.seconds = 1.0
        self._wrong, self._silent, self._failures = wrong, silent, list(failures)

    async def __call__(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        text = str(request.messages[-1]["content"])
        self.asked.append(text)
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
            if self._failures:
                raise self._failures.pop(0)
            yield make_chunk(id="1", model="large-2", created=1, delta={"content": self._said(text)})
            usage = Usage(10, 20)
            last = make_chunk(id="1", model="large-2", created=1, finish_reason="length", usage=usage)
            yield Chunk({**last.payload, "system_fingerprint": "fp_1"}, "", False, False, last.finish_reasons, usage)
        finally:
            self.under_way -= 1

    def _said(self, text: str) -> str:
        words = text.split()
        if not text.startswith("What is ") or not words[2].isdigit():
            return "ready" if text.startswith("Reply") else "Well, yes"
        number = int(words[2])
        return "" if number in self._silent else str(number if number in self._wrong else number + 1)


class Odds(Sums):
    """Tells how probable its first token was where it is asked for that, or refuses to."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self._refuses = refuses

    async def __call__(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        asked = request.body.get("logprobs") is True
        if asked and self._refuses:
            raise CallerFault("logprobs are not supported", status=400)
        async for chunk in super().__call__(request, target, connect=connect):
            choice = chunk.payload["choices"][0] if chunk.payload["choices"] else {}
            if asked and choice.get("delta"):
                token = {"token": "Well", "logprob": -0.5}
                choice = choice | {"logprobs": {"content": [token]}}
                yield chunk_from({**chunk.payload, "choices": [choice]})
            else:
                yield chunk


def due(at: float = NOW, ask: Any = "quality", stream: str = "sums", target: str = "lead") -> Due:
    return Due(target, at, 0, ask, stream)


def played(messages: Sequence[Sequence[Due]], provider: Sums, text: str, health: Health | None = None) -> World:
    """The world after batches of messages, handled one after the other by one worker."""

    async def story() -> World:
        world = World(LoopClock(), text)
        if health is not None:
            world.store.put_health(health)
        probes = prober(world, provider)  # type: ignore[arg-type]
        for one in messages:
            assert [] == await probes.handle(batch(one))
        return world

    return run(story())


def confirm(stream: str, target: str = "lead") -> dict[str, tuple[str, int]]:
    return {"c": (json.dumps({"target": target, "ask": "confirm", "set": stream}), 1)}


def samples(world: World) -> list[Sample]:
    return [sample for seen in observations(world) for sample in observation_from(seen).samples]


def of(world: World, kind: str) -> list[tuple[Any, ...]]:
    """(value, stream, item, run) of every sample of a kind, in the order of the items."""
    found = [(s.value, s.stream, s.item, s.run) for s in samples(world) if s.kind == kind]
    return sorted(found, key=lambda one: one[2])


def compiled(text: str) -> Catalog:
    return catalog(parse(text), 1)


def runs(current: Catalog, known: Mapping[str, Health] | None = None, now: float = NOW, salt: str = "") -> list[Due]:
    return [message for message in plan(current, known or {}, now, salt) if message.ask != "liveness"]


class TestPlan:
    @settings(max_examples=10)
    @given(st.lists(st.floats(-2.0, 2.0), min_size=121, max_size=121), st.text(max_size=5))
    def test_every_moment_of_a_run_is_asked_for(self, offs: list[float], salt: str) -> None:
        """However inexact ticks are by a few seconds, two hours of them ask for both runs of a set and all eight of the
        drift prompts, and whatever is asked for twice names the same moment."""
        current = compiled(document())
        began = NOW - NOW % 60 + 30
        found = {
            (message.target, message.stream, message.at)
            for minute, off in enumerate(offs)
            for message in runs(current, now=began + 60 * minute + off, salt=salt)
            if began <= message.at < began + 7200
        }
        assert {("lead", "sums"): 2, ("spare", "sums"): 2, ("lead", "drift"): 8} == Counter(
            (target, stream) for target, stream, _ in found
        )

    @pytest.mark.parametrize(("tick", "delay"), [(-59.0, 59), (0.0, 0), (1.0, 0), (4.9, 0)])
    def test_a_tick_looks_back_a_little(self, tick: float, delay: int) -> None:
        """A run that fell between two ticks, one early and one late, is asked for by the second, at once."""
        current, at = compiled(document()), moment(3600, "/lead/sums", NOW)
        found = [m for m in runs(current, now=at + tick) if (m.target, m.stream) == ("lead", "sums")]
        assert [Due("lead", round(at, 3), delay, "quality", "sums")] == found

    def test_runs_are_spread_over_their_period(self) -> None:
        """Of six hundred targets about ten begin a run in each minute of the hour, other ones in each stack."""
        minutes = [Counter(int(moment(3600, f"{salt}/t{n}/sums", 0) // 60) for n in range(600)) for salt in "ab"]
        assert [True, True] == [len(found) > 55 and max(found.values()) < 25 for found in minutes]
        assert minutes[0] != minutes[1]

    @pytest.mark.parametrize(
        ("health", "expected"),
        [
            (Health("lead"), True),
            (Health("lead", Breaker("open", NOW, NOW + 9, opens=1)), False),
            (Health("lead", Breaker("half_open", NOW, NOW, opens=1)), False),
            (Health("lead", benched_until=NOW + 7200), False),
            (Health("lead", credential_failed=True), False),
            (Health("lead", hold=Hold("drained", NOW, "ann", "")), False),
            (Health("lead", hold=Hold("quarantined", NOW, "understudy", "")), True),
        ],
        ids=["well", "open", "half open", "benched", "refused", "drained", "quarantined"],
    )
    def test_only_a_target_that_is_well_is_asked_more_than_whether_it_lives(
        self, health: Health, expected: bool
    ) -> None:
        """One that is down, benched or drained by an operator is asked nothing that costs; one in quarantine must be
        able to show that it is good again."""
        current = compiled(document())
        found = [m for n in range(60) for m in runs(current, {"lead": health}, NOW + 60 * n) if m.target == "lead"]
        assert expected == bool(found)
        world = played([[due()]], provider := Sums(), document(), health)
        assert expected == bool(provider.asked) == bool(observations(world))

    def test_a_set_of_a_route_is_for_the_targets_that_it_may_use(self) -> None:
        """Questions of one's own go where one's requests go, and nowhere else."""
        chat, own = "chat: {targets: [lead]}", "golden_sets: [sums], constraints: {no_training: true}"
        text = document(quality="sets: []").replace("chat: {", f"{chat}\n  eu: {{{own}, ")
        text = text.replace("model: small,", "model: small, data: {trains_on_data: false},")
        current = compiled(text)
        found = {(m.target, m.stream) for n in range(60) for m in runs(current, now=NOW + 60 * n)}
        assert {("spare", "sums"), ("lead", "drift")} == found
        played([[due(), due(target="spare")]], provider := Sums(), text)
        assert 10 == len(provider.asked)

    def test_stacks_do_not_keep_step(self) -> None:
        """The seconds of a group differ from stack to stack and from minute to minute, by less than rounds may come
        closer together."""
        found = {(salt, n): jitter(salt, "lead", NOW + 60 * n) for salt in "ab" for n in range(40)}
        assert {0, 1, 2} == set(found.values())
        assert max(found.values()) < SLACK
        assert [found["a", n] for n in range(40)] != [found["b", n] for n in range(40)]


class TestQuality:
    def test_a_run_tells_what_each_answer_shows(self) -> None:
        """Right or wrong, tokens, dollars and latency by item; errors, speed and version of the target."""
        world = played([[due()]], Sums(wrong=[2]), document())
        assert [(1.0, "sums", 0, 1), (1.0, "sums", 1, 1), (0.0, "sums", 2, 1), (1.0, "sums", 3, 1)] == of(
            world, "quality"
        )
        assert [(20.0, "sums", n, 1) for n in range(4)] == of(world, "tokens")
        assert [(0.00021, "sums", n, 1) for n in range(4)] == of(world, "cost")
        assert [(1.0, "sums", n, 1) for n in range(4)] == of(world, "latency")
        assert [(0.0, "", -1, 0)] * 4 == of(world, "errors")
        assert [("large-2/fp_1", "", -1, 0)] == of(world, "version")
        assert [(4, 0)] == [(seen["ok"], seen["failures"]) for seen in observations(world)]
        assert round(4 * 0.00021, 9) == round(sum(sample.usd for sample in samples(world)), 9)

    def test_runs_go_through_the_whole_set(self) -> None:
        """Each run goes on where the one before stopped: three runs of four ask all ten items."""
        assert 4 == len(of(played([[due()], [due()]], Sums(), document()), "quality")), "one moment is one run"

        async def story() -> World:
            world = World(LoopClock(), document())
            for _ in range(3):
                await prober(world, Sums()).handle(batch([due(world.clock())]))  # type: ignore[arg-type]
                await asyncio.sleep(3600)
            return world

        asked = sorted((number, item) for _, _, item, number in of(run(story()), "quality"))
        expected = {1: [0, 1, 2, 3], 2: [4, 5, 6, 7], 3: [0, 1, 8, 9]}
        assert [(number, item) for number, items in expected.items() for item in items] == asked

    def test_two_workers_do_not_pay_twice(self) -> None:
        """A message that is delivered twice, to two workers at once, is one run; another stream's run beside it is no
        reason to leave one out."""

        async def story() -> tuple[World, list[str]]:
            world, provider = World(LoopClock(), document()), Sums()
            workers: list[ProbeTargets] = [prober(world, provider) for _ in range(3)]  # type: ignore[arg-type]
            messages = [[due()], [due()], [due(ask="drift", stream="drift")]]
            await asyncio.gather(*(w.handle(batch(one)) for w, one in zip(workers, messages, strict=True)))
            return world, provider.asked

        world, asked = run(story())
        assert 7 == len(asked)
        assert [1] * 4 + [1] * 3 == [one[3] for kind in ("quality", "fingerprint") for one in of(world, kind)]

    def test_wrong_is_not_absent(self) -> None:
        """An empty answer and a failed call say nothing about quality; the failure is one of the target."""
        world = played([[due()]], Sums(silent=[1], failures=[Transient("boom")]), document())
        assert [2, 3] == [item for _, _, item, _ in of(world, "quality")]
        assert {0.0: 3, 1.0: 1} == Counter(value for value, *_ in of(world, "errors"))
        assert [(3, 1)] == [(seen["ok"], seen["failures"]) for seen in observations(world)]

    @pytest.mark.parametrize(("failure", "asked"), [(Transient("boom"), 5), (RateLimited("wait", retry_after=30), 4)])
    def test_a_failing_target_is_left_alone(self, failure: Exception, asked: int) -> None:
        """After two failures, or where it asks to be left alone, a run of forty asks nothing beyond what is under
        way."""
        text = document(40, quality="items: 40, sets: [sums]")
        played([[due()]], provider := Sums(failures=[failure] * 40), text)
        assert asked == len(provider.asked)

    def test_a_run_ends_before_its_room(self) -> None:
        """Four questions at once, until too little time is left; the others are missing, and nobody is to blame."""

        async def story() -> tuple[World, Sums, float]:
            text = document(60, quality="items: 60, sets: [sums]", **{"model: large,": THINKING})
            world, provider = World(LoopClock(), text), Sums()
            provider.seconds = 12.0
            await prober(world, provider).handle(batch([due()]))  # type: ignore[arg-type]
            return world, provider, world.clock() - NOW

        world, provider, took = run(story())
        assert (4, True, True) == (provider.at_once, took <= 150, 40 < len(of(world, "quality")) < 60)
        assert {0.0} == {value for value, *_ in of(world, "errors")}

    @pytest.mark.parametrize(("late", "asked"), [(0, 4), (1700, 4), (1900, 0)])
    def test_a_run_that_comes_too_late_is_left_to_the_next(self, late: float, asked: int) -> None:
        """After half of its period the next run is nearer."""
        played([[due(NOW - late)]], provider := Sums(), document())
        assert asked == len(provider.asked)

    def test_a_large_run_fits_its_item(self) -> None:
        """Sixty items of a set with the longest name make an observation of at most 40 KB."""
        name = "s" * 64
        text = document(60, quality=f"items: 60, sets: [{name}]").replace("  sums:", f"  {name}:")
        world = played([[due(stream=name)]], Sums(), text)
        assert 60 == len(of(world, "quality"))
        assert len(json.dumps(observations(world)[0], separators=(",", ":"))) < 40_000

    def test_questions_that_a_target_cannot_take_are_passed_over(self) -> None:
        """A question with tools is not asked where tools are refused; the others are."""
        tools = "tools: [{type: function, function: {name: f}}]}"
        text = document(3).replace("value: 2}}", f"value: 2}}, {tools}")
        text = text.replace("model: large,", "model: large, capabilities: {tools: false},")
        assert [0, 2] == [item for _, _, item, _ in of(played([[due()]], Sums(), text), "quality")]


class TestDrift:
    def test_first_words_are_told_by_prompt(self) -> None:
        """A run asks the next prompts, and tells the first token of each answer and its count."""
        world = played([[due(ask="drift", stream="drift")]], provider := Sums(), document())
        assert [prompt.text for prompt in PROMPTS[:3]] == provider.asked
        assert [("Well", "drift", n, 1) for n in range(3)] == of(world, "fingerprint")
        assert [(20.0, "drift", n, 1) for n in range(3)] == of(world, "tokens")

    @pytest.mark.parametrize(("declared", "expected"), [("true", [-0.5] * 3), ("false", [])])
    def test_probabilities_are_asked_of_those_that_give_them(self, declared: str, expected: list[float]) -> None:
        """A target that does not declare them is never sent the field."""
        text = document(lead=LEAD.replace("model: large,", f"model: large, capabilities: {{logprobs: {declared}}},"))
        world = played([[due(ask="drift", stream="drift")]], Odds(), text)
        assert expected == [value for value, *_ in of(world, "logprob")]
        assert 3 == len(of(world, "fingerprint"))

    def test_a_target_that_refuses_them_after_all_is_asked_without(self) -> None:
        """Its first words are told all the same, and the log says what is wrong with the document."""
        text = document(lead=LEAD.replace("model: large,", "model: large, capabilities: {logprobs: true},"))
        world = played([[due(ask="drift", stream="drift")]], Odds(refuses=True), text)
        assert ([], 3) == (of(world, "logprob"), len(of(world, "fingerprint")))
        assert 1 == sum(message == "a drift prompt is asked without them" for message, _ in world.log.lines)

    def test_a_target_that_thinks_first_is_asked_none(self) -> None:
        """What it says first depends on what it thought."""
        played([[due(ask="drift", stream="drift", target="spare")]], provider := Sums(), document())
        assert [] == provider.asked


class TestConfirm:
    def test_a_whole_set_is_bought_at_once(self) -> None:
        """Up to the number that the document says, evenly over the set, under a number of its own; not again at
        once, and again when it has said nothing."""

        async def story() -> tuple[World, list[int]]:
            world, provider, counts = World(LoopClock(), document(16)), Sums(), []
            for wait in (0, 10, 30):
                await asyncio.sleep(wait)
                await prober(world, provider).handle(confirm("sums"))  # type: ignore[arg-type]
                counts.append(len(provider.asked))
            return world, counts

        world, counts = run(story())
        assert [8, 8, 16] == counts
        bought = [(number, item) for _, _, item, number in of(world, "quality")]
        assert sorted((number, item) for number in (-1, -2) for item in range(0, 16, 2)) == sorted(bought)

    @pytest.mark.parametrize("stream", ["drift", "", "liveness"])
    def test_only_golden_sets_are_bought(self, stream: str) -> None:
        """What is no set of questions is looked at a second time by its own next values."""

        async def story() -> tuple[list[str], list[str]]:
            world, provider = World(LoopClock(), document()), Sums()
            return await prober(world, provider).handle(confirm(stream)), provider.asked  # type: ignore[arg-type]

        assert ([], []) == run(story())

    def test_a_run_and_a_confirmation_of_one_set_are_both_done(self) -> None:
        """They come in one batch and have read the same; neither takes the other's place."""

        async def story() -> set[int]:
            world, provider = World(LoopClock(), document(16)), Sums()
            assert [] == await prober(world, provider).handle(batch([due()]) | confirm("sums"))  # type: ignore[arg-type]
            return {run for _, _, _, run in of(world, "quality")}

        assert {1, -1} == run(story())

    def test_an_unknown_stream_is_not_asked(self) -> None:
        """A set that was taken out of the document has nothing to ask."""

        async def story() -> tuple[list[str], list[str]]:
            world, provider = World(LoopClock(), document()), Sums()
            return await prober(world, provider).handle(confirm("gone")), provider.asked  # type: ignore[arg-type]

        assert ([], []) == run(story())


class TestSpend:
    def test_what_probes_cost_is_counted_by_kind(self) -> None:
        """Liveness, quality and drift have lines of their own; a target without a price has an assumed one."""
        messages = [[Due("lead", NOW, 0), due(), due(ask="drift", stream="drift"), Due("spare", NOW, 0)]]
        world = played(messages, Sums(), document())
        spent = world.store.probing(["lead", "spare"], NOW)
        one = Decimal("0.00021")
        assert {"liveness": one, "quality": 4 * one, "drift": 3 * one} == spent["lead"].spent
        assert {"liveness": Decimal("0.00033")} == spent["spare"].spent

    @pytest.mark.parametrize(
        ("spent", "asked"),
        [("0", 1 + 4 + 3), ("0.99", 1 + 3), ("0.9999", 1), ("1.5", 1), ("1.99999", 0)],
        ids=["nothing spent", "no room for a run", "for hardly anything", "beyond", "twice as much"],
    )
    def test_the_allowance_of_a_day(self, spent: str, asked: int) -> None:
        """What no longer fits is left out and told, quality before drift before health checks, which go on up to twice
        the allowance; the next day begins anew."""
        dear = LEAD.replace("'10'", "'50'")

        async def story() -> list[int]:
            counts = []
            for later in (0, 86400):
                world, provider = World(LoopClock(), document(lead=dear)), Sums()
                world.store.spend("lead", {"quality": Decimal(spent)}, NOW)
                world.clock.now += later
                at = world.clock()
                messages = [Due("lead", at, 0), due(at), due(at, "drift", "drift")]
                await prober(world, provider).handle(batch(messages))  # type: ignore[arg-type]
                counts.append(len(provider.asked))
                told = sum(message == "a probe was left out for its cost" for message, _ in world.log.lines)
                assert (asked < 8 and not later) == bool(told)
            return counts

        assert [asked, 8] == run(story())

    def test_streams_of_one_batch_share_the_allowance(self) -> None:
        """What one run may cost is not there for the other, although nothing is paid yet."""
        dear = LEAD.replace("'10'", "'50'")

        async def story() -> int:
            text = document(lead=dear).replace('usd_per_day: "1"', 'usd_per_day: "0.0129"')
            world, provider = World(LoopClock(), text), Sums()
            both = batch([due(), due(ask="drift", stream="drift")])
            assert [] == await prober(world, provider).handle(both)  # type: ignore[arg-type]
            return len(provider.asked)

        assert 4 == run(story())

    @pytest.mark.parametrize("messages", [[due()], [Due("lead", NOW, 0)]], ids=["run", "health check"])
    def test_what_was_paid_counts_where_it_cannot_be_told(self, messages: list[Due]) -> None:
        """The table takes no observation any more; the message comes again, and the money is gone."""

        async def story() -> tuple[list[str], bool]:
            world = World(LoopClock(), document())
            probes = prober(world, Sums())  # type: ignore[arg-type]
            world.table.refused = keys.OBSERVATION
            failed = await probes.handle(batch(messages))
            return failed, world.store.probing(["lead"], NOW)["lead"].total > 0

        failed, paid = run(story())
        assert (1, True) == (len(failed), paid)


class TestWhoseSet:
    """A set of a route is the route's content."""

    @pytest.mark.parametrize(("facts", "asked"), [("jurisdictions: [de]", 4), ("jurisdictions: [us]", 0), ("", 0)])
    def test_a_set_is_asked_of_those_who_may_see_its_routes_requests(self, facts: str, asked: int) -> None:
        """A target of a free route is not asked the set of a constrained one, though both routes name it."""
        text = document(4, quality="sets: []")
        text = text.replace(
            "chat: {targets: [lead, spare]}",
            """free: {targets: [lead], golden_sets: [sums]}
  bound: {targets: [spare], golden_sets: [sums], constraints: {jurisdictions: [eu]}}""",
        )
        text = text.replace("model: large,", f"model: large, data: {{{facts}}},")
        text = text.replace("model: small,", "model: small, data: {jurisdictions: [eu]},")
        world = played([[due()]], provider := Sums(), text)
        assert (asked, asked) == (len(provider.asked), len(of(world, "quality")))
        current, minutes = catalog(parse(text), 1), range(60)
        planned = {(one.target, one.stream) for n in minutes for one in plan(current, {}, NOW + 60 * n)}
        assert (bool(asked), True) == (("lead", "sums") in planned, ("spare", "sums") in planned)


class TestJudge:
    """Two items of which only a judge can say how right their answers are."""

    @pytest.mark.parametrize(
        ("facts", "asked", "judged"),
        [
            ("jurisdictions: [eu]", 4, [0.6, 0.6]),
            ("jurisdictions: [us]", 0, []),
        ],
        ids=["compliant", "not compliant"],
    )
    def test_a_judge_sees_what_its_routes_allow(self, facts: str, asked: int, judged: list[float]) -> None:
        """It is asked where it passes the constraints of the routes whose answers it would read; else such items are
        not asked at all.  What it costs is a line of its own."""
        text = document(2, quality="sets: [sums], judge: spare")
        text = text.replace("kind: number, value: ", "kind: judge, rubric: r")
        text = text.replace(
            "chat: {targets: [lead, spare]", "chat: {targets: [lead], constraints: {jurisdictions: [eu]}"
        )
        text = text.replace("model: large,", "model: large, data: {jurisdictions: [eu]},")
        text = text.replace("model: small,", f"model: small, data: {{{facts}}},")
        world = played([[due()]], provider := Graded(), text)
        assert (asked, judged) == (len(provider.asked), [value for value, *_ in of(world, "quality")])
        assert ({"quality", "judge"} if asked else set()) == set(world.store.probing(["lead"], NOW)["lead"].spent)

    def test_without_a_judge_such_items_are_passed_over(self) -> None:
        """The others of the set are asked."""
        text = document(3).replace("kind: number, value: 2}", "kind: judge, rubric: good}")
        world = played([[due()]], provider := Graded(), text)
        assert ([0, 2], 2) == ([item for _, _, item, _ in of(world, "quality")], len(provider.asked))


class Graded(Sums):
    """As a judge it gives three of five."""

    def _said(self, text: str) -> str:
        return '{"grade": 3}' if "Grade the answer" in text else super()._said(text)
