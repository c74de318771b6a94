"""Which requests are copied, and what an execution environment knows of a route's targets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from tests.builders import Log, by, request, target
from tests.unit.services.worlds import NOW, Clock, World
from understudy.catalog import Candidate, HealthSettings, Limits, Route, Share
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.health.finding import Hold
from understudy.health.item import Health
from understudy.health.score import Score
from understudy.routing.scorers import Rating
from understudy.services.outcomes import LocalOutcomes
from understudy.services.outlooks import LASTS, Outlooks
from understudy.services.shadow import MOST, Shadow, Shadows

ROUTE = Route("chat", (Candidate(target("lead"), 1),), shadow=Share(target("spare"), 1.0))
EMBEDDING = UnaryRequest("embeddings", "chat", {"model": "chat", "input": "x"})


class Hanging:
    """An upstream that never answers."""

    async def __call__(self, *_: Any, **__: Any) -> AsyncGenerator[Chunk, None]:
        await asyncio.Event().wait()
        yield  # type: ignore[misc]


def shadows(log: Log | None = None) -> Shadows:
    world, clock = World(), Clock()
    outcomes = LocalOutcomes(world.store, clock, world.log, random.Random(1))
    return Shadows(Hanging(), outcomes, clock=clock, logger=log or Log(), rng=random.Random(2))  # type: ignore[arg-type]


def begin(copies: Shadows, route: Route = ROUTE, **given: Any) -> Shadow | None:
    asked = given.pop("asked", request())
    ratings: Mapping[str, Rating] = given.pop("ratings", {})
    bound = given.pop("bound", False)
    return copies.begin(asked, route, Limits(), ratings, judged=by(route), request_id="r", bound=bound)


HELD = {"spare": Rating(Score(75.0), hold=Hold("drained", NOW, "ada", "its contract ended"))}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"bound": True}, "the request brings back what only another can read"),
        ({"asked": EMBEDDING}, "only chats are copied"),
        ({"ratings": HELD}, "drained by ada: its contract ended"),
    ],
)
def test_what_is_not_copied_has_a_reason(given: dict[str, Any], reason: str) -> None:
    """Bound content, what is no chat, and a drained candidate: no copy, and the decision says why."""
    told = begin(shadows(), **given)
    assert {"target": "spare", "reason": reason} == (told.fields() if told else None)


def test_a_share_of_requests_is_copied() -> None:
    """Without a shadow nothing is drawn; with one about its share of the requests is copied."""

    async def drawn(share: float) -> int:
        copies, route = shadows(), Route("chat", ROUTE.candidates, shadow=Share(target("spare"), share))
        found = [begin(copies, route, bound=True) for _ in range(1000)]
        return sum(one is not None for one in found)

    assert begin(shadows(), Route("chat", ROUTE.candidates)) is None
    assert pytest.approx(200, abs=40) == asyncio.run(drawn(0.2))


def test_copies_under_way_are_bounded() -> None:
    """A candidate that hangs cannot pile up copies; each that is cut off has its line and makes room."""

    async def crowd() -> tuple[list[str], str, int]:
        log = Log()
        copies = shadows(log)
        begun = [begin(copies) for _ in range(MOST + 1)]
        await asyncio.sleep(0)
        await copies.settle(begun[0], 0.0)
        after = begin(copies)
        told = [one.fields()["reason"] for one in (*begun[-2:], after) if one]
        for one in (*begun, after):
            await copies.settle(one, 0.0)
        return told, str({fields["outcome"] for _, fields in log.lines}), len(log.lines)

    told, outcomes, lines = asyncio.run(crowd())
    assert (["asked as well", f"{MOST} copies are under way", "asked as well"], "{'cut off'}") == (told, outcomes)
    assert MOST <= lines <= MOST + 1


def test_an_outlook_is_made_when_health_was_read() -> None:
    """Between two reads the same outlook serves every request; a read, a new document or age makes another."""
    clock = Clock()
    outlooks, settings, health = Outlooks(clock), HealthSettings(), {"lead": Health("lead", last_ok_at=NOW)}
    first = outlooks.of(ROUTE, health, settings)
    assert first is outlooks.of(ROUTE, health, settings)
    read_again = outlooks.of(ROUTE, dict(health), settings)
    assert first is not read_again
    clock.now += LASTS
    health = dict(health)
    one = outlooks.of(ROUTE, health, settings)
    clock.now += LASTS
    assert one is not outlooks.of(ROUTE, health, settings)


def test_a_kept_order_belongs_to_its_strategy() -> None:
    """When a document changes the strategy the order begins anew; with the same strategy it is kept."""
    outlooks, settings = Outlooks(Clock()), HealthSettings()
    two = (Candidate(target("a"), 1), Candidate(target("b"), 2))
    adaptive, fastest = Route("chat", two, strategy="adaptive"), Route("chat", two, strategy="fastest")

    def health(score: float) -> dict[str, Health]:
        return {n: Health(n, score=s, last_ok_at=NOW) for n, s in {"a": 0.9, "b": score}.items()}

    orders = [outlooks.of(adaptive, health(score), settings).order for score in (0.8, 0.92)]
    assert [("a", "b"), ("a", "b")] == orders
    outlooks.of(fastest, health(0.92), settings)
    assert ("b", "a") == outlooks.of(adaptive, health(0.92), settings).order
