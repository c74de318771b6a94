"""What each room measures, and that it does so on the lines that it logs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import Log, bad, target
from tests.unit.services.environments import LEAD, OPEN, Local, play
from tests.unit.services.probing import Provider, minute
from tests.unit.services.worlds import NOW, Queue, Sink, World
from understudy.catalog import Price
from understudy.chat.usage import Usage
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    InvalidRequest,
    NoTargetAnswered,
    OutOfTime,
    OverBudget,
    RateLimited,
    Refusal,
    Silent,
    StoreError,
    StreamBroken,
    Transient,
)
from understudy.health.item import Health
from understudy.incidents.incident import Incident
from understudy.metrics import Measured
from understudy.routing.journal import Attempt, Journal
from understudy.routing.resume import Resumption
from understudy.services.measures import of_route, of_targets
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.read_model import ReadModel
from understudy.services.update_health import MEASURE, UpdateHealth

PRICED = Price(Decimal(1), Decimal(10))


def attempt(name: str, failure: AttemptFailed | None = None, **fields: Any) -> Attempt:
    """An attempt that took two seconds and, where it was good, said 60 tokens after half a second."""
    made = Attempt(target(name, price=PRICED), 0.0)
    if failure is None:
        made.outcome, made.first_token, made.received, made.usage = "ok", 0.5, 60.0, Usage(1000, 100)
    else:
        made.failed(failure)
    made.seconds = 2.0
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def measured(log: Log) -> list[Measured]:
    """Everything that was measured, in order."""
    return [one for _, fields in log.lines for one in fields.get("metrics", ())]


# one request


def test_an_attempt_is_measured_once() -> None:
    """First token in milliseconds, tokens a second after it, dollars, and no failure."""
    values = {"Failures": 0, "FirstToken": 500.0, "TokensPerSecond": 40.0, "Cost": 0.002}
    assert {"lead": Measured("target", "lead", values)} == of_targets([attempt("lead")])


def test_each_target_has_its_own_attempts() -> None:
    """A retry is another sample of the same target, a failover one of another."""
    tried = [attempt("lead", Transient("x")), attempt("lead", Silent("y")), attempt("spare")]
    found = of_targets(tried)
    assert {"lead": {"Failures": [1, 1]}} == {"lead": found["lead"].values}
    assert 0 == found["spare"].values["Failures"]
    assert ["lead", "spare"] == list(found)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(Transient("x"), 1), (RateLimited("x"), 0), (OutOfTime("x"), 0), (CallerFault("x"), 0), (Refusal("x"), 0)],
)
def test_only_what_hurts_health_counts_against_a_target(failure: AttemptFailed, expected: int) -> None:
    """Availability is what the breaker sees: not a limit of ours, nor the caller's fault."""
    assert {"Failures": expected} == of_targets([attempt("lead", failure)])["lead"].values


def test_an_attempt_that_was_broken_off_says_nothing() -> None:
    """A hedge that lost, or a caller who left, is neither good nor bad; what it cost is counted."""
    cancelled = attempt("lead", outcome="cancelled", first_token=None, usage=None)
    assert {} == of_targets([cancelled])
    assert {"Cost": 0.002} == of_targets([replace(cancelled, usage=Usage(1000, 100))])["lead"].values


@pytest.mark.parametrize(
    "fields", [{"received": 15.0}, {"first_token": 1.95}, {"first_token": 2.0}], ids=["short", "at once", "whole"]
)
def test_a_rate_is_measured_only_where_it_says_something(fields: dict[str, Any]) -> None:
    """A few tokens, or all of them in one piece, have no speed."""
    assert "TokensPerSecond" not in of_targets([attempt("lead", **fields)])["lead"].values


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    """Without a price the cost is that of an assumed one, never nothing."""
    assert 0.0045 == of_targets([attempt("lead", target=target("lead"))])["lead"].values["Cost"]


def journal(*names: str, hedges: Sequence[int] = ()) -> Journal:
    return Journal([attempt(name, hedge=number in hedges) for number, name in enumerate(names)])


@pytest.mark.parametrize(
    ("asked", "hedges", "expected"),
    [
        (("lead",), (), 0),
        (("lead", "lead"), (), 0),
        (("lead", "lead", "spare"), (), 1),
        (("lead", "spare", "third"), (), 2),
        (("lead", "spare"), (1,), 0),
        ((), (), 0),
    ],
)
def test_a_failover_is_a_move_to_another_target(asked: tuple[str, ...], hedges: tuple[int, ...], expected: int) -> None:
    """Neither a retry nor a hedge is one."""
    assert expected == of_route("chat", journal(*asked, hedges=hedges), None, 1.0).values["Failovers"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, 0),
        (NoTargetAnswered("chat", ()), 1),
        (StreamBroken("lead", Transient("x")), 1),
        (KeyError("a bug"), 1),
        (InvalidRequest("x"), 0),
        (OverBudget("x"), 0),
        (CallerFault("x"), 0),
        (Refusal("x"), 0),
        (asyncio.CancelledError(), 0),
        (GeneratorExit(), 0),
    ],
    ids=repr,
)
def test_a_route_is_not_blamed_for_its_callers(error: BaseException | None, expected: int) -> None:
    """A request counts as an error where its caller could not have done better."""
    route = of_route("chat", journal("lead"), error, 1.25)
    assert (expected, 1250.0, "route", "chat") == (route.values["Errors"], route.values["Latency"], route.by, route.of)


