"""How one environment writes its audit: chained, without waiting, and never at the cost of an answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.audited import verified
from tests.builders import request
from tests.unit.services.worlds import NOW, LoopClock, World
from tests.virtual import run
from understudy.audit.chain import day_of
from understudy.catalog import Route
from understudy.errors import Unauthenticated
from understudy.facts import Constraints
from understudy.keys import ClientKey
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision
from understudy.services.audit import NOTED, Audit
from understudy.services.handling import Asked, Handling

DAY = day_of(NOW)
ERROR = Unauthenticated("no")


class Environment:
    """An audit in virtual time, and the lines it wrote."""

    def __init__(self) -> None:
        self.world = World(LoopClock())
        self.lines: list[str] = []
        self.fails: Exception | None = None
        world = self.world
        self.audit = Audit(world.store, self._write, clock=world.clock, logger=world.log, rng=random.Random(5))

    def _write(self, line: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.lines.append(line)

    def ask(self, count: int = 1) -> None:
        for _ in range(count):
            self.audit.refused(Asked("r", "/chat/completions"), ERROR, 401)

    @property
    def heads(self) -> list[Any]:
        return list(self.world.store.heads(DAY))

    @property
    def places(self) -> list[tuple[str, int]]:
        links = [json.loads(line)["audit"] for line in self.lines]
        return [(link["segment"].partition("/")[0], link["seq"]) for link in links]


def play(story: Callable[[Environment], Awaitable[None]]) -> Environment:
    async def told() -> Environment:
        environment = Environment()
        await story(environment)
        await environment.audit.settle(1.0)
        return environment

    return run(told())


def test_the_first_record_is_noted_at_once_and_the_others_now_and_then() -> None:
    """The table knows of a segment from its first record on, and is written to no more often than it must be."""

    async def story(one: Environment) -> None:
        one.ask(10)
        await one.audit.settle(1.0)
        assert [1] == [head.seq for head in one.heads]
        await asyncio.sleep(NOTED)
        one.ask(5)

    done = play(story)
    assert [11] == [head.seq for head in done.heads]
    assert ["put", "put"] == [call for call in done.world.table.calls if call == "put"]
    assert {("open", 12)} == {(flaw.sort, flaw.seq) for flaw in verified(done.lines, done.heads).flaws}


def test_a_new_day_begins_a_segment_that_names_the_last_one() -> None:
    """Numbers begin anew, and the first record holds where the day before ended; a clock that goes back begins none."""

    async def story(one: Environment) -> None:
        one.ask(2)
        await asyncio.sleep(86_400)
        one.ask()
        one.world.clock.now -= 86_400
        one.ask()

    done = play(story)
    assert [(DAY, 1), (DAY, 2), (day_of(NOW + 86_400), 1), (day_of(NOW + 86_400), 2)] == done.places
    assert {"open"} == {flaw.sort for flaw in verified(done.lines).flaws}
    assert json.loads(done.lines[2])["audit"]["prev"].endswith(json.loads(done.lines[1])["audit"]["hash"])


def test_a_record_that_cannot_be_written_costs_no_answer_and_no_number() -> None:
    """It is told as a fault of ours, and the next one follows the one before without a gap."""

    async def story(one: Environment) -> None:
        one.ask()
        one.fails = OSError("full")
        one.ask()
        one.fails = None
        one.ask()

    done = play(story)
    assert [(DAY, 1), (DAY, 2)] == done.places
    (told,) = [fields for message, fields in done.world.log.lines if message == "a request has no audit record"]
    assert {"RouterErrors"} == set(told["metrics"][0].values)


def test_a_table_that_is_down_costs_no_record() -> None:
    """The note is tried again with the next record."""

    async def story(one: Environment) -> None:
        one.world.table.down = True
        one.ask()
        await one.audit.settle(1.0)
        one.world.table.down = False
        assert [] == one.heads
        one.ask()

    done = play(story)
    assert ([2], 2) == ([head.seq for head in done.heads], len(done.lines))


def test_a_request_has_one_record() -> None:
    """One that came to its end is not recorded again when its error reaches the edge."""

    async def story(one: Environment) -> None:
        client, limits = ClientKey("h", "app", NOW), Route("chat", ()).limits
        handling = Handling(
            "r1",
            "/chat/completions",
            client,
            request(),
            Route("chat", ()),
            Decision("chat", ()),
            frozenset(),
            Journal(),
            1,
            limits,
            Constraints(),
            NOW,
        )
        one.audit.answered(handling, ERROR, NOW)
        one.audit.refused(Asked("r1", "/chat/completions", handling=handling), ERROR, 401)

    assert 1 == len(play(story).lines)
