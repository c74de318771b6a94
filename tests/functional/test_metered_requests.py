"""Every path of a request is metered, over real sockets: what an attempt costs is in the ledger however it ended."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.one_router import KEY, Router, routed
from tests.raw_provider import RawProvider, Reply
from tests.spoken import COMPLETION, JSON, OPENAI, PROMPT, refused, streamed
from understudy.health.item import Health
from understudy.health.latency import bucket
from understudy.keys import hash_key
from understudy.ports import Charge, Token
from understudy.pricing.ledger import day_of
from understudy.runtime.gateway import ApiRequest

PRICE = {"price": {"input_per_million": "1000", "output_per_million": "10000"}}
FIELDS: dict[str, Any] = {"lead_has": PRICE, "spare_has": PRICE}
ALONE: dict[str, Any] = FIELDS | {"targets": ["lead"]}
SPARE = (OPENAI, "http://127.0.0.1:9")
WHOLE = Decimal("0.001") * PROMPT + Decimal("0.01") * COMPLETION
FINE = streamed(OPENAI.pieces(["a few ", "words"]))
LONG = OPENAI.pieces(["a word of some length "] * 50)


def lines(router: Router, account: str | None = None) -> dict[tuple[str, str, str], Charge]:
    """The ledger of the caller, or of another account, by line."""
    today = day_of(time.time())
    found = router.store.ledger([hash_key(KEY) if account is None else account], today, today)
    return {line.charge.line: line.charge for line in found}


async def settled(router: Router) -> None:
    await asyncio.sleep(0.05)


def answered(target: str, **more: Any) -> Charge:
    return Charge(
        "traffic",
        "chat",
        target,
        **{"usd": WHOLE, "requests": 1, "attempts": 1, "prompt_tokens": PROMPT, "completion_tokens": COMPLETION} | more,
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_is_charged_to_its_caller(stream: bool) -> None:
    """One line with what the provider counted; the sum of the day and the month has it."""

    async def scene() -> None:
        async with routed((OPENAI, RawProvider(FINE)), SPARE, **ALONE) as router:
            await router.ask(stream=stream)
            await settled(router)
            assert {("traffic", "chat", "lead"): answered("lead")} == lines(router)
            spent = router.store.spent(hash_key(KEY), time.time())
            assert (WHOLE, WHOLE) == (spent.day, spent.month)

    asyncio.run(scene())


def test_a_failed_attempt_is_a_line_of_its_own() -> None:
    """Two calls that failed before any token cost nothing and are counted; the answer is the spare's."""

    async def scene() -> None:
        lead, spare = RawProvider(refused(500, OPENAI.problem("api_error", "oops"))), RawProvider(FINE)
        async with routed((OPENAI, lead), (OPENAI, spare), **FIELDS) as router:
            await router.ask(stream=True)
            await settled(router)
            failed = Charge("traffic", "chat", "lead", attempts=2)
            assert {failed.line: failed, ("traffic", "chat", "spare"): answered("spare")} == lines(router)

    asyncio.run(scene())


def test_an_attempt_that_hangs_is_charged_by_estimate() -> None:
    """A provider that took the prompt and said nothing may bill for it."""

    async def scene() -> None:
        lead, spare = RawProvider(FINE.late(30)), RawProvider(FINE)
        async with routed((OPENAI, lead), (OPENAI, spare), **FIELDS) as router:
            await router.ask(stream=False)
            await settled(router)
            hung = lines(router)["traffic", "chat", "lead"]
            assert (1, 0, 2) == (hung.attempts, hung.requests, hung.prompt_tokens)
            assert Decimal("0.002") == hung.usd == hung.usd_estimated

    asyncio.run(scene())


