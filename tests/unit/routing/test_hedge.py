"""Hedging: who is started beside whom and when, who answers, and what becomes of the other."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import HANG, Step, piece, request, taking, target, text_of
from tests.unit.routing.worlds import FINE, LIMITS, USAGE, World, answer
from tests.virtual import run
from understudy.catalog import Price
from understudy.chat.usage import Usage
from understudy.errors import CallerFault, Cause, NoTargetAnswered, RateLimited, Refusal, Silent, Transient
from understudy.health.latency import quantile
from understudy.health.standing import Standing
from understudy.routing.policy import Ranked

P95 = quantile(taking(0.05), 0.95) or 0.0
"""As the histogram has it: 53.8 ms."""
OWN = Price(Decimal(1_000_000), Decimal(1_000_000), "a dollar a token")


def hedging(a: list[list[Step]], b: list[list[Step]], p95: float | None = P95, **fields: object) -> World:
    """A route of `a` and `b` that hedges; `a`'s p95 is known unless told otherwise."""
    fields = {"limits": replace(LIMITS, first_token=1.0, stall=1.0), "agreed": {"hedge": True}, **fields}
    world = World({"a": a, "b": b}, **fields)  # type: ignore[arg-type]
    if p95 is not None:
        world.outcomes.known["a"] = taking(p95)
    return world


@pytest.mark.parametrize("whole", [False, True])
def test_the_first_token_wins(whole: bool) -> None:
    """A lead that is later than its own p95 has the next target started beside it; whoever speaks first answers."""
    world = hedging([[0.5, *answer("lead")]], [[0.02, *answer("spare")]])
    assert ("spare", round(P95 + 0.02, 3)) == (world.run(whole=whole), round(world.seconds, 3))
    assert (["a", "b"], ["a", "b"]) == (world.ask.calls, sorted(world.ask.closed))
    assert [("b", "ok")] == world.outcomes_told
    assert [(False, "cancelled"), (True, "ok")] == [(one.hedge, one.outcome) for one in world.journal.attempts]


def test_a_lead_that_is_late_may_still_win() -> None:
    """The lead speaks while the second is still silent: it answers, and the second is broken off."""
    world = hedging([[0.06, *answer("lead")]], [[HANG]])
    assert ("lead", ["a", "b"]) == (world.run(), sorted(world.ask.closed))
    assert [("ok", "a"), ("cancelled", "b")] == [(one.outcome, one.target.name) for one in world.journal.attempts]
    assert world.journal.attempts[0] is world.journal.answering


def test_the_losers_cost_is_recorded() -> None:
    """A provider may bill for what it worked on: the broken-off call is kept with an estimate of its tokens."""
    ranked = [Ranked(target(name, price=OWN), "place") for name in "ab"]
    world = hedging([[HANG]], [FINE], ranked=ranked)
    world.run()
    lost, won = world.journal.attempts
    assert (Usage(2, 0), True, Decimal(2)) == (lost.usage, lost.estimated, lost.cost)
    assert (USAGE, False, Decimal(5)) == (won.usage, won.estimated, won.cost)
    assert Decimal(7) == world.journal.spent


NOT_HEDGED: list[tuple[str, dict[str, object], float | None]] = [
    ("the route does not hedge", {"agreed": {}}, P95),
    ("nothing is known of the lead", {}, None),
    ("the lead is in time", {}, 0.2),
    ("only one attempt is allowed", {"limits": replace(LIMITS, first_token=1.0, attempts_per_request=1)}, P95),
    (
        "the other is a last resort",
        {"ranked": [Ranked(target("a"), "1"), Ranked(target("b"), "last", last_resort=True)]},
        P95,
    ),
    (
        "the lead is a probe",
        {"ranked": [Ranked(target("a"), "overdue", probe=True), Ranked(target("b"), "2")]},
        P95,
    ),
    ("nobody else is left", {"ranked": [Ranked(target("a"), "1")]}, P95),
]


@pytest.mark.parametrize(("fields", "p95"), [case[1:] for case in NOT_HEDGED], ids=[case[0] for case in NOT_HEDGED])
def test_when_nobody_is_started_beside_the_lead(fields: dict[str, object], p95: float | None) -> None:
    """A hedge needs the route's consent, a known p95 that has passed, and somebody in the rotation to be started."""
    world = hedging([[0.1, *answer("lead")]], [FINE], p95, **fields)
    assert ("lead", ["a"]) == (world.run(), world.ask.calls)


def test_a_target_that_was_benched_meanwhile_is_no_hedge() -> None:
    """Who is out of the rotation by the time the hedge is due is not started, but stays a last resort."""
    world = hedging([[0.1, *answer("lead")]], [FINE])
    world.outcomes.standings["b"] = Standing(0.0, "benched by the provider for 9.0 s more")
    assert ("lead", ["a"]) == (world.run(), world.ask.calls)


def test_two_calls_at_once_fit_the_budget_or_the_second_waits() -> None:
    """Where the budget bears one call at a time, the second is not started beside the first but may follow it."""
    ranked = [Ranked(target(name, price=OWN), "place") for name in "ab"]
    limits = replace(LIMITS, first_token=1.0, retries_per_target=0, max_cost=Decimal(15))
    world = hedging([[0.1, Transient("500")]], [FINE], ranked=ranked, limits=limits, asked=request(max_tokens=10))
    assert ("fine", [False, False]) == (world.run(), [one.hedge for one in world.journal.attempts])


