"""What callers may ask of every request and be sure of: leaving, deadlines, budgets, hedges, and an honest account."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from tests.one_router import Router, play, routed
from tests.raw_provider import RawProvider, Reply, closed_port
from tests.spoken import ANTHROPIC, COMPLETION, CROSSED, OPENAI, PROMPT, SSE, Speaker, refused, streamed
from understudy.health.item import Health
from understudy.health.latency import bucket

TEXT = "Grüße 🙂 無限"
NOTHING = Reply(status=None, ending="hang")
DEADLINE, BUDGET = "x-understudy-deadline-ms", "x-understudy-max-cost"
PRICE = {"price": {"input_per_million": "1000", "output_per_million": "10000"}}
"""A thousandth of a dollar for a token of prompt, a hundredth for one of the answer."""

crossed = pytest.mark.parametrize(("lead", "spare"), CROSSED, ids=[lead.wire for lead, _ in CROSSED])
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine(speaker: Speaker, text: str = TEXT, model: str = "large-1") -> Reply:
    return streamed(speaker.pieces([text[:3], text[3:]], model=model))


# callers that leave


async def left(router: Router, stream: bool, after: float) -> None:
    """A caller that leaves while it waits for the head of its answer."""
    task = asyncio.create_task(router.answer(stream=stream))
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


SILENT: dict[str, Callable[[Speaker], Reply]] = {
    "no head": lambda speaker: NOTHING,
    "head only": lambda speaker: Reply(headers=SSE, ending="hang"),
    "role only": lambda speaker: streamed(speaker.pieces(["x"])).broken("hang", after=2),
    "half": lambda speaker: streamed(speaker.pieces(["x"])).broken("hang", after=3),
}


# A streaming caller has the head of its answer once there is a text.
WAITING = [(silence, stream) for silence in SILENT for stream in (False, True) if not stream or silence != "half"]


@crossed
@pytest.mark.parametrize(("silence", "stream"), WAITING)
def test_a_caller_that_leaves_before_the_first_token(silence: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """The provider sees the abort at once, nothing more is tried, nobody is blamed, and the prompt's tokens count."""

    async def scene() -> None:
        first, second = RawProvider(SILENT[silence](lead)), RawProvider(fine(spare))
        limits = {"first_token_s": 5, "stall_s": 5}
        async with routed((lead, first), (spare, second), limits=limits) as router:
            await left(router, stream, 0.1)
            assert await first.aborted(0.2)
            assert (1, 0) == (len(first.calls), len(second.calls))
            (attempt,) = router.decision["attempts"]
            assert ("CancelledError", "cancelled") == (router.decision["outcome"], attempt["outcome"])
            # The prompt's tokens are known from the start on one wire, estimated on the other.
            told = lead is ANTHROPIC and silence not in ("no head", "head only")
            assert (PROMPT if told else 2, not told) == (
                attempt["usage"]["prompt_tokens"],
                attempt["usage_estimated"],
            )
            assert [] == router.table.observations

    asyncio.run(scene())


@crossed
@pytest.mark.parametrize("how", ["closes", "is cancelled"])
def test_a_caller_that_leaves_after_the_first_token(how: str, lead: Speaker, spare: Speaker) -> None:
    """The provider sees the abort at once, nothing more is tried, and the tokens that came are counted."""

    async def read(body: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(body) as pieces:
            await anext(pieces)
            await anext(pieces)
            if how == "is cancelled":
                await anext(pieces)

    async def scene() -> None:
        first = RawProvider(streamed(lead.pieces(["a word of some length "] * 50)).broken("hang", after=3))
        second = RawProvider(fine(spare))
        async with routed((lead, first), (spare, second), limits={"stall_s": 5}) as router:
            answered = await router.answer(stream=True)
            assert not isinstance(answered.body, bytes)
            task = asyncio.create_task(read(answered.body))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task])
            assert await first.aborted(0.2)
            assert (1, 0) == (len(first.calls), len(second.calls))
            (attempt,) = router.decision["attempts"]
            assert ("lead", "cancelled", True) == (
                router.decision["target"],
                attempt["outcome"],
                attempt["usage_estimated"],
            )
            assert (PROMPT if lead is ANTHROPIC else 2, 6) == (
                attempt["usage"]["prompt_tokens"],
                attempt["usage"]["completion_tokens"],
            )
            assert [] == router.table.observations

    asyncio.run(scene())


