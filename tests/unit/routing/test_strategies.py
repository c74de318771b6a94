"""How each strategy ranks, and what none of them may do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import by, target
from understudy.catalog import Candidate, HealthSettings, Price, Route, Share, Target
from understudy.chat.bound import owner_of_target
from understudy.compliance import Allowed, judge
from understudy.detectors.sample import Alarm
from understudy.errors import NoCompliantTarget, NoTargetAnswered
from understudy.facts import Constraints, DataFacts
from understudy.health.finding import Finding, Hold, Quality
from understudy.health.item import Health
from understudy.health.standing import Standing
from understudy.health.usual import Usual
from understudy.routing.policy import Decision, Ranked, decide
from understudy.routing.scorers import Outlook, outlook

NOW = 1_000_000.0
SETTINGS = HealthSettings()
STRATEGIES = ["ordered", "weighted", "fastest", "cheapest", "best", "adaptive"]
DOWN = Standing(0.0, "breaker open")


def well(name: str, *, seconds: float = 0.5, quality: float | None = None, **fields: Any) -> Health:
    """A healthy target; `quality` is judged by many answers, and was normal."""
    judged = {} if quality is None else {"": Quality(quality, 60, NOW, quality)}
    return replace(Health(name, last_ok_at=NOW, usual=Usual(seconds, seconds, 100, NOW), quality=judged), **fields)


def at(name: str, order: int, weight: float = 1.0, price: str | None = None, **fields: Any) -> Candidate:
    priced = None if price is None else Price(Decimal(price), Decimal(price))
    return Candidate(target(name, price=priced, **fields), order, weight)


def route(*candidates: Candidate, **fields: Any) -> Route:
    return Route("chat", candidates, **fields)


def known(of: Route, *healths: Health, before: Outlook | None = None) -> Outlook:
    return outlook(of, {health.target: health for health in healths}, SETTINGS, NOW, before)


def decided(
    of: Route,
    *healths: Health,
    seed: int = 0,
    standings: Mapping[str, Standing] | None = None,
    unfit: Callable[[Target], str | None] = lambda _: None,
    bound: Set[str] = frozenset(),
) -> Decision:
    return decide(
        of,
        judged=by(of),
        unfit=unfit,
        standing=lambda t: (standings or {}).get(t.name, Standing()),
        rng=random.Random(seed),
        bound=bound,
        outlook=known(of, *healths),
    )


def names(decision: Decision) -> list[str]:
    """The candidates in order; a last resort in brackets."""
    return [f"({r.target.name})" if r.last_resort else r.target.name for r in decision.candidates]


def degraded(stream: str = "core", kind: Any = "quality") -> tuple[Finding, ...]:
    alarm = Alarm(kind, "degraded", NOW, NOW - 60, 30, before=0.9, after=0.6)
    return (Finding(stream, "confirmed", NOW, alarm),)


# each strategy


def test_fastest_goes_by_recent_first_tokens() -> None:
    """The shortest first token goes first; of whom none is known, last; the reason says which."""
    of = route(at("a", 1), at("b", 2), at("new", 3), strategy="fastest")
    decision = decided(of, well("a", seconds=0.9), well("b", seconds=0.3))
    assert ["b", "a", "new"] == names(decision)
    assert "place 1, healthy, first token 0.3 s" == decision.candidates[0].reason


def test_cheapest_keeps_to_its_floor() -> None:
    """The cheapest that is good enough; then of unknown quality; then the better of those that are not."""
    of = route(
        at("poor", 1, price="0.1"), at("worse", 2, price="0.05"), at("fine", 3, price="1"), at("finest", 4, price="9"),
        at("new", 5, price="0.2"), strategy="cheapest", min_quality=0.8,
    )  # fmt: skip
    healths = [well(n, quality=q) for n, q in {"poor": 0.7, "worse": 0.2, "fine": 0.8, "finest": 1.0}.items()]
    assert ["fine", "finest", "new", "poor", "worse"] == names(decided(of, *healths))
    assert ["worse", "poor", "new", "fine", "finest"] == names(decided(replace(of, min_quality=None), *healths))


def test_best_keeps_to_its_ceiling() -> None:
    """The best that is cheap enough goes first; who is dearer, or has no price, comes after all of those."""
    of = route(
        at("dear", 1, price="20"), at("good", 2, price="3"), at("better", 3, price="5"), at("free", 4),
        strategy="best", max_price_per_million=Decimal(5),
    )  # fmt: skip
    healths = [well(n, quality=q) for n, q in {"dear": 1.0, "good": 0.7, "better": 0.9, "free": 0.95}.items()]
    assert ["better", "good", "dear", "free"] == names(decided(of, *healths))
    assert "dear" == names(decided(replace(of, max_price_per_million=None), *healths))[0]


def test_weighted_shares_follow_the_weights() -> None:
    """All targets share by weight, whatever their order."""
    of = route(at("a", 1, 6.0), at("b", 2, 3.0), at("c", 3, 1.0), strategy="weighted")
    rng, draws = random.Random(7), 4000
    first = Counter(
        decide(of, judged=by(of), unfit=lambda _: None, standing=lambda _: Standing(), rng=rng)
        .candidates[0]
        .target.name
        for _ in range(draws)
    )
    assert {"a": 0.6, "b": 0.3, "c": 0.1} == pytest.approx({n: c / draws for n, c in first.items()}, abs=0.03)


def test_adaptive_prefers_the_better_of_two() -> None:
    """Of three, drawn two at a time: the best leads two times in three, the worst never; the others follow by score."""
    of = route(at("poor", 1), at("fine", 2), at("well", 3), strategy="adaptive")
    healths = well("poor", score=0.2), well("fine", score=0.7), well("well")
    orders = Counter(tuple(names(decided(of, *healths, seed=seed))) for seed in range(3000))
    assert {("well", "fine", "poor"), ("fine", "well", "poor")} == set(orders)
    assert pytest.approx(2 / 3, abs=0.03) == orders["well", "fine", "poor"] / 3000
    assert {"well"} == {names(decided(of, *healths, seed=s, standings={"fine": DOWN}))[0] for s in range(20)}


def test_a_task_has_evidence_of_its_own() -> None:
    """On a route that names its task, quality at that task counts; else that of all tasks."""
    of = route(at("a", 1), at("b", 2), strategy="best")
    a = well("a", quality=0.9)
    sums = replace(well("b", quality=0.8), quality={"": Quality(0.8, 60, NOW), "sums": Quality(0.95, 60, NOW)})
    assert ["a", "b"] == names(decided(of, a, sums))
    assert ["b", "a"] == names(decided(replace(of, task="sums"), a, sums))


# order that is kept


def test_an_order_changes_only_by_a_margin() -> None:
    """A little better is not enough to go ahead; clearly better is, and then the same margin holds the other way."""
    of = route(at("a", 1), at("b", 2), strategy="best")
    first = known(of, well("a", quality=0.80), well("b", quality=0.79))
    second = known(of, well("a", quality=0.80), well("b", quality=0.84), before=first)
    third = known(of, well("a", quality=0.80), well("b", quality=0.86), before=second)
    fourth = known(of, well("a", quality=0.80), well("b", quality=0.76), before=third)
    assert [("a", "b"), ("a", "b"), ("b", "a"), ("b", "a")] == [o.order for o in (first, second, third, fourth)]


@pytest.mark.parametrize("strategy", ["fastest", "best", "adaptive"])
def test_equals_do_not_flap_under_noise(strategy: str) -> None:
    """Two targets that do the same, measured with noise, keep their order a thousand times; two that differ clearly
    change it once."""
    of, rng, seen = route(at("a", 1), at("b", 2), strategy=strategy), random.Random(3), None
    changes = []
    for better in (0.0, 0.2):
        orders = []
        for _ in range(1000):
            noise = [rng.uniform(-0.02, 0.02) for _ in "ab"]
            scores = {"a": 0.75 + noise[0], "b": 0.75 + better + noise[1]}
            healths = [well(n, seconds=1 - s / 2, quality=s, score=s) for n, s in scores.items()]
            seen = known(of, *healths, before=seen)
            orders.append(seen.order)
        changes.append(sum(one != other for one, other in pairwise(orders)))
    assert (0, True) == (changes[0], changes[1] <= 1)
    assert seen is not None
    assert ("b", "a") == seen.order


def test_a_floor_is_left_only_clearly() -> None:
    """Quality that wavers around the floor keeps a target inside once it was in, and out once it was out."""
    of = route(at("a", 1, price="1"), at("b", 2, price="9"), strategy="cheapest", min_quality=0.8)
    inside = known(of, well("a", quality=0.81), well("b", quality=1.0))
    outside = known(of, well("a", quality=0.79), well("b", quality=1.0))
    assert (("a", "b"), ("b", "a")) == (inside.order, outside.order)
    wavering = well("a", quality=0.78), well("b", quality=1.0)
    assert (("a", "b"), ("b", "a")) == (
        known(of, *wavering, before=inside).order,
        known(of, *wavering, before=outside).order,
    )
    assert ("b", "a") == known(of, well("a", quality=0.7), well("b", quality=1.0), before=inside).order


# findings and holds


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_degraded_go_behind_the_sound(strategy: str) -> None:
    """A confirmed degradation puts a target behind those in the rotation, before those out of it, whatever ranks."""
    of = route(at("a", 1), at("b", 2), at("c", 3), strategy=strategy)
    healths = well("a", findings=degraded()), well("b", seconds=9, score=0.1), well("c")
    decision = decided(of, *healths, standings={"c": DOWN})
    assert ["b", "a", "(c)"] == names(decision)
    assert "behind the others: degraded, quality 0.9 → 0.6" in decision.candidates[1].reason


def test_the_last_one_serves_though_degraded() -> None:
    """Where all have degraded they are asked in their order."""
    of = route(at("a", 1), at("b", 2))
    assert ["a", "b"] == names(decided(of, well("a", findings=degraded()), well("b", findings=degraded())))


@pytest.mark.parametrize(
    ("stream", "kind", "ranks"),
    [
        ("core", "quality", True),
        ("core", "tokens", True),
        ("own", "quality", True),
        ("of-another-route", "quality", False),
        ("", "latency", True),
        ("", "errors", True),
        ("", "speed", False),
        ("traffic:finish:chat", "quality", False),
        ("traffic:retries:other", "quality", False),
        ("feedback:chat", "quality", False),
        ("route:chat", "cost", False),
        ("shadow", "quality", False),
        ("liveness", "tokens", False),
        ("drift", "fingerprint", False),
    ],
)
def test_only_what_can_be_asked_again_ranks(stream: str, kind: str, ranks: bool) -> None:
    """A finding counts on questions asked for this route, and on calls failing or later; callers' own are only told."""
    of = route(at("a", 1), at("b", 2), golden_sets=frozenset({"own"}))
    decision = decided(of, well("a", findings=degraded(stream, kind)))
    assert (["b", "a"] if ranks else ["a", "b"]) == names(decision)


