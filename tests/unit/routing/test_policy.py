"""Who may serve a request, and in which order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.builders import by, target
from understudy.catalog import Candidate, Route, Target
from understudy.chat.bound import owner_of_target
from understudy.errors import Cause, NoCompliantTarget
from understudy.facts import Constraints, DataFacts
from understudy.health.standing import Standing
from understudy.routing.policy import Decision, decide

DOWN = Standing(0.0, "breaker open")
OVERDUE = Standing(0.0, "breaker open", probe_due=True)
EU = DataFacts(frozenset({"EU"}))


def route(*candidates: Candidate, **fields: Constraints) -> Route:
    return Route("chat", candidates, **fields)


def at(name: str, order: int, weight: float = 1.0, data: DataFacts = EU) -> Candidate:
    return Candidate(target(name, data=data), order, weight)


def decided(
    of: Route,
    health: Mapping[str, Standing] | None = None,
    unfit: Callable[[Target], str | None] = lambda _: None,
    seed: int = 0,
) -> Decision:
    """The decision where `health` says how targets do; the others are healthy."""
    standings = health or {}
    return decide(
        of, judged=by(of), unfit=unfit, standing=lambda t: standings.get(t.name, Standing()), rng=random.Random(seed)
    )


def names(decision: Decision) -> list[str]:
    """The candidates in order: `name`, `name!` as a probe, `(name)` as a last resort."""
    return [
        f"({r.target.name})" if r.last_resort else r.target.name + ("!" if r.probe else "") for r in decision.candidates
    ]


def test_lower_order_goes_first() -> None:
    """Candidates are ranked by order, wherever they stand in the list."""
    assert ["a", "b", "c"] == names(decided(route(at("c", 3), at("a", 1), at("b", 2))))


def test_compliance_comes_before_everything() -> None:
    """A denied target is never a candidate: not when it is the healthiest, not as a last resort, not as a probe."""
    of = route(at("us", 1, data=DataFacts()), at("eu", 2), constraints=Constraints(frozenset({"EU"})))
    asked: list[str] = []

    def unfit(one: Target) -> str | None:
        asked.append(one.name)
        return None

    for standing in (Standing(), DOWN, OVERDUE):
        decision = decided(of, {"us": standing, "eu": DOWN}, unfit)
        assert ["(eu)"] == names(decision)
    denial = "denied by jurisdictions: not declared"
    assert (Cause("us", denial),) == decision.denied
    assert {"eu"} == set(asked)


def test_nobody_compliant_is_an_error_of_its_own() -> None:
    """Where constraints leave nobody the decision is refused, with every denial."""
    of = route(at("a", 1, data=DataFacts()), at("b", 2, data=DataFacts()), constraints=Constraints(no_training=True))
    with pytest.raises(NoCompliantTarget) as caught:
        decided(of)
    reason = "denied by no_training: training not declared"
    assert (Cause("a", reason), Cause("b", reason)) == caught.value.causes


def test_misfits_are_left_out_with_the_reason() -> None:
    """A target that cannot carry the request is no candidate; where none can, nobody is and no constraint is blamed."""
    of = route(at("a", 1), at("b", 2))
    decision = decided(of, unfit=lambda t: "it does not take tools" if t.name == "a" else None)
    assert (["b"], (Cause("a", "it does not take tools"),)) == (names(decision), decision.unfit)
    assert ((), 2) == (decided(of, unfit=lambda _: "no").candidates, len(decided(of, unfit=lambda _: "no").unfit))


def test_drawn_shares_follow_the_weights() -> None:
    """Inside one order the first place is drawn by weight, and the second among those that are left."""
    of = route(at("a", 1, 6.0), at("b", 1, 3.0), at("c", 1, 1.0), at("spare", 2))
    rng, draws = random.Random(7), 6000
    orders = Counter(
        tuple(names(decide(of, judged=by(of), unfit=lambda _: None, standing=lambda _: Standing(), rng=rng)))
        for _ in range(draws)
    )
    first = {n: sum(c for o, c in orders.items() if o[0] == n) / draws for n in "abc"}
    assert {"a": 0.6, "b": 0.3, "c": 0.1} == pytest.approx(first, abs=0.03)
    assert pytest.approx(0.6 * 3 / 4, abs=0.03) == orders["a", "b", "c", "spare"] / draws
    assert {"spare"} == {o[-1] for o in orders}


def test_every_target_is_ranked_once() -> None:
    """The same weights and seed give the same order, and each target has one place."""
    of = route(*[at(f"t{i}", 1, 10.0**i) for i in range(6)])
    assert names(decided(of, seed=3)) == names(decided(of, seed=3))
    assert [f"t{i}" for i in range(6)] == sorted(names(decided(of, seed=3)))


def test_ejected_targets_become_the_last_resort() -> None:
    """A target out of the rotation goes behind all others, but is never lost, not even when all are out."""
    of = route(at("a", 1), at("b", 2), at("c", 3))
    assert ["b", "c", "(a)"] == names(decided(of, {"a": DOWN}))
    assert ["(a)", "(b)", "(c)"] == names(decided(of, {"a": DOWN, "b": DOWN, "c": DOWN}))
    assert "last resort: breaker open" == decided(of, {"a": DOWN}).candidates[-1].reason


def test_an_overdue_target_is_probed_in_its_own_place() -> None:
    """A target whose probe is overdue is tried where it stands, under the lease, and stays a last resort besides."""
    of = route(at("a", 1), at("b", 2))
    assert ["a!", "b", "(a)"] == names(decided(of, {"a": OVERDUE}))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_returning_target_gets_its_share(share: float) -> None:
    """During the ramp a target leads for its share of requests; otherwise it waits behind the ready, before the out."""
    of = route(at("back", 1), at("b", 2), at("out", 1))
    health = {"back": Standing(share, "coming back"), "out": DOWN}
    orders = Counter(tuple(names(decided(of, health, seed=seed))) for seed in range(3000))
    assert {("back", "b", "(out)"), ("b", "back", "(out)")} == set(orders)
    assert pytest.approx(share, abs=0.03) == orders["back", "b", "(out)"] / 3000


def test_a_returning_target_serves_where_nobody_else_can() -> None:
    """A target that is only coming back takes everything when it is the only one."""
    of = route(at("back", 1))
    health = {"back": Standing(0.1, "coming back")}
    assert {("back",)} == {tuple(names(decided(of, health, seed=seed))) for seed in range(50)}


def bound_to(of: Route, *owners: str, **health: Standing) -> Decision:
    marks = {owner_of_target(name) for name in owners}
    standing = lambda t: health.get(t.name, Standing())  # noqa: E731
    return decide(of, judged=by(of), unfit=lambda _: None, standing=standing, rng=random.Random(0), bound=marks)


def test_who_made_what_the_request_brings_back_goes_first() -> None:
    """The owner of bound content is asked before those of a lower order, and the reason says so."""
    decision = bound_to(route(at("a", 1), at("b", 2), at("c", 3)), "c")
    assert ["c", "a", "b"] == names(decision)
    assert "made what the request brings back" in decision.candidates[0].reason


def test_an_owner_that_is_out_stays_out() -> None:
    """Affinity changes no health: an owner whose breaker is open is a last resort like any other."""
    assert ["a", "(c)"] == names(bound_to(route(at("a", 1), at("c", 2)), "c", c=DOWN))


def test_an_owner_must_be_compliant() -> None:
    """Affinity opens no door that a constraint has closed."""
    of = route(at("us", 1, data=DataFacts()), at("eu", 2), constraints=Constraints(frozenset({"EU"})))
    assert ["eu"] == names(bound_to(of, "us"))
