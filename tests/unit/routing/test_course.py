"""Who is asked next and who is not: money, refused credentials, benches, causes and the final verdict."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import RecordingOutcomes, Step, piece, request, target
from tests.unit.routing.worlds import FINE, LIMITS, World, answer
from understudy.catalog import Price, Target
from understudy.chat.usage import Usage
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    Cause,
    ContextTooLong,
    Credential,
    NoTargetAnswered,
    OverBudget,
    Refusal,
    Silent,
    StreamBroken,
    Transient,
)
from understudy.health.standing import Standing
from understudy.routing.policy import Ranked

DOLLAR = Price(Decimal(1_000_000), Decimal(1_000_000), "a dollar a token")
DIME = Price(Decimal(100_000), Decimal(100_000), "ten cents a token")
FREE = Price(Decimal(0), Decimal(0), "nothing")
SHORT = request(max_tokens=10)
"""Two tokens of prompt and at most ten of answer: a call costs at most 12 dollars at a dollar a token."""


def priced(budget: str | None, scripts: dict[str, list[list[Step]]], prices: dict[str, Price | None]) -> World:
    """A world whose request has a budget, and whose targets have prices."""
    ranked = [Ranked(target(name, provider=name, price=prices.get(name, DOLLAR)), "place") for name in scripts]
    limits = replace(LIMITS, max_cost=None if budget is None else Decimal(budget))
    return World(scripts, limits, ranked=ranked, asked=SHORT)


# money


@pytest.mark.parametrize(("budget", "calls"), [("12", ["a"]), ("11.99", []), (None, ["a"])])
def test_a_call_is_made_only_if_it_fits_the_budget(budget: str | None, calls: list[str]) -> None:
    """A call that may cost more than the request's budget is not made; nobody called is the caller's limit at work."""
    world = priced(budget, {"a": [FINE]}, {})
    result = world.run()
    assert (calls, not calls) == (world.ask.calls, isinstance(result, OverBudget))


def test_a_budget_that_allows_nobody_says_what_it_would_cost() -> None:
    """The error names each target, the most that it may cost and what is left."""
    result = priced("1", {"a": [FINE], "b": [FINE]}, {"b": None}).run()
    assert isinstance(result, OverBudget)
    assert (
        "No target of route 'chat' fits the budget: a: not tried for its cost: it may cost $12, and $1 of the budget "
        "is left; b: not tried for its cost: its price is not known, and the request has a budget."
    ) == result.message


def test_a_target_that_is_too_dear_is_passed_over() -> None:
    """A cheaper target further down answers, and the log says why the first was not asked."""
    world = priced("2", {"a": [FINE], "b": [answer("cheap")]}, {"b": DIME})
    assert ("cheap", ["b"]) == (world.run(), world.ask.calls)
    expected = Cause("a", "not tried for its cost: it may cost $12, and $2 of the budget is left")
    assert [expected] == world.journal.skipped


@pytest.mark.parametrize(("price", "calls"), [(None, ["b"]), (FREE, ["a"])])
def test_an_unknown_price_is_not_nothing(price: Price | None, calls: list[str]) -> None:
    """With a budget a target of unknown price is not asked; one that costs nothing is."""
    world = priced("12", {"a": [FINE], "b": [FINE]}, {"a": price})
    assert ("fine", calls) == (world.run(), world.ask.calls)


def test_without_a_budget_prices_do_not_matter() -> None:
    """A target without a price is asked where the request has no budget."""
    assert "fine" == priced(None, {"a": [FINE]}, {"a": None}).run()


# What the first call may have cost: the prompt of a call that said nothing and was broken off by us, the counts that a
# provider gave, nothing for one that was refused.
SPENT: list[tuple[list[Step], Decimal]] = [
    ([Silent("no first token")], Decimal(2)),
    ([piece("", usage=Usage(5, 0)), Silent("s")], Decimal(5)),
    ([piece("abcdefgh"), Silent("s")], Decimal(4)),
    ([piece("x", usage=Usage(7, 3)), Silent("s")], Decimal(10)),
    ([Credential("401")], Decimal(0)),
]


@pytest.mark.parametrize(("script", "spent"), SPENT)
@pytest.mark.parametrize("enough", [True, False])
def test_what_a_failed_call_cost_is_taken_off(script: list[Step], spent: Decimal, enough: bool) -> None:
    """A failover is made while what is left after the failed call, known or estimated, bears the next one."""
    budget = Decimal(12) + spent - (0 if enough else Decimal("0.01"))
    world = priced(str(budget), {"a": [script], "b": [FINE]}, {})
    result = world.run(whole=True)
    assert (["a", "b"] if enough else ["a"] if spent else []) == world.ask.calls
    assert (spent or None) == (world.journal.attempts[0].cost if world.journal.attempts else None)
    assert enough is (result == "fine")


def test_a_retry_is_paid_from_the_same_budget() -> None:
    """A second call on the same target is made only if both fit."""
    cut: list[Step] = [piece("abcd", usage=Usage(2, 9)), Transient("cut")]
    asked = [priced(budget, {"a": [cut, FINE]}, {}) for budget in ("22.99", "23")]
    results = [world.run(whole=True) for world in asked]
    assert [["a"], ["a", "a"]] == [world.ask.calls for world in asked]
    assert isinstance(results[0], NoTargetAnswered) and "fine" == results[1]


def test_a_resumption_is_paid_from_the_same_budget() -> None:
    """An answer that broke off is not resumed beyond the budget, and the stream says why nobody went on with it."""
    world = priced("13", {"a": [[piece("abcdefgh"), Silent("cut")]], "b": [answer("abcdefghij")]}, {})
    result = world.run()
    assert isinstance(result, StreamBroken)
    assert [Cause("b", "not tried for its cost: it may cost $12, and $9 of the budget is left")] == list(result.causes)


def test_nobody_left_for_money_after_a_failure_is_no_over_budget() -> None:
    """Where somebody was asked, the error is that nobody answered, with the failure and the cost among its causes."""
    result = priced("12", {"a": [[Silent("s")]], "b": [FINE]}, {}).run()
    assert isinstance(result, NoTargetAnswered)
    assert ["a", "b"] == [cause.target for cause in result.causes]


# refused credentials

REFUSALS = [(401, True), (402, True), (429, True), (403, False), (404, False), (400, False), (None, False)]


@pytest.mark.parametrize(("status", "shared"), REFUSALS)
def test_a_refused_key_is_not_tried_on_the_next_model_of_its_provider(status: int | None, shared: bool) -> None:
    """What was said of the key itself holds for all targets of the provider; what was said of a model does not."""
    ranked = [Ranked(target(name, provider=name[0]), "place") for name in ("p1", "p2", "q1")]
    world = World({"p1": [[Credential("no", status=status)]], "p2": [FINE], "q1": [answer("other")]}, ranked=ranked)
    assert ("other" if shared else "fine") == world.run()
    assert (["p1", "q1"] if shared else ["p1", "p2"]) == world.ask.calls
    skipped = [Cause("p2", "not tried: its provider refused the same credential")] if shared else []
    assert skipped == world.journal.skipped


def test_a_refused_key_is_never_the_callers_401() -> None:
    """With all keys refused the error is that nobody answered."""
    result = World({"a": [[Credential("401", status=401)]], "b": [[Credential("403", status=403)]]}).run()
    assert isinstance(result, NoTargetAnswered)
    assert (Cause("a", "credential: 401"), Cause("b", "credential: 403")) == result.causes


# benched or opened meanwhile


class Falling(RecordingOutcomes):
    """Outcomes by which the first failure of any target puts targets out of the rotation."""

    def __init__(self, **falls: str) -> None:
        super().__init__()
        self._falls = {name: Standing(0.0, reason) for name, reason in falls.items()}

    def failed(self, target: Target, failure: AttemptFailed, *, seconds: float, probe: bool) -> str:
        self.standings.update(self._falls)
        return super().failed(target, failure, seconds=seconds, probe=probe)


def test_who_was_benched_meanwhile_is_put_last() -> None:
    """A target that left the rotation since the decision is asked after all others, and it is noted."""
    world = World({"a": [[Silent("s")]], "b": [answer("benched")], "c": [[Silent("t")]]})
    world.outcomes = Falling(b="benched for 9 s")
    assert ("benched", ["a", "c", "b"]) == (world.run(), world.ask.calls)
    assert [Cause("b", "put last: benched for 9 s")] == world.journal.skipped


def test_who_is_put_last_is_no_cause_of_its_own() -> None:
    """A target that was put last and failed is named once, with its failure."""
    world = World({"a": [[Silent("s")]], "b": [[Silent("u")]], "c": [[Silent("t")]]})
    world.outcomes = Falling(b="benched for 9 s")
    result = world.run()
    assert isinstance(result, NoTargetAnswered)
    assert [("a", "silent: s"), ("c", "silent: t"), ("b", "silent: u")] == [
        (cause.target, cause.reason) for cause in result.causes
    ]


@pytest.mark.parametrize(("others", "calls"), [({"b": [FINE]}, ["a", "b"]), ({}, ["a", "a"])])
def test_a_breaker_that_opens_ends_the_retries(others: dict[str, list[list[Step]]], calls: list[str]) -> None:
    """A failure that opened the target's breaker is not retried, unless there is nobody else."""
    world = World({"a": [[Transient("500")], FINE], **others})
    world.outcomes = Falling(a="breaker open")
    assert ("fine", calls) == (world.run(), world.ask.calls)