def hold(state: Any, by: str = "ada") -> Hold:
    return Hold(state, NOW, by, "it answers nonsense")


@pytest.mark.parametrize(
    ("quarantine", "by", "expected"),
    [
        ("automatic", "understudy", ["b", "(c)", "(a)"]),
        ("automatic", "ada", ["b", "(c)", "(a)"]),
        ("manual", "understudy", ["a", "b", "(c)"]),
        ("manual", "ada", ["b", "(c)", "(a)"]),
        ("off", "understudy", ["a", "b", "(c)"]),
        ("off", "ada", ["a", "b", "(c)"]),
    ],
)
def test_quarantine_counts_as_the_route_says(quarantine: str, by: str, expected: list[str]) -> None:
    """A quarantined target is the very last resort on the routes where its quarantine counts."""
    of = route(at("a", 1), at("b", 2), at("c", 3), quarantine=quarantine)
    assert expected == names(decided(of, well("a", hold=hold("quarantined", by)), standings={"c": DOWN}))


def test_a_drained_target_is_not_asked() -> None:
    """An operator's drain keeps all requests away, on every route, as long as somebody else can carry them."""
    of = route(at("a", 1), at("b", 2), quarantine="off")
    decision = decided(of, well("a", hold=hold("drained")), standings={"b": DOWN})
    assert (["(b)"], ["a"]) == (names(decision), [cause.target for cause in decision.held])