def test_a_stream_that_is_cut_is_charged_for_what_came() -> None:
    """The tokens that arrived before the cut, by estimate, and the whole answer of whoever went on."""

    async def scene() -> None:
        lead = RawProvider(streamed(LONG).broken("reset", after=12))
        async with routed((OPENAI, lead), (OPENAI, RawProvider(streamed(LONG))), **FIELDS) as router:
            told = await router.ask(stream=True)
            assert told.text == "a word of some length " * 50
            await settled(router)
            cut = lines(router)["traffic", "chat", "lead"]
            assert (1, cut.usd) == (cut.attempts, cut.usd_estimated)
            assert cut.completion_tokens >= 40
            assert answered("spare") == lines(router)["traffic", "chat", "spare"]

    asyncio.run(scene())


def test_a_caller_who_leaves_pays_for_what_he_caused() -> None:
    """Closing early is no way around a budget: tokens that came are charged, by estimate."""

    async def scene() -> None:
        lead = RawProvider(streamed(LONG).broken("hang", after=20))
        async with routed((OPENAI, lead), SPARE, limits={"stall_s": 5}, **ALONE) as router:
            answer = await router.answer(stream=True)
            assert not isinstance(answer.body, bytes)
            async with aclosing(answer.body) as pieces:
                await anext(pieces)
                await anext(pieces)
            await settled(router)
            (left,) = lines(router).values()
            assert (1, 1, left.usd) == (left.requests, left.attempts, left.usd_estimated)
            assert left.usd >= Decimal("0.002") + Decimal("0.01") * 6

    asyncio.run(scene())


def test_a_hedge_that_lost_is_charged() -> None:
    """Both calls of a hedged request are, the one that was broken off by estimate."""

    async def scene() -> None:
        lead, spare = RawProvider(FINE.late(20)), RawProvider(FINE)
        limits = {"first_token_s": 5}
        async with routed((OPENAI, lead), (OPENAI, spare), hedge=True, limits=limits, **FIELDS) as router:
            router.store.put_health(Health("lead", first_tokens=((bucket(0.1), 50.0),)))
            await router.ask(stream=False)
            await settled(router)
            lost = lines(router)["traffic", "chat", "lead"]
            assert (1, 0, Decimal("0.002"), Decimal("0.002")) == (
                lost.attempts,
                lost.requests,
                lost.usd,
                lost.usd_estimated,
            )
            assert answered("spare") == lines(router)["traffic", "chat", "spare"]

    asyncio.run(scene())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_copy_is_charged_to_the_router_itself(stream: bool) -> None:
    """Its caller never asked for it; what he spent is his answer alone."""

    async def scene() -> None:
        shadow = {"targets": ["lead"], "shadow": {"target": "spare", "share": 1.0}}
        lead = RawProvider(FINE.late(0.05))
        async with routed((OPENAI, lead), (OPENAI, RawProvider(FINE)), **FIELDS | shadow) as router:
            await router.ask(stream=stream)
            await settled(router)
            assert {("traffic", "chat", "lead"): answered("lead")} == lines(router)
            copy = replace(answered("spare"), purpose="shadow", requests=0)
            assert {copy.line: copy} == lines(router, "")

    asyncio.run(scene())


def test_an_unknown_price_is_never_nothing() -> None:
    """It is estimated by an assumed price and says so; a copy of the document's dearest price is not undercut."""

    async def scene() -> None:
        async with routed((OPENAI, RawProvider(FINE)), (OPENAI, RawProvider(FINE)), spare_has=PRICE) as router:
            await router.ask(stream=False)
            await settled(router)
            (found,) = lines(router).values()
            assert WHOLE == found.usd == found.usd_estimated
            (attempt,) = router.decision["attempts"]
            assert (WHOLE, True) == (Decimal(attempt["cost_usd"]), attempt["cost_estimated"])

    asyncio.run(scene())