@crossed
def test_a_caller_that_leaves_without_reading_anything(lead: Speaker, spare: Speaker) -> None:
    """An answer whose body nobody ever begins to read does not leave the provider's line open."""

    async def scene() -> None:
        first = RawProvider(streamed(lead.pieces(["x"])).broken("hang", after=3))
        async with routed((lead, first), (spare, RawProvider(fine(spare)))) as router:
            answered = await router.answer(stream=True)
            assert not isinstance(answered.body, bytes)
            await answered.body.aclose()
            del answered
            gc.collect()
            assert await first.aborted(0.2)

    asyncio.run(scene())


@crossed
def test_a_caller_that_leaves_during_a_wait_for_the_provider(lead: Speaker, spare: Speaker) -> None:
    """While a Retry-After is waited out nothing is under way, and nothing is tried once the caller has gone."""

    async def scene() -> None:
        first = RawProvider(refused(429, lead.problem("rate_limit_error", "slow"), retry_after="1"))
        second = RawProvider(fine(spare))
        async with routed((lead, first), (spare, second)) as router:
            await left(router, True, 0.1)
            await asyncio.sleep(1.1)
            assert (1, 0, "CancelledError") == (len(first.calls), len(second.calls), router.decision["outcome"])

    asyncio.run(scene())


# nobody answers

DEAD: dict[str, Callable[[Speaker], Reply]] = {
    "500": lambda speaker: refused(500, speaker.problem("api_error", "oops")),
    "529": lambda speaker: refused(529, speaker.problem("overloaded_error", "busy")),
    "silent": lambda speaker: NOTHING,
    "garbage": lambda speaker: Reply(headers={"content-type": "text/html"}, pieces=[(0.0, b"<html>")]),
}