@pytest.mark.parametrize(("others", "calls"), [({"b": [FINE]}, ["a", "b"]), ({}, ["a", "a"])])
def test_a_failure_among_others_is_no_blip(others: dict[str, list[list[Step]]], calls: list[str]) -> None:
    """Where calls before this one failed too, the same target is not asked again, unless there is nobody else."""
    world = World({"a": [[Transient("500")], FINE], **others})
    world.outcomes.crowded = {"a"}
    assert ("fine", calls) == (world.run(), world.ask.calls)


# who is told what

VERDICTS: list[tuple[list[Step], list[Step], type[Exception]]] = [
    ([Silent("s")], [Transient("500")], NoTargetAnswered),
    ([ContextTooLong("too long")], [Silent("s")], ContextTooLong),
    ([Silent("s")], [ContextTooLong("too long")], ContextTooLong),
    ([Silent("s")], [Refusal("no")], Refusal),
    ([Silent("s")], [CallerFault("400")], CallerFault),
    ([piece("x"), Silent("s")], [CallerFault("400")], StreamBroken),
    ([piece("x"), Silent("s")], [ContextTooLong("too long")], StreamBroken),
    ([piece("x"), Silent("s")], [Refusal("no")], StreamBroken),
]


@pytest.mark.parametrize(("first", "second", "expected"), VERDICTS)
def test_what_the_caller_is_told(first: list[Step], second: list[Step], expected: type[Exception]) -> None:
    """A verdict on the request itself is given back; after the first text it is always the first failure."""
    world = World({"a": [first], "b": [second]}, replace(LIMITS, retries_per_target=0))
    result = world.run()
    assert expected is type(result)
    if isinstance(result, StreamBroken):
        assert ("a", "silent") == (result.target, result.failure.kind)


