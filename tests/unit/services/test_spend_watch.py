"""Incidents of money: told once, in the words of who must act, and over by themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from understudy.catalog import Catalog
from understudy.control.document import parse
from understudy.control.load import catalog
from understudy.incidents.wording import notice
from understudy.keys import ClientKey
from understudy.ports import Charge, Token
from understudy.pricing.pace import LEAST, WINDOW, highest, usual
from understudy.services.spend_watch import MOST, PAUSE, SpendWatch
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

DAY = 86_400.0
NOW = datetime(2026, 9, 21, 12, tzinfo=UTC).timestamp()
KEY = "c" * 64
DOCUMENT = """
schema: 1
providers: {acme: {wire: openai, base_url: "https://acme.example/v1"}, toy: {wire: openai, base_url: "http://127.0.0.1",
  simulated: true}}
targets:
  lead: {provider: acme, model: large}
  spare: {provider: acme, model: small, price: {input_per_million: "5", output_per_million: "25"}}
  toy: {provider: toy, model: toy}
  idle: {provider: acme, model: idle}
routes: {chat: {targets: [lead, spare, toy]}}
"""


class World:
    def __init__(self) -> None:
        self.store = Store(MemoryTable())
        self.now = NOW
        self.writes = 0
        self.current = compiled()
        self.watch = SpendWatch(self.store, clock=lambda: self.now)
        self.store.put_key(ClientKey(KEY, "billing", NOW))

    def look(self, later: float = PAUSE) -> list[str]:
        """What is told by now, subject lines."""
        self.now += later
        self.watch.look(self.current)
        return [notice(one).subject for one in self.store.incidents()]

    def spend(self, usd: str, days_ago: int = 0, account: str = KEY) -> None:
        self.writes += 1
        charge = Charge("traffic", "chat", "lead", usd=Decimal(usd), requests=1)
        self.store.charge(account, [charge], Token("w", self.writes), self.now - days_ago * DAY)


def compiled(text: str = DOCUMENT) -> Catalog:
    return catalog(parse(text), 1)


def test_an_unknown_price_is_told_once_and_over_when_it_is_known() -> None:
    """Of a target that requests go to; not of one that nobody asks, nor of a simulated one."""
    world = World()
    opened = world.look()
    assert ["[warning] lead has a price that nobody knows"] == opened
    for _ in range(30):
        assert opened == world.look(3600)
    incident = world.store.incident("lead", "price")
    assert incident is not None and 1 == incident.notices
    told = notice(incident).text
    assert "counted at $5 a million tokens of prompts and $25 of answers" in told
    assert "Runbook: infra/runbooks/price.md" in told
    price = 'model: large, price: {input_per_million: "1", output_per_million: "2"}'
    world.current = compiled(DOCUMENT.replace("model: large", price))
    assert ["[resolved] lead has no unknown price any more"] == world.look()
    world.current = compiled()
    assert opened == world.look()


def test_a_key_that_spends_faster_than_it_used_to_is_told_once() -> None:
    """With what it has spent and what would be ordinary; over when a day is ordinary again."""
    world = World()
    world.current = compiled(DOCUMENT.replace("targets: [lead, spare, toy]", "targets: [spare]"))
    for day in range(1, 11):
        world.spend("2.00", day)
    world.spend("5.99")
    assert [] == world.look()
    world.spend("0.02")
    opened = world.look()
    assert ["[warning] Key billing spends more than it used to"] == opened
    world.spend("50")
    assert opened == world.look(3600)
    incident = world.store.incident(f"key:{KEY[:12]}", "cost")
    assert incident is not None
    assert (1, "6.01", "6.00") == (incident.notices, incident.facts["spent_usd"], incident.facts["ordinary_usd"])
    told = notice(incident).text
    assert f"understudy cost --key {KEY[:12]} --by day" in told
    assert "infra/runbooks/spending.md" in told
    assert ["[resolved] Key billing spends what it used to"] == world.look(DAY)


def test_the_routers_own_calls_are_looked_at_too() -> None:
    """Probes and copies that spend more than they used to are an incident like a key's."""
    world = World()
    for day in range(11):
        world.spend("1.00" if day else "9.00", day, account="")
    assert "[warning] Key the router itself spends more than it used to" in world.look()


def test_a_look_is_not_for_every_batch() -> None:
    """Between two looks nothing is read."""
    world = World()
    world.look()
    world.watch._store = None  # type: ignore[assignment]
    world.look(PAUSE - 1)


def test_every_key_has_its_turn() -> None:
    """Of more keys than one look sees, the next look sees the next ones."""
    world = World()
    world.current = compiled(DOCUMENT.replace("targets: [lead, spare, toy]", "targets: [spare]"))
    for number in range(MOST + 50):
        world.store.put_key(ClientKey(f"a{number:063d}", "other", NOW))
    for day in range(11):
        world.spend("1.00" if day else "9.00", day)
    assert [[], ["[warning] Key billing spends more than it used to"]] == [world.look(), world.look()]


DAYS = [Decimal(1)] * 10


@pytest.mark.parametrize(("history", "expected"), [
    ([], None),
    ([Decimal(9)] * (LEAST - 1), None),
    ([Decimal(9)] * LEAST, Decimal(27)),
    (DAYS, Decimal(3)),
    ([Decimal("0.01")] * 10, Decimal(1)),
    ([*DAYS, Decimal(100)], Decimal(3)),
    ([*DAYS, Decimal(100), Decimal(100)], Decimal(150)),
    ([Decimal(0)] * 6 + [Decimal(40)] + [Decimal(0)] * 6 + [Decimal(40)], Decimal(60)),
], ids=["nothing", "too little", "just enough", "even", "cents", "one odd day", "two", "a weekly batch"])  # fmt: skip
def test_what_a_day_may_cost_and_be_ordinary(history: list[Decimal], expected: Decimal | None) -> None:
    """Three usual days, half more than the highest day but one, and never less than a dollar."""
    assert expected == highest(history)


def test_history_begins_with_the_first_spending() -> None:
    """Days before it are no days; later ones without any are days of nothing; today is not over, and not among them."""
    days = {"2026-09-10": Decimal(1), "2026-09-12": Decimal(2), "2026-09-21": Decimal(9), "2026-01-01": Decimal(7)}
    found = usual(days, "2026-09-21")
    assert ([Decimal(1), Decimal(0), Decimal(2), *[Decimal(0)] * 8], True) == (found, len(found) <= WINDOW)