def test_a_probe_is_no_hedge() -> None:
    """A lease is never taken for a hedge: the next in line that is a probe is not started."""
    ranked = [Ranked(target("a"), "1"), Ranked(target("b"), "overdue", probe=True)]
    world = hedging([[0.1, *answer("lead")]], [FINE], ranked=ranked)
    assert ("lead", []) == (world.run(), world.leased)


def test_the_first_fails_while_the_second_runs() -> None:
    """The failure is kept as a cause and not retried; the second one answers."""
    world = hedging([[0.1, Transient("500")]], [[0.2, *answer("spare")]])
    assert ("spare", ["a", "b"]) == (world.run(), world.ask.calls)
    assert [("a", "transient"), ("b", "ok")] == world.outcomes_told


def test_the_second_fails_while_the_first_runs() -> None:
    """The first goes on as if nobody had been started beside it."""
    world = hedging([[0.2, *answer("lead")]], [[Transient("500")]])
    assert ("lead", ["a", "b"]) == (world.run(), world.ask.calls)
    assert [("b", "transient"), ("a", "ok")] == world.outcomes_told


def test_both_fail() -> None:
    """With both gone the last failure is treated as any other: the third target answers, and all causes are kept."""
    scripts: dict[str, list[list[Step]]] = {"a": [[0.1, Silent("s")]], "b": [[0.2, Silent("t")]], "c": [[Silent("u")]]}
    world = World(scripts, replace(LIMITS, first_token=1.0), agreed={"hedge": True})
    world.outcomes.known["a"] = taking(P95)
    result = world.run()
    assert isinstance(result, NoTargetAnswered)
    assert (Cause("a", "silent: s"), Cause("b", "silent: t"), Cause("c", "silent: u")) == result.causes


@pytest.mark.parametrize("failure", [CallerFault("400"), Refusal("policy")])
@pytest.mark.parametrize("first", [True, False])
def test_a_callers_fault_ends_both(failure: CallerFault | Refusal, first: bool) -> None:
    """What is wrong with the request itself is given back at once, and the other call is broken off."""
    world = hedging([[0.1, failure] if first else [HANG]], [[HANG] if first else [0.1, failure]])
    assert failure is world.run()
    assert ["a", "b"] == sorted(world.ask.closed)
    assert ["caller" if isinstance(failure, CallerFault) else "refusal", "cancelled"] == [
        one.outcome for one in (world.journal.attempts if first else reversed(world.journal.attempts))
    ]


def test_a_hint_of_one_does_not_stop_the_other() -> None:
    """A rate limit on the lead is not waited for while the second is at work."""
    world = hedging([[0.1, RateLimited("429", retry_after=2.0)]], [[0.2, *answer("spare")]])
    assert ("spare", []) == (world.run(), world.waits)


def test_a_winner_that_breaks_off_may_be_followed_by_the_loser() -> None:
    """The one that was broken off by us was not at fault: it may go on with the other's answer."""
    world = hedging([[HANG], FINE], [[piece("fi"), 0.1, Silent("cut")]])
    assert ("fine", ["a", "b", "a"]) == (world.run(), world.ask.calls)
    assert ["fresh", "fresh", "repetition"] == [one.how for one in world.journal.attempts]


def test_nobody_is_started_once_the_caller_has_text() -> None:
    """A resumption is not hedged: two voices could not both go on."""
    world = hedging([[piece("fi"), Silent("cut")]], [[0.5, *FINE]])
    world.outcomes.known["b"] = taking(P95)
    assert ("fine", ["a", "b"]) == (world.run(), world.ask.calls)


@pytest.mark.parametrize("spoke", [False, True])
def test_a_caller_that_leaves_cancels_both(spoke: bool) -> None:
    """Whether or not somebody has spoken, both calls are closed at once and told as nobody's failure."""
    world = hedging([[HANG]], [[piece("half"), HANG] if spoke else [HANG]])

    async def leave() -> float:
        chunks = world.chunks()
        if spoke:
            async with aclosing(chunks):
                await anext(chunks)
        else:
            task = asyncio.create_task(anext(chunks))  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task])
        return asyncio.get_running_loop().time()

    assert pytest.approx(P95 if spoke else 0.1, abs=1e-6) == run(leave())
    assert (["a", "b"], []) == (sorted(world.ask.closed), world.outcomes_told)
    assert ["cancelled"] * 2 == [one.outcome for one in world.journal.attempts]
    assert [True] * 2 == [one.estimated for one in world.journal.attempts]


def test_a_slow_caller_reads_the_winners_answer_whole() -> None:
    """What the winner says while nobody reads is kept, in order."""
    world = hedging([[HANG]], [answer("spare")])

    async def read() -> str:
        async with aclosing(world.chunks()) as chunks:
            async for chunk in chunks:
                world.seen.append(chunk)
                await asyncio.sleep(5.0)
        return text_of(world.seen)

    assert "spare" == run(read())