def test_who_drained_a_target_is_for_the_log_only() -> None:
    """Callers are told the reasons when nobody answered: not the operator's name, nor what he wrote."""
    of = route(at("a", 1), at("b", 2))
    (cause,) = decided(of, well("a", hold=hold("drained"))).held
    assert "no target of route 'chat' answered (a: drained by an operator)" == str(NoTargetAnswered("chat", [cause]))
    assert "drained by ada: it answers nonsense" == cause.kept


def test_the_last_compliant_target_serves_though_drained() -> None:
    """Where a drain would leave nobody, the drained are kept as a last resort, and the reason says it."""
    of = route(at("a", 1), at("b", 2))
    drained = well("a", hold=hold("drained"))
    decision = decided(of, drained, unfit=lambda t: "it takes no tools" if t.name == "b" else None)
    assert (["(a)"], ()) == (names(decision), decision.held)
    assert "last resort: drained by ada: it answers nonsense" == decision.candidates[0].reason


# canary


def led(of: Route, *healths: Health, **given: Any) -> Decision:
    return decided(replace(of, canary=Share(target("new"), 1.0)), *healths, **given)


def test_a_canary_leads_its_share() -> None:
    """The canary goes first for its share of requests, and nothing else changes."""
    of = route(at("a", 1), at("b", 2), canary=Share(target("new"), 0.2))
    orders = Counter(tuple(names(decided(of, seed=seed))) for seed in range(3000))
    assert {("new", "a", "b"), ("a", "b")} == set(orders)
    assert pytest.approx(0.2, abs=0.03) == orders["new", "a", "b"] / 3000