def test_a_refusal_may_be_answered_by_another_where_the_route_agrees() -> None:
    """A route that opts in gets the next target's answer; the refusal stays in the journal."""
    scripts: dict[str, list[list[Step]]] = {"a": [[Refusal("no")]], "b": [FINE]}
    world = World(scripts, agreed={"reroute_refusals": True})
    assert ("fine", ["refusal", "ok"]) == (world.run(), [one.outcome for one in world.journal.attempts])
    assert isinstance(World(scripts).run(), Refusal)


@pytest.mark.parametrize("agreed", [True, False])
def test_a_refusal_in_the_middle_is_not_routed_around(agreed: bool) -> None:
    """A provider that takes its answer back for its content is believed, unless the route agreed to ask another."""
    world = World({"a": [[piece("fi"), Refusal("no")]], "b": [FINE]}, agreed={"reroute_refusals": agreed})
    result = world.run()
    assert (["a", "b"] if agreed else ["a"]) == world.ask.calls
    assert "fine" == result if agreed else isinstance(result, StreamBroken) and "refusal" == result.failure.kind


def test_the_effect_of_a_failure_is_kept() -> None:
    """What a failure did to its target stands in the journal in words."""
    world = World({"a": [[Silent("s")]], "b": [FINE]})
    world.outcomes.effects["a"] = "its breaker opened for 2.0 s: it was silent"
    world.run()
    assert [world.outcomes.effects["a"], ""] == [one.fields()["effect"] for one in world.journal.attempts]