def test_resumptions_are_counted() -> None:
    """Every change of hands in the middle of an answer is one."""
    made = journal("lead", "spare")
    made.resumptions.append(Resumption("lead", "spare", 10, "repetition"))
    assert 1 == of_route("chat", made, None, 1.0).values["Resumed"]


# the rooms


def test_a_probe_is_counted_apart_from_callers() -> None:
    """Each probe is a sample of its own metrics, on the line that tells of it."""
    world = World()
    provider = Provider(lead=[Transient("boom")])
    asyncio.run(minute(world, provider))
    found = {one.of: dict(one.values) for one in measured(world.log)}
    assert {"lead": {"ProbeFailures": [1]}, "spare": {"ProbeFailures": [0], "ProbeCost": [4.2e-05]}} == found
    assert {"probe"} == {message for message, fields in world.log.lines if fields.get("metrics")}


def update(world: World) -> UpdateHealth:
    return UpdateHealth(world.store, Queue(), clock=world.clock, logger=world.log, rng=world.rng)


def test_health_is_measured_when_it_moves_and_once_a_minute() -> None:
    """A steady target costs one line a minute whatever its traffic; a transition is measured at once."""
    world = World()
    room = update(world)
    well = Health("lead", score=0.995, last_ok_at=NOW)
    for _ in range(10):
        room.react(well, well)
    assert [{"Score": 99.5}] == [one.values for one in measured(world.log)]
    down = replace(well, breaker=replace(well.breaker, state="open", opens=1, until=NOW + 60), score=0.4)
    room.react(well, down)
    room.react(down, down)
    world.clock.now += MEASURE
    room.react(down, down)
    room.react(down, replace(well, breaker=replace(down.breaker, state="closed")))
    assert [
        ("health", {"Score": 99.5}),
        ("transition", {"Score": 40.0, "BreakerOpen": 1}),
        ("health", {"Score": 40.3, "BreakerOpen": 1}),
        ("transition", {"Score": 99.3, "BreakerOpen": 0}),
    ] == [(message, fields["metrics"][0].values) for message, fields in world.log.lines]


def test_an_alert_that_cannot_be_sent_is_counted() -> None:
    """The sink's failure is logged with its name, counted once, and goes back to the stream."""
    world, sink = World(), Sink()
    sink.down = True
    alerts = PublishAlerts(world.store, [("sink", sink)], clock=world.clock, logger=world.log)
    room = update(world)
    for at in range(5):
        room.observe(bad(NOW + at, Transient("x")))
    room.react(None, world.store.health(["lead"])["lead"])
    incident = world.store.incident("lead", "outage")
    assert isinstance(incident, Incident)
    with pytest.raises(ConnectionError):
        alerts.publish(None, incident)
    assert ["AlertErrors"] == ours(world)


def ours(world: World) -> list[str]:
    """The names of our own failures that were counted, in order."""
    return [name for one in measured(world.log) if one.by == "service" for name in one.values]


def test_a_table_that_fails_is_counted() -> None:
    """Each read that fails is one failure, whatever the router can still serve; an unseen key's look-up too."""

    async def story(world: World) -> list[str]:
        model = ReadModel(world.store, world.clock, world.log)
        await model.catalog()
        world.table.down = True
        await asyncio.sleep(3)
        await model.catalog()
        with pytest.raises(StoreError):
            await model.authenticate("us-key")
        return ours(world)

    assert ["StoreErrors", "StoreErrors"] == play(story)


def test_a_table_that_answers_late_is_counted_apart() -> None:
    """What a request waited for in vain has not failed: it may be one slow read in many."""

    async def story(world: World) -> list[str]:
        model = ReadModel(world.store, world.clock, world.log)
        await model.catalog()
        world.table.delay = 1.0
        await asyncio.sleep(3)
        await model.catalog()
        await asyncio.sleep(2)
        return ours(world)

    assert ["StoreLate"] == play(story)


def test_writes_that_fail_are_counted() -> None:
    """Observations, the telling of an opening, and the lease for a live probe."""

    async def story(world: World) -> list[str]:
        local = Local(world, OPEN)
        world.table.down = True
        local.bad()
        await asyncio.sleep(0.01)
        first = ours(world)
        assert await local.lease(LEAD)
        return [*first, "and", *ours(world)[len(first) :]]

    assert ["StoreErrors", "and", "StoreErrors"] == play(story)