@crossed
@both
@pytest.mark.parametrize("death", DEAD)
def test_with_all_targets_dead_the_error_is_clean(death: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """One error object that lists every cause, long before the deadline: 504 for silence, else 503; four attempts at
    most."""
    scene = play((lead, [DEAD[death](lead)]), (spare, [DEAD[death](spare)]), stream=stream)
    error, status = json.loads(scene.told.raw)["error"], 504 if death == "silent" else 503
    assert (status, "server_error", "no_target_answered") == (scene.told.status, error["type"], error["code"])
    assert ("lead: " in error["message"], "spare: " in error["message"]) == (True, True)
    assert (True, True) == (2 <= sum(scene.calls) <= 4, scene.told.seconds < 4)


@crossed
def test_benched_targets_are_asked_when_nobody_else_is_left(lead: Speaker, spare: Speaker) -> None:
    """With one target dead and the other benched, the benched one is a last resort, not an error."""

    async def scene() -> None:
        second = RawProvider(fine(spare))
        async with routed((lead, closed_port()), (spare, second)) as router:
            router.store.put_health(Health("spare", benched_until=time.time() + 60))
            assert (await router.ask(stream=True)).whole(TEXT)
            assert "last resort: benched" in router.decision["candidates"][-1]["reason"]

    asyncio.run(scene())


@both
def test_the_deadline_holds_whatever_the_targets_do(stream: bool) -> None:
    """Two silent targets and a second of time: both are asked, and the error comes within the second."""
    limits = {"first_token_s": 1, "connect_s": 1, "request_s": 1}
    scene = play((OPENAI, [NOTHING]), (ANTHROPIC, [NOTHING]), stream=stream, limits=limits)
    assert (504, (1, 1)) == (scene.told.status, scene.calls)
    assert 0.9 <= scene.told.seconds < 1.2
    assert ["out_of_time", "out_of_time"] == scene.outcomes


# limits of one request


@crossed
@both
def test_a_callers_deadline_is_shared_between_the_targets(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """A silent lead does not eat all of it: the understudy answers in time, and the lead is not blamed."""
    limits = {"first_token_s": 10, "request_s": 30}
    scene = play((lead, [NOTHING]), (spare, [fine(spare)]), stream=stream, headers={DEADLINE: "600"}, limits=limits)
    assert scene.told.whole(TEXT)
    assert 0.28 <= scene.told.seconds < 0.6
    assert (["out_of_time", "ok"], 600) == (scene.outcomes, scene.router.decision["limits"]["request_ms"])
    assert "closed" == scene.router.fold().get("lead", Health("lead")).state


@pytest.mark.parametrize(("given", "expected"), [("60000", 700), ("700", 700), ("300", 300), ("1", 1)])
def test_a_caller_may_only_tighten_the_deadline(given: str, expected: int) -> None:
    """A longer deadline than the route's is no error and no extension."""
    headers, limits = {DEADLINE: given}, {"connect_s": 0.5, "first_token_s": 0.5, "request_s": 0.7}
    scene = play((OPENAI, [fine(OPENAI)]), (ANTHROPIC, [fine(ANTHROPIC)]), headers=headers, limits=limits)
    assert expected == scene.router.decision["limits"]["request_ms"]


def priced(headers: dict[str, str], lead_has: dict[str, Any], spare_has: dict[str, Any], **fields: Any) -> Any:
    body = {"max_tokens": 10}
    return play(
        (OPENAI, [fine(OPENAI, "lead")]),
        (ANTHROPIC, [fine(ANTHROPIC, "spare")]),
        headers=headers,
        body=body,
        lead_has=lead_has,
        spare_has=spare_has,
        **fields,
    )


CHEAP = {"price": {"input_per_million": "1", "output_per_million": "10"}}
# Two tokens of prompt and ten of answer: at most 0.102 dollars.
BUDGETS = [("0.102", "lead"), ("0.1019", "spare"), ("0.000102", "spare"), ("0.0001", None)]


@pytest.mark.parametrize(("budget", "expected"), BUDGETS)
def test_a_callers_budget_chooses_who_may_be_asked(budget: str, expected: str | None) -> None:
    """Who could cost more is passed over; where nobody fits, nobody is called and the error says so."""
    scene = priced({BUDGET: budget}, PRICE, CHEAP)
    if expected is not None:
        assert scene.told.whole(expected)
        return
    error = json.loads(scene.told.raw)["error"]
    assert (400, "max_cost_too_low", (0, 0)) == (scene.told.status, error["code"], scene.calls)


@pytest.mark.parametrize(("given", "expected"), [("100", "0.05"), ("0.01", "0.01")])
def test_a_caller_may_only_tighten_the_budget(given: str, expected: str) -> None:
    """A larger budget than the route's changes nothing."""
    scene = priced({BUDGET: given}, CHEAP, CHEAP, limits={"max_cost_usd": "0.05"})
    assert expected == scene.router.decision["limits"]["max_cost_usd"]


def test_an_unknown_price_does_not_fit_any_budget() -> None:
    """With a budget, a target without a price is passed over."""
    assert priced({BUDGET: "1"}, {}, CHEAP).told.whole("spare")


MALFORMED = [
    *[(DEADLINE, value) for value in ("", "0", "-1", "1.5", "1e3", "soon", "٣٠٠", "9999999999", " 5")],
    *[(BUDGET, value) for value in ("", "0", "0.0", "-1", ".5", "1e3", "NaN", "inf", "much", "$1", "0.0000000000001")],
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_limit_is_refused(name: str, value: str) -> None:
    """A limit that cannot be read is never ignored: 400 that names the header, and nobody is called."""
    scene = priced({name: value}, CHEAP, CHEAP)
    error = json.loads(scene.told.raw)["error"]
    assert (400, name, (0, 0)) == (scene.told.status, error["param"], scene.calls)


# hedging


async def known(router: Router) -> None:
    """The lead's first tokens are known: 0.1 s."""
    router.store.put_health(Health("lead", first_tokens=((bucket(0.1), 50.0),)))


@crossed
@both
def test_a_hedge_answers_and_the_loser_is_cancelled(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """A lead later than its own p95 has the understudy beside it; the lead's call is aborted and its cost recorded."""

    async def scene() -> None:
        first, second = RawProvider(fine(lead).late(20)), RawProvider(fine(spare))
        fields: dict[str, Any] = {"hedge": True, "lead_has": PRICE, "spare_has": PRICE}
        async with routed((lead, first), (spare, second), limits={"first_token_s": 5}, **fields) as router:
            await known(router)
            told = await router.ask(stream=stream)
            assert told.whole(TEXT)
            assert (True, True) == (0.1 <= told.seconds < 0.35, await first.aborted(0.2))
            lost, won = router.decision["attempts"]
            assert (["cancelled", "ok"], [False, True]) == (
                [lost["outcome"], won["outcome"]],
                [lost["hedge"], won["hedge"]],
            )
            assert ("0.002", True) == (lost["cost_usd"], lost["usage_estimated"])
            cost = Decimal(router.decision["cost_usd"])
            assert Decimal("0.001") * PROMPT + Decimal("0.01") * COMPLETION == cost
            assert cost + Decimal("0.002") == Decimal(router.decision["attempts_cost_usd"])

    asyncio.run(scene())


@crossed
@pytest.mark.parametrize("hedge", [True, False])
def test_a_lead_in_time_is_not_hedged(hedge: bool, lead: Speaker, spare: Speaker) -> None:
    """Where the route does not hedge, or the lead speaks before its p95, the understudy is not called."""

    async def scene() -> None:
        first, second = RawProvider(fine(lead).late(0.02 if hedge else 0.2)), RawProvider(fine(spare))
        async with routed((lead, first), (spare, second), hedge=hedge) as router:
            await known(router)
            assert (await router.ask(stream=True)).whole(TEXT)
            assert (1, 0) == (len(first.calls), len(second.calls))

    asyncio.run(scene())


@crossed
def test_a_caller_that_leaves_a_hedged_request_cancels_both(lead: Speaker, spare: Speaker) -> None:
    """Both providers see the abort."""

    async def scene() -> None:
        first, second = RawProvider(NOTHING), RawProvider(NOTHING)
        async with routed((lead, first), (spare, second), hedge=True, limits={"first_token_s": 5}) as router:
            await known(router)
            await left(router, True, 0.3)
            assert (True, True) == (await first.aborted(0.2), await second.aborted(0.2))
            assert ["cancelled"] * 2 == [one["outcome"] for one in router.decision["attempts"]]

    asyncio.run(scene())


# the account


@crossed
@both
def test_the_account_is_that_of_who_answered(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """Model, usage and cost are the understudy's; the tokens of the failed call stand beside it, not in it."""
    lead_half = streamed(lead.pieces(["", "abcdefgh"], model="lead-1")).broken("close", after=4)
    scene = play(
        (lead, [lead_half]),
        (spare, [fine(spare, "abcdefgh and more", "spare-1")]),
        stream=stream,
        body={"stream_options": {"include_usage": True}} if stream else None,
        lead_has=PRICE,
        spare_has=PRICE,
        limits={"retries_per_target": 0},
    )
    assert scene.told.whole("abcdefgh and more")
    usage, decision = scene.told.usage or {}, scene.router.decision
    assert ("spare-1", PROMPT, COMPLETION) == (scene.told.model, usage["prompt_tokens"], usage["completion_tokens"])
    cost = Decimal("0.001") * PROMPT + Decimal("0.01") * COMPLETION
    assert ("spare", "spare-1", cost) == (
        decision["target"],
        decision["reported_model"],
        Decimal(decision["cost_usd"]),
    )
    failed = decision["attempts"][0]
    assert (2, True) == (failed["usage"]["completion_tokens"], failed["usage_estimated"])
    assert (PROMPT if lead is ANTHROPIC else 2) == failed["usage"]["prompt_tokens"]
    assert Decimal(failed["cost_usd"]) + cost == Decimal(decision["attempts_cost_usd"])
    assert ("lead-1", "transient") == (failed["reported_model"], failed["outcome"])


@both
def test_a_call_that_was_refused_costs_nothing(stream: bool) -> None:
    """An error answer is not billed, so no tokens are made up for it."""
    scene = play(
        (OPENAI, [refused(503, b"busy")]),
        (ANTHROPIC, [fine(ANTHROPIC)]),
        stream=stream,
        lead_has=PRICE,
        spare_has=PRICE,
    )
    decision = scene.router.decision
    assert [None, None] == [one["usage"] for one in decision["attempts"][:2]]
    assert decision["cost_usd"] == decision["attempts_cost_usd"]


@both
def test_the_headers_say_what_happened(stream: bool) -> None:
    """Target, route, attempts and the request's id are headers of every answer."""
    scene = play((OPENAI, [refused(503, b"busy")]), (ANTHROPIC, [fine(ANTHROPIC)]), stream=stream)
    told = scene.told.headers
    assert ["spare", "chat", "3"] == [told[f"x-understudy-{name}"] for name in ("target", "route", "attempts")]
    assert told["x-understudy-request-id"] == scene.router.decision["request_id"]