def test_embeddings_are_charged_and_counts_are_free() -> None:
    """Tokens of an embedding are tokens of a prompt; a count of tokens bills nobody, estimated or not."""

    async def scene() -> None:
        vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        whole = {"object": "list", "data": [vector], "model": "e", "usage": usage}
        lead = RawProvider(Reply(headers=JSON, pieces=[(0.0, json.dumps(whole).encode())]))
        has = {**PRICE, "capabilities": {"embeddings": True}}
        async with routed((OPENAI, lead), SPARE, **ALONE | {"lead_has": has}) as router:
            for path, body in {
                "/embeddings": {"model": "chat", "input": "hello"},
                "/messages/count_tokens": {"model": "chat", "messages": [{"role": "user", "content": "hello"}]},
            }.items():
                named = {"authorization": f"Bearer {KEY}"}
                given = ApiRequest("POST", path, named, json.dumps(body).encode(), "")
                assert 200 == (await router.service.answer(given)).status
            await settled(router)
            found = lines(router)
            embedded = answered("lead", usd=Decimal("0.004"), prompt_tokens=4, completion_tokens=0)
            assert embedded == found.pop(embedded.line)
            assert [Charge("traffic", "chat", "", requests=1)] == list(found.values())

    asyncio.run(scene())


def test_a_request_that_nobody_answers_is_counted() -> None:
    """It is the last target's that was asked."""

    async def scene() -> None:
        lead = RawProvider(refused(500, OPENAI.problem("api_error", "oops")))
        async with routed((OPENAI, lead), SPARE, **ALONE) as router:
            assert 200 != (await router.ask(stream=False)).status
            await settled(router)
            (found,) = lines(router).values()
            assert (1, 0) == (found.requests, found.usd)
            assert found.attempts >= 2

    asyncio.run(scene())


def test_a_key_reads_what_it_has_spent() -> None:
    """Its own money alone: today, this month, and line by line; without a key nothing."""

    async def scene() -> None:
        async with routed((OPENAI, RawProvider(FINE)), SPARE, **ALONE) as router:
            await router.ask(stream=False)
            router.store.charge("b" * 64, [answered("lead")], Token("w", 1), time.time())
            await settled(router)
            named = {"authorization": f"Bearer {KEY}"}
            told = await router.service.answer(ApiRequest("GET", "/usage", named, b"", ""))
            assert isinstance(told.body, bytes)
            usage = json.loads(told.body)
            (line,) = usage.pop("lines")
            assert (200, {WHOLE}) == (told.status, {Decimal(usage[name]) for name in ("day_usd", "month_usd")})
            assert ("chat", "lead", 1, COMPLETION) == tuple(
                line[name] for name in ("route", "target", "requests", "completion_tokens")
            )
            refused = [("POST", named, 405), ("GET", {}, 401)]
            for method, headers, status in refused:
                assert status == (await router.service.answer(ApiRequest(method, "/usage", headers, b"", ""))).status

    asyncio.run(scene())


def test_an_announced_price_counts_from_its_day_on() -> None:
    """What was announced for a day that has come is what the ledger, the log and the budget count."""
    dearer = {"from": "2026-01-01", "input_per_million": "9000", "output_per_million": "90000"}
    changing = PRICE | {"price_changes": [dearer, dearer | {"from": "2099-01-01", "input_per_million": "1"}]}

    async def scene() -> None:
        async with routed((OPENAI, RawProvider(FINE)), SPARE, **ALONE | {"lead_has": changing}) as router:
            await router.ask(stream=False)
            await settled(router)
            assert [9 * WHOLE] == [charge.usd for charge in lines(router).values()]
            assert str(9 * WHOLE) == router.decision["cost_usd"]

    asyncio.run(scene())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["log_decision", "Completed.feed", "Serving._measure"])
def test_a_fault_of_ours_costs_neither_the_charge_nor_the_record(
    fault: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it strikes after the provider has answered."""

    def struck(*_: Any, **__: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(f"understudy.services.serving.{fault}", struck)

    async def scene() -> None:
        async with routed((OPENAI, RawProvider(FINE)), SPARE, **ALONE) as router:
            with suppress(KeyError):
                await router.ask(stream=stream)
            await settled(router)
            assert [1] == [charge.requests for charge in lines(router).values()]
            assert [("lead", 1)] == [(one["target"], len(one["attempts"])) for one in router.records]

    asyncio.run(scene())