def test_a_canary_of_the_route_moves_to_the_front() -> None:
    """A canary that is on the route anyway has one place."""
    assert ["new", "a"] == names(led(route(at("a", 1), at("new", 2))))


@pytest.mark.parametrize(
    ("health", "given", "reason"),
    [
        (well("new", findings=degraded()), {}, "degraded, quality 0.9 → 0.6"),
        (well("new", hold=hold("quarantined")), {}, "quarantined by ada: it answers nonsense"),
        (well("new"), {"standings": {"new": DOWN}}, "breaker open"),
        (well("new"), {"unfit": lambda t: "it takes no tools" if t.name == "new" else None}, "it takes no tools"),
    ],
)
def test_a_canary_that_may_not_lead_is_passed_over(health: Health, given: dict[str, Any], reason: str) -> None:
    """A canary that is out, degraded, held or unfit leaves the request its usual way, with the reason."""
    decision = led(route(at("a", 1), at("b", 2)), health, **given)
    assert (["a", "b"], f"new not asked: {reason}") == (names(decision), decision.canary)


def test_a_canary_must_comply() -> None:
    """A constraint that denies the canary keeps every request from it."""
    of = route(at("a", 1, data=DataFacts(frozenset({"eu"}))), constraints=Constraints(frozenset({"eu"})))
    decision = led(of)
    assert (["a"], "new not asked: denied by jurisdictions: not declared") == (names(decision), decision.canary)


def test_a_canary_waits_for_whoever_made_what_comes_back() -> None:
    """What only one target can read again goes to that target."""
    decision = led(route(at("a", 1), at("b", 2)), bound={owner_of_target("b")})
    assert ["b", "a"] == names(decision)


# what no strategy may do


@dataclass(frozen=True)
class World:
    """A route, how its targets do, what is known of them, and the chance of the draw."""

    route: Route
    standings: dict[str, Standing]
    healths: tuple[Health, ...]
    unfit: frozenset[str]
    seed: int

    def decide(self, **given: Any) -> Decision:
        return decide(
            self.route,
            judged=by(self.route),
            unfit=lambda one: "it cannot" if one.name in self.unfit else None,
            standing=lambda one: self.standings.get(one.name, Standing()),
            rng=random.Random(self.seed),
            **given,
        )

    @property
    def able(self) -> set[str]:
        """Those of the route's list that may and can serve."""
        asked = (candidate.target for candidate in self.route.candidates)
        return {t.name for t in asked if self.complies(t)} - self.unfit

    def complies(self, one: Target) -> bool:
        return isinstance(judge(one, self.route.constraints, 0.0), Allowed)


PLACES = st.frozensets(st.sampled_from(["EU", "US"]))
FACTS = st.builds(DataFacts, PLACES, st.none() | st.integers(0, 60), st.none() | st.booleans())
HOLDS = st.none() | st.builds(hold, st.sampled_from(["drained", "quarantined"]), st.sampled_from(["understudy", "ada"]))


@st.composite
def worlds(draw: st.DrawFn, strategies: Sequence[str] = STRATEGIES, *, plain: bool = False) -> World:
    named = [f"t{n}" for n in range(draw(st.integers(1, 5)))]
    prices = st.none() | st.floats(0, 50).map(lambda usd: Price(Decimal(f"{usd:.2f}"), Decimal("1")))
    targets = {name: target(name, data=draw(FACTS), price=draw(prices)) for name in [*named, "extra"]}
    candidates = tuple(Candidate(targets[name], draw(st.integers(1, 3)), draw(st.floats(0.01, 100))) for name in named)
    healths = tuple(
        Health(
            name,
            score=draw(st.floats(0, 1)),
            last_ok_at=draw(st.floats(0, NOW)),
            quality=draw(st.dictionaries(st.just(""), st.builds(Quality, st.floats(0, 1), st.just(60), st.just(NOW)))),
            findings=() if plain else draw(st.sampled_from([(), degraded()])),
            hold=None if plain else draw(HOLDS),
        )
        for name in draw(st.sets(st.sampled_from([*named, "extra"])))
    )
    share = st.none() | st.builds(Share, st.sampled_from(list(targets.values())), st.floats(0.01, 1))
    made = Route(
        "chat",
        candidates,
        constraints=draw(st.builds(Constraints, PLACES, st.none() | st.integers(0, 60), st.booleans())),
        strategy=draw(st.sampled_from(strategies)),
        canary=None if plain else draw(share),
        quarantine=draw(st.sampled_from(["automatic", "manual", "off"])),
    )
    standings = st.builds(Standing, st.sampled_from([0.0, 0.1, 1.0]), st.just("so"), st.booleans())
    return World(
        made,
        {name: draw(standings) for name in named},
        healths,
        draw(st.frozensets(st.sampled_from(named))),
        draw(st.integers(0, 2**32)),
    )


