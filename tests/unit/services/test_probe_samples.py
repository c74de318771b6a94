"""What detectors are told of one call of a probe."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import target
from tests.unit.services.environments import play
from tests.unit.services.probing import Provider, minute
from tests.unit.services.test_probe_runs import Sums, document, due, played, samples
from tests.unit.services.worlds import NOW, World
from understudy.catalog import Price, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.usage import Usage
from understudy.detectors.sample import LIVENESS, Sample
from understudy.ports import Due
from understudy.routing.journal import Attempt
from understudy.services.probe_samples import of_item, of_liveness, of_target

PRICED = target("lead", price=Price(Decimal(1), Decimal(10)))
GOOD = Attempt(
    PRICED,
    0.0,
    outcome="ok",
    first_token=0.25,
    seconds=2.25,
    received=20.0,
    usage=Usage(10, 20),
    model="big-1",
    fingerprint="fp",
)


def test_a_health_check_measures_the_target() -> None:
    """Its time and speed are like those of traffic; its tokens and its cost are those of one fixed question."""
    assert [
        Sample("errors", 0.0, NOW),
        Sample("speed", 10.0, NOW),
        Sample("version", "big-1/fp", NOW),
        Sample("latency", 0.25, NOW),
        Sample("tokens", 20.0, NOW, LIVENESS, 0),
        Sample("cost", 0.00021, NOW, LIVENESS, 0),
    ] == of_liveness(GOOD, NOW)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (replace(GOOD, outcome="silent", hurt=True), [1.0]),
        (replace(GOOD, outcome="rate_limited"), []),
        (replace(GOOD, outcome="out_of_time"), []),
        (replace(GOOD, outcome="refusal"), []),
    ],
    ids=["silent", "rate limited", "out of time", "refused"],
)
def test_only_failures_of_the_target_are_errors(attempt: Attempt, expected: list[float]) -> None:
    """What is no fault of its own says nothing about it, and a failed call nothing about its answers."""
    assert expected == [sample.value for sample in of_liveness(attempt, NOW)]
    assert [] == of_item(attempt, NOW, "core", 1, 1, ("quality", 0.0))


def test_an_estimate_is_no_count() -> None:
    """Where the provider did not count, tokens and cost are left out: a guess would be taken for a change."""
    kinds = [sample.kind for sample in of_item(replace(GOOD, estimated=True), NOW, "core", 1, 1, ("quality", 1.0))]
    assert ["quality", "latency"] == kinds


def test_what_a_call_cost_is_told_once() -> None:
    """By its first value, so that sums over values are sums over calls."""
    found = of_item(GOOD, NOW, "core", 3, 7, ("quality", 0.5))
    assert [0.00021, 0.0, 0.0, 0.0] == [sample.usd for sample in found]
    assert {("core", 3, 7)} == {(sample.stream, sample.item, sample.run) for sample in found}


def test_an_answer_in_one_piece_has_no_speed() -> None:
    """Its first token is its last."""
    assert ["errors", "version"] == [s.kind for s in of_target(replace(GOOD, first_token=2.25), NOW)]


def test_probes_of_a_sweep_carry_samples() -> None:
    """Every probe tells detectors whether it failed."""

    async def story(world: World) -> list[str]:
        await minute(world, Provider())
        return [sample[0] for item in world.table.query("target#spare") for sample in item.body.get("samples", ())]

    assert ["errors", "version", "latency"] == play(story)


@pytest.mark.parametrize(("thinks", "longest"), [("false", 16), ("true", 256)])
def test_a_target_that_thinks_is_given_tokens_to_think(thinks: str, longest: int) -> None:
    """A health check of it may think before its word, and a golden question may as well."""
    text = document(1, **{"model: large,": f"model: large, capabilities: {{reasoning: {thinks}}},"})

    class Noting(Sums):
        def __call__(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
            found.append(request.max_output_tokens)
            return super().__call__(request, target, connect=connect)

    found: list[int | None] = []
    world = played([[Due("lead", NOW, 0)], [due()]], Noting(), text)
    assert [longest, 64 + (256 if thinks == "true" else 0)] == found
    assert bool(samples(world))
