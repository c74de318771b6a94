"""Copies of requests for a candidate: judged, paid for, thrown away, and never felt by the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.one_router import Router, Told, routed
from tests.raw_provider import RawProvider, Reply
from tests.spoken import JSON, OPENAI, streamed
from understudy.health.observation import Observation, observation_from

PRICE = {"price": {"input_per_million": "1", "output_per_million": "2"}}
SHADOW = {"targets": ["lead"], "shadow": {"target": "spare", "share": 1.0}}
SAYS = streamed(OPENAI.pieces(["from the ", "lead"]))
COPY = streamed(OPENAI.pieces(["from the ", "copy"]))


async def played(
    lead: RawProvider, spare: RawProvider, *, stream: bool, spare_has: dict[str, Any] | None = None, **route: Any
) -> tuple[Told, Router]:
    """One request whose copy goes to the spare."""
    async with routed((OPENAI, lead), (OPENAI, spare), spare_has=PRICE | (spare_has or {}), **SHADOW | route) as router:
        told = await router.ask(stream=stream)
        await asyncio.sleep(0.02)
        return told, router


def shadow_line(router: Router) -> dict[str, Any]:
    """The line of the copy."""
    (line,) = [fields for message, fields in router.log.lines if message == "shadow"]
    return line


def observed(router: Router) -> list[Observation]:
    """What was written of the spare."""
    return [seen for one in router.table.observations if (seen := observation_from(one)).target == "spare"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_copy_is_judged_and_thrown_away(stream: bool) -> None:
    """The caller has the lead's answer; of the copy there is a line with its cost, and news of the spare's health."""
    lead, spare = RawProvider(SAYS.late(0.05)), RawProvider(COPY)
    told, router = asyncio.run(played(lead, spare, stream=stream))
    assert told.whole("from the lead")
    line, (seen,) = shadow_line(router), observed(router)
    assert ("ok", True, [], ["stop"], 13, "0.000025") == tuple(
        line[name] for name in ("outcome", "valid", "flaws", "finish", "characters", "cost_usd")
    )
    assert [{"ShadowCost": 0.000025}] == [one.values for one in line["metrics"]]
    assert ("shadow", 1, 0) == (seen.source, seen.ok, seen.failures)
    values = {sample.kind: sample.value for sample in seen.samples if sample.kind != "latency"}
    assert {"errors": 0.0, "quality": 1.0, "tokens": 7.0, "cost": 0.000025} == values
    assert {"shadow"} == {sample.stream for sample in seen.samples}
    assert 0.000025 == pytest.approx(sum(sample.usd for sample in seen.samples))
    assert {"target": "spare", "reason": "asked as well"} == router.decision["shadow"]
    assert (1, 1) == (len(lead.calls), len(spare.calls))


def test_a_copy_that_hangs_is_cut_off() -> None:
    """Nobody waits for a copy: it is cut off, said so with what it may have cost, and held against nobody."""
    hanging = COPY.broken("hang", after=3)
    told, router = asyncio.run(played(RawProvider(SAYS), RawProvider(hanging), stream=False))
    assert (True, True) == (told.whole("from the lead"), told.seconds < 0.3)
    line = shadow_line(router)
    assert ("cut off", None, True) == (line["outcome"], line["valid"], line["usage_estimated"])
    assert [] == observed(router)


def test_a_whole_answer_waits_for_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long writes may be waited for: a copy that is not in time is cut off when the answer is there."""
    monkeypatch.setattr("understudy.services.serving.SETTLE", 1.0)
    told, router = asyncio.run(played(RawProvider(SAYS), RawProvider(COPY.late(0.3)), stream=False))
    assert (True, "cut off") == (told.whole("from the lead"), shadow_line(router)["outcome"])


def test_a_stream_waits_a_moment_for_its_copy() -> None:
    """A copy that ends a little after a streamed answer is still judged; the caller has the end marker by then."""
    told, router = asyncio.run(played(RawProvider(SAYS), RawProvider(COPY.late(0.1)), stream=True))
    assert (True, "ok") == (told.whole("from the lead"), shadow_line(router)["outcome"])


def test_a_copy_that_fails_fails_alone() -> None:
    """The caller notices nothing of a candidate's failure, which counts against the candidate's health."""
    broken = Reply(status=500, headers=JSON, pieces=[(0.0, OPENAI.problem("server_error", "marked words"))])
    told, router = asyncio.run(played(RawProvider(SAYS.late(0.05)), RawProvider(broken), stream=False))
    assert told.whole("from the lead")
    (seen,) = observed(router)
    assert ("transient", None, 1) == (shadow_line(router)["outcome"], shadow_line(router)["valid"], seen.failures)
    assert ["errors"] == [sample.kind for sample in seen.samples]
    assert False is ("marked words" in str(router.log.lines))


def test_a_copy_must_comply() -> None:
    """A constraint that denies the candidate keeps every copy from it, and the decision says so."""
    eu = {"data": {"jurisdictions": ["eu"], "retention_days": 0, "trains_on_data": False}}
    spare = RawProvider(COPY)
    fields = {"lead_has": eu, "constraints": {"jurisdictions": ["eu"]}}
    told, router = asyncio.run(played(RawProvider(SAYS), spare, stream=False, **fields))
    assert (True, 0) == (told.whole("from the lead"), len(spare.calls))
    assert "denied by jurisdictions: not declared" == router.decision["shadow"]["reason"]


def test_a_copy_keeps_to_the_routes_budget() -> None:
    """A copy that may cost more than one request of the route is not made."""
    spare = RawProvider(COPY)
    limits = {"max_cost_usd": "0.001"}
    lead_has = {"price": {"input_per_million": "0.01", "output_per_million": "0.01"}}
    told, router = asyncio.run(played(RawProvider(SAYS), spare, stream=False, limits=limits, lead_has=lead_has))
    assert (True, 0) == (told.whole("from the lead"), len(spare.calls))
    assert "it may cost $0.00819" == router.decision["shadow"]["reason"][:20]


@pytest.mark.parametrize("fault", ["outlooks.outlook", "shadow.kept_back"])
def test_a_fault_beside_the_answer_costs_no_answer(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in what is known of targets, or in beginning a copy, is counted and logged, and the request is answered."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"understudy.services.{fault}", broken)
    told, router = asyncio.run(played(RawProvider(SAYS), RawProvider(COPY), stream=False))
    assert told.whole("from the lead")
    assert ["the router failed"] == [message for message, _ in router.log.lines if message == "the router failed"]


def test_a_caller_who_leaves_takes_the_copy_along() -> None:
    """When the caller is gone, its copy is cut off at once."""

    async def leave() -> Router:
        lead, spare = RawProvider(SAYS.broken("hang", after=3)), RawProvider(COPY.broken("hang", after=3))
        async with routed((OPENAI, lead), (OPENAI, spare), spare_has=PRICE, **SHADOW) as router:
            answered = await router.answer(stream=True)
            assert not isinstance(answered.body, bytes)
            await anext(answered.body)
            await answered.body.aclose()
            return router

    assert "cut off" == shadow_line(asyncio.run(leave()))["outcome"]