@settings(max_examples=40)
@given(worlds())
def test_whatever_the_strategy_nobody_denied_is_asked(world: World) -> None:
    """No strategy, canary or health leads to a target that a constraint denies or that cannot carry the request."""
    try:
        ranked = world.decide(outlook=known(world.route, *world.healths)).candidates
    except NoCompliantTarget:
        ranked = ()
    assert [] == [r.target.name for r in ranked if not world.complies(r.target) or r.target.name in world.unfit]


@settings(max_examples=40)
@given(worlds())
def test_whatever_the_strategy_the_last_one_is_kept(world: World) -> None:
    """Whoever may and can serve has one place, but for the drained, and those only where somebody else has one."""
    try:
        decision = world.decide(outlook=known(world.route, *world.healths))
    except NoCompliantTarget:
        assert set() == world.able
        return
    places = Counter(r.target.name for r in decision.candidates if not r.probe)
    drained = {health.target for health in world.healths if health.hold and health.hold.state == "drained"}
    left_out = {cause.target for cause in decision.held}
    expected = world.able - drained or world.able
    assert dict.fromkeys(expected, 1) == {name: count for name, count in places.items() if name in world.able}
    assert left_out == world.able - expected


# ordered is as it was


def ordered_then(candidates: Sequence[Candidate], rng: random.Random) -> list[Candidate]:
    """Lower order first; inside one order drawn by weight, without putting back."""
    ordered: list[Candidate] = []
    for _, group in groupby(sorted(candidates, key=lambda c: c.order), key=lambda c: c.order):
        left = list(group)
        while left:
            drawn = rng.choices(left, weights=[c.weight for c in left])[0] if len(left) > 1 else left[0]
            left.remove(drawn)
            ordered.append(drawn)
    return ordered


def ranked_then(
    ordered: Sequence[Candidate], standing: Callable[[Target], Standing], rng: random.Random, bound: Set[str]
) -> tuple[Ranked, ...]:
    owning: list[Ranked] = []
    ready: list[Ranked] = []
    waiting: list[Ranked] = []
    out: list[Ranked] = []
    for place, candidate in enumerate(ordered, start=1):
        now = standing(candidate.target)
        if now.share > 0 and bound and owner_of_target(candidate.target.name) in bound:
            owning.append(Ranked(candidate.target, f"place {place}, {now.reason}, made what the request brings back"))
        elif now.share >= 1 or (now.share > 0 and rng.random() < now.share):
            ready.append(Ranked(candidate.target, f"place {place}, {now.reason}"))
        elif now.share > 0:
            waiting.append(Ranked(candidate.target, f"place {place}, waits: {now.reason}"))
        else:
            if now.probe_due:
                ready.append(Ranked(candidate.target, f"place {place}, overdue for a probe", probe=True))
            out.append(Ranked(candidate.target, f"last resort: {now.reason}", last_resort=True))
    return (*owning, *ready, *waiting, *out)


@settings(max_examples=40)
@given(worlds(["ordered"], plain=True), st.booleans())
def test_ordered_decides_as_it_did(world: World, informed: bool) -> None:
    """A document that names no strategy gets the same candidates, reasons and draws as before there were any, whatever
    is known of scores."""
    given = {"outlook": known(world.route, *world.healths)} if informed else {}
    bound = {owner_of_target("t1")}
    fit = [c for c in world.route.candidates if c.target.name in world.able]
    rng = random.Random(world.seed)
    expected = ranked_then(ordered_then(fit, rng), lambda one: world.standings[one.name], rng, bound)
    try:
        actual = world.decide(bound=bound, **given).candidates
    except NoCompliantTarget:
        actual = ()
    assert expected == actual
