"""Nobody who may serve a request is lost, and nobody who may not is asked, however targets do."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import by, target
from understudy.catalog import BreakerSettings, Candidate, Route, Target
from understudy.compliance import Allowed, judge
from understudy.errors import AttemptFailed, NoCompliantTarget, Transient
from understudy.facts import Constraints, DataFacts
from understudy.health.breaker import Breaker, step
from understudy.health.observation import Observation
from understudy.health.standing import Standing, standing
from understudy.routing.policy import Decision, Ranked, decide

PLACES = st.frozensets(st.sampled_from(["EU", "US", "CH"]))
FACTS = st.builds(DataFacts, PLACES, st.none() | st.integers(0, 60), st.none() | st.booleans())
CONSTRAINTS = st.builds(Constraints, PLACES, st.none() | st.integers(0, 60), st.booleans())
STANDINGS = st.builds(Standing, st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0, 1), st.just("so"), st.booleans())


@dataclass(frozen=True)
class World:
    """A route, how its targets do, which of them cannot carry the request, and the chance of the draw."""

    route: Route
    standings: dict[str, Standing]
    unfit: frozenset[str]
    seed: int

    def decide(self) -> Decision:
        return decide(
            self.route,
            judged=by(self.route),
            unfit=lambda one: "it cannot" if one.name in self.unfit else None,
            standing=lambda one: self.standings[one.name],
            rng=random.Random(self.seed),
        )

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """Who would be asked, in order; nobody where the decision is refused."""
        try:
            return self.decide().candidates
        except NoCompliantTarget:
            return ()

    @property
    def denied(self) -> set[str]:
        return {t.name for t in self.targets if not isinstance(judge(t, self.route.constraints, 0.0), Allowed)}

    @property
    def able(self) -> set[str]:
        """Those that may and can serve."""
        return {t.name for t in self.targets} - self.denied - self.unfit

    @property
    def targets(self) -> list[Target]:
        return [candidate.target for candidate in self.route.candidates]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = [f"t{n}" for n in range(draw(st.integers(1, 6)))]
    candidates = tuple(
        Candidate(target(name, data=draw(FACTS)), draw(st.integers(1, 3)), draw(st.floats(0.01, 100))) for name in names
    )
    return World(
        Route("chat", candidates, constraints=draw(CONSTRAINTS)),
        {name: draw(STANDINGS) for name in names},
        draw(st.frozensets(st.sampled_from(names))),
        draw(st.integers(0, 2**32)),
    )


def places(ranked: tuple[Ranked, ...]) -> Counter[str]:
    """How often each target has a place; a probe beside a last resort does not count."""
    return Counter(each.target.name for each in ranked if not each.probe)


@given(worlds())
def test_whoever_may_and_can_serve_has_exactly_one_place(world: World) -> None:
    """Every compliant target that can carry the request is once in the rotation or once a last resort."""
    assert dict.fromkeys(world.able, 1) == places(world.ranked)


@given(worlds())
def test_nobody_denied_is_ever_asked(world: World) -> None:
    """A denied target has no place: not in the rotation, not as a last resort, not as a probe; its denial is told."""
    assert world.able >= {each.target.name for each in world.ranked}
    try:
        decision = world.decide()
        denied, unfit = decision.denied, decision.unfit
    except NoCompliantTarget as refused:
        denied, unfit = refused.causes, ()
    assert world.denied == {cause.target for cause in denied}
    assert world.unfit - world.denied == {cause.target for cause in unfit}


@given(worlds())
def test_a_decision_is_refused_only_where_everybody_is_denied(world: World) -> None:
    """As long as one target complies there is a decision, however badly all of them do."""
    try:
        world.decide()
        refused = False
    except NoCompliantTarget:
        refused = True
    assert (world.denied == {t.name for t in world.targets}) == refused


@given(worlds())
def test_the_last_resort_comes_last(world: World) -> None:
    """Targets out of the rotation come behind all others, and a probe is only for one of them that is overdue."""
    ranked = world.ranked
    assert [each.last_resort for each in ranked] == sorted(each.last_resort for each in ranked)
    assert {n for n in world.able if world.standings[n].share == 0} == {e.target.name for e in ranked if e.last_resort}
    probes = {each.target.name for each in ranked if each.probe}
    assert {n for n in world.able if world.standings[n].share == 0 and world.standings[n].probe_due} == probes


FAILING = st.lists(
    st.tuples(st.integers(0, 2), st.none() | st.just(Transient("500")), st.sampled_from(["traffic", "probe"])),
    max_size=40,
)


@given(FAILING, st.floats(0, 300), st.integers(0, 2**32))
def test_no_history_of_failures_ejects_everybody(
    calls: list[tuple[int, AttemptFailed | None, str]], later: float, seed: int
) -> None:
    """Whatever the breakers have seen, each of three compliant targets can still be asked."""
    rng, settings = random.Random(seed), BreakerSettings()
    breakers, now = [Breaker()] * 3, 1000.0
    for which, failure, source in calls:
        now += 0.5
        seen = Observation(f"t{which}", now, source)  # type: ignore[arg-type]
        seen = seen.success(now, 0.1) if failure is None else seen.failure(now, failure)
        breakers[which] = step(breakers[which], seen, settings, rng)
    names = [f"t{which}" for which in range(3)]
    route = Route("chat", tuple(Candidate(target(name), 1) for name in names))
    health = {
        name: standing(breaker, 0.0, now + later, settings) for name, breaker in zip(names, breakers, strict=True)
    }
    ranked = World(route, health, frozenset(), seed).decide().candidates
    assert dict.fromkeys(names, 1) == places(ranked)
