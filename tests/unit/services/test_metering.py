"""Charges are written in the background, whatever the table does: counted once, in the end, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests import virtual
from tests.builders import Log, target
from tests.tables import FrailTable
from understudy.catalog import Price
from understudy.chat.usage import Usage
from understudy.errors import StoreError
from understudy.ports import Charge, Token
from understudy.routing.journal import Attempt
from understudy.services.metering import GIVEN_UP, WAITING, Metering, charge_of, merged
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

NOW = 1_790_000_000.0
DAY = "2026-09-21"
PAID = Charge("traffic", "chat", "lead", usd=Decimal("0.5"), requests=1, attempts=1, prompt_tokens=10)


class World:
    """One environment over a table that can be slow, be down and lose replies."""

    def __init__(self) -> None:
        self.table = FrailTable(MemoryTable(), delay=0.005)
        self.store = Store(self.table)
        self.log = Log()
        self.jump = 0.0
        self.writes: list[tuple[str, Token, int]] = []
        self.losing = 0
        self.metering = self.environment()

    def environment(self) -> Metering:
        return Metering(self, self.clock, self.log)  # type: ignore[arg-type]

    def clock(self) -> float:
        return NOW + self.jump + asyncio.get_running_loop().time()

    def charge(self, account: str, charges: Sequence[Charge], token: Token, now: float) -> None:
        """That of the store; afterwards its reply may be lost."""
        self.writes.append((account, token, len(charges)))
        self.store.charge(account, charges, token, now)
        if self.losing:
            self.losing -= 1
            raise StoreError("no reply")

    async def day(self) -> Decimal:
        """What the account has spent today."""
        found = await asyncio.get_running_loop().run_in_executor(None, self.store.spent, "k", NOW)
        return found.day

    def told(self, message: str) -> list[dict[str, Any]]:
        return [fields for said, fields in self.log.lines if said == message]


def play(story: Callable[[World], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await story(World())

    return virtual.run(main())


def test_a_charge_is_written_beside_the_answer() -> None:
    """Nothing is waited for but what `settle` is given."""

    async def story(world: World) -> tuple[float, Decimal]:
        world.metering.charge("k", [PAID])
        began = asyncio.get_running_loop().time()
        await world.metering.settle(0.02)
        return asyncio.get_running_loop().time() - began, await world.day()

    assert (0.01, Decimal("0.5")) == play(story)


def test_a_slow_table_makes_writes_larger_and_not_more() -> None:
    """What is charged while a write is under way goes with the next one, line by line."""

    async def story(world: World) -> tuple[int, Decimal, list[int]]:
        for _ in range(20):
            world.metering.charge("k", [PAID])
            await asyncio.sleep(0.001)
        await world.metering.settle(5.0)
        lines = await asyncio.get_running_loop().run_in_executor(None, world.store.ledger, ["k"], DAY, DAY)
        return len(world.writes), await world.day(), [line.charge.requests for line in lines]

    writes, day, requests = play(story)
    assert (Decimal(10), [20]) == (day, requests)
    assert writes <= 4


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_reply_is_asked_again_with_the_same_token(lost: int) -> None:
    """The write is repeated as it was, and counts once."""

    async def story(world: World) -> tuple[Decimal, int]:
        world.losing = lost
        world.metering.charge("k", [PAID])
        await asyncio.sleep(60)
        return await world.day(), len({token for _, token, _ in world.writes})

    assert (Decimal("0.5"), 1) == play(story)


def test_a_table_that_is_down_keeps_nobody_waiting_and_nothing_is_lost() -> None:
    """Charges wait for the table, settling does not; once it is back all of it is written."""

    async def story(world: World) -> tuple[float, Decimal]:
        world.table.down = True
        for _ in range(5):
            world.metering.charge("k", [PAID])
            await asyncio.sleep(10)
        began = asyncio.get_running_loop().time()
        await world.metering.settle(0.02)
        waited = asyncio.get_running_loop().time() - began
        world.table.down = False
        await asyncio.sleep(60)
        return waited, await world.day()

    assert (0.0, Decimal("2.5")) == play(story)


def test_a_frozen_environment_goes_on_where_it_was() -> None:
    """An environment that sleeps for an hour in the middle of a write finishes it, once, and on the day it was for."""

    async def story(world: World) -> tuple[Decimal, int]:
        world.losing = 1
        world.metering.charge("k", [PAID])
        await world.metering.settle(0.0)
        world.jump = 3600.0
        await asyncio.sleep(5)
        return await world.day(), len(world.writes)

    assert (Decimal("0.5"), 2) == play(story)


def test_what_fails_for_hours_is_given_up_and_told() -> None:
    """After that the table could count it twice; the line says how much is missing."""

    async def story(world: World) -> tuple[list[str], Decimal]:
        world.table.down = True
        world.metering.charge("k", [PAID])
        await asyncio.sleep(GIVEN_UP + 60)
        world.table.down = False
        world.metering.charge("k", [PAID])
        await asyncio.sleep(60)
        return [fields["usd"] for fields in world.told("charges are lost")], await world.day()

    assert (["0.5"], Decimal("0.5")) == play(story)


def test_what_waits_is_bounded() -> None:
    """A table that never answers costs no more memory than so many lines; what is beyond them is told."""

    async def story(world: World) -> tuple[int, int]:
        world.table.down = True
        for number in range(WAITING + 51):
            world.metering.charge("k", [Charge("traffic", "chat", f"t{number}", usd=Decimal(1), requests=1)])
            if number == 0:
                await asyncio.sleep(1)
        return len(world.told("charges are lost")), sum(len(a.waiting) for a in world.metering._accounts.values())

    assert (50, WAITING) == play(story)


def test_a_clock_that_goes_back_loses_no_charge() -> None:
    """Tokens are numbered upwards whatever the clock says."""

    async def story(world: World) -> Decimal:
        world.jump = 120.0
        world.metering.charge("k", [PAID])
        await world.metering.settle(5.0)
        world.jump = -120.0
        world.metering.charge("k", [PAID])
        await world.metering.settle(5.0)
        return await world.day()

    assert Decimal(1) == play(story)


def test_environments_of_one_snapshot_are_different_writers() -> None:
    """Who is restored twice from one memory writes under two names."""

    async def story(world: World) -> int:
        for one in (world.environment(), world.environment()):
            one.charge("k", [PAID])
            await one.settle(5.0)
        return len({token.writer for _, token, _ in world.writes})

    assert 2 == play(story)


def test_charges_across_midnight_are_each_of_their_day() -> None:
    """What waited over midnight is not charged to the new day."""

    async def story(world: World) -> list[tuple[str, int]]:
        world.table.down = True
        for jump in (0.0, 86_400.0):
            world.jump = jump
            world.metering.charge("k", [PAID])
            await asyncio.sleep(0)
        world.jump = 0.0
        world.table.down = False
        await asyncio.sleep(60)
        lines = await asyncio.get_running_loop().run_in_executor(None, world.store.ledger, ["k"], DAY, "2026-09-22")
        return [(line.day, line.charge.requests) for line in lines]

    assert [(DAY, 1), ("2026-09-22", 1)] == play(story)


def test_a_bug_of_ours_is_logged_and_not_raised() -> None:
    """Whatever happens to a charge, the answer does not hear of it."""

    async def story(world: World) -> int:
        world.store = None  # type: ignore[assignment]
        world.metering.charge("k", [PAID])
        await world.metering.settle(1.0)
        return len(world.told("charges were not written"))

    assert 1 == play(story)


def attempt(**fields: Any) -> Attempt:
    made = Attempt(target("lead", price=Price(Decimal(1), Decimal(10))), 0.0, outcome="ok", open=False)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


COUNTED = Usage(1000, 100, cached_tokens=10, reasoning_tokens=20, cache_write_tokens=5)
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100}


@pytest.mark.parametrize(("fields", "expected"), [
    ({"usage": COUNTED}, {"usd": Decimal("0.002"), **TOKENS, "cached_tokens": 10, "reasoning_tokens": 20,
                          "cache_write_tokens": 5}),
    ({"usage": Usage(1000, 100), "estimated": True},
     {"usd": Decimal("0.002"), "usd_estimated": Decimal("0.002"), **TOKENS}),
    ({"usage": Usage(1000, 100), "target": target("lead")},
     {"usd": Decimal("0.0045"), "usd_estimated": Decimal("0.0045"), **TOKENS}),
    ({"outcome": "transient"}, {}),
], ids=["counted", "estimated tokens", "assumed price", "failed before any token"])  # fmt: skip
def test_what_is_charged_for_a_call(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Its tokens and money; what rests on an estimate is told apart, and a price that is not known is never nothing."""
    assert Charge("traffic", "chat", "lead", attempts=1, **expected) == charge_of("traffic", "chat", attempt(**fields))


def test_one_charge_for_each_line() -> None:
    """Two calls to one target are one charge of both."""
    other = Charge("traffic", "chat", "spare", attempts=1)
    assert [PAID.plus(PAID), other] == merged([PAID, other, PAID])


def test_a_write_is_not_repeated_after_a_long_freeze() -> None:
    """The table may have forgotten its token by then, and would count it twice: it is told as lost."""

    async def story(world: World) -> tuple[int, int]:
        world.losing = 1
        world.metering.charge("k", [PAID])
        await asyncio.sleep(0.05)
        world.jump = GIVEN_UP
        await asyncio.sleep(60)
        return len(world.writes), len(world.told("charges are lost"))

    assert (1, 1) == play(story)
