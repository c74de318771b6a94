"""The ledger's promises, on the table in memory and on DynamoDB as moto plays it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.tables import FrailTable
from understudy.errors import StoreError
from understudy.pricing.ledger import Charge, LedgerLine, Spent, Token
from understudy.store import keys
from understudy.store.ledger import FORGOTTEN, MANY, SHARDS
from understudy.store.store import Store
from understudy.store.table import Key, Table

NOW = 1_790_000_000.0
DAY, MONTH = "2026-09-21", "2026-09"
RIVALS = 50
PAID = Charge(
    purpose="traffic",
    route="chat",
    target="lead",
    usd=Decimal("0.25"),
    usd_estimated=Decimal("0.05"),
    requests=1,
    attempts=2,
    prompt_tokens=100,
    completion_tokens=20,
    cached_tokens=30,
    cache_write_tokens=5,
    reasoning_tokens=7,
)


def token(number: int = 0, writer: str = "w") -> Token:
    return Token(writer, int(NOW * 1000) + number)


class Lossy(FrailTable):
    """A table that carries out the next writes and loses their replies."""

    losing = 0

    def _pass(self) -> None:
        """Outside an event loop nothing takes virtual time."""

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        sums = super().add_once(key, amounts, writer, number, ttl=ttl)
        if self.losing:
            self.losing -= 1
            raise StoreError("no reply")
        return sums


def test_an_account_without_charges_has_spent_nothing(store: Store) -> None:
    """Neither a line nor a sum is there before the first charge."""
    assert Spent() == store.spent("k", NOW)
    assert [] == list(store.ledger(["k"], DAY, DAY))


def test_charges_of_one_line_add_up(store: Store) -> None:
    """Every measure of a line is the sum of what was charged, and the account has spent as much."""
    store.charge("k", [PAID], token(1), NOW)
    store.charge("k", [PAID, PAID], token(2), NOW)
    assert [LedgerLine("k", DAY, PAID.plus(PAID).plus(PAID))] == list(store.ledger(["k"], DAY, DAY))
    assert Spent(Decimal("0.75"), Decimal("0.75")) == store.spent("k", NOW)


def test_lines_are_apart_by_account_day_purpose_route_and_target(store: Store) -> None:
    """They come in that order, of the accounts and days that were asked for."""
    own = Charge("probe", "", "lead", usd=Decimal(1), attempts=1)
    others = [replace(PAID, target="other"), replace(PAID, purpose="shadow"), replace(PAID, route="a/b:c")]
    store.charge("k", [PAID, *others], token(1), NOW)
    store.charge("k", [PAID], token(2), NOW + 86400)
    store.charge("", [own], token(1), NOW)
    store.charge("unasked", [PAID], token(1), NOW)
    first = sorted([PAID, *others], key=lambda charge: charge.line)
    expected = [
        LedgerLine("", DAY, own),
        *(LedgerLine("k", DAY, charge) for charge in first),
        LedgerLine("k", "2026-09-22", PAID),
    ]
    assert expected == list(store.ledger(["", "k"], DAY, "2026-09-22"))
    assert expected[1:-1] == list(store.ledger(["k"], DAY, DAY))
    assert [] == list(store.ledger(["k"], "2026-09-23", "2027-01-01"))


def test_day_and_month_begin_anew(store: Store) -> None:
    """A day's sum ends at midnight UTC, a month's with its last day; nothing rolls over."""
    end = 1_790_812_799.0  # 2026-09-30T23:59:59Z
    for number, at in enumerate((end - 86400, end, end + 1)):
        store.charge("k", [PAID], token(number), at)
    assert [Spent(PAID.usd, 2 * PAID.usd), Spent(PAID.usd, PAID.usd)] == [
        store.spent("k", end),
        store.spent("k", end + 1),
    ]
    assert ["2026-09-29", "2026-09-30", "2026-10-01"] == [
        line.day for line in store.ledger(["k"], "2026-09-01", "2026-10-31")
    ]


def test_a_repeated_charge_counts_once(store: Store) -> None:
    """However often it is written, and whoever else writes in between, a token counts once."""
    for _ in range(3):
        store.charge("k", [PAID], token(1), NOW)
        store.charge("k", [PAID], token(1, "another"), NOW)
    assert [2] == [line.charge.requests for line in store.ledger(["k"], DAY, DAY)]
    assert 2 * PAID.usd == store.spent("k", NOW).day


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_reply_doubles_nothing(table: Table, lost: int) -> None:
    """Where a write was carried out and its reply lost, repeating it completes it and adds nothing twice."""
    lossy = Lossy(table)
    store, lossy.losing = Store(lossy), lost
    for _ in range(lost):
        with pytest.raises(StoreError):
            store.charge("k", [PAID], token(1), NOW)
    for _ in range(2):
        store.charge("k", [PAID], token(1), NOW)
    assert [LedgerLine("k", DAY, PAID)] == list(store.ledger(["k"], DAY, DAY))
    assert Spent(PAID.usd, PAID.usd) == store.spent("k", NOW)


def test_no_charge_is_lost_between_writers(store: Store) -> None:
    """Fifty environments that charge one account at once, each of them twice, add up."""
    start = threading.Barrier(RIVALS)

    def one(number: int) -> None:
        start.wait()
        for _ in range(2):
            store.charge("k", [PAID], token(1, f"w{number}"), NOW)

    with ThreadPoolExecutor(RIVALS) as pool:
        list(pool.map(one, range(RIVALS)))
    assert RIVALS * PAID.usd == store.spent("k", NOW).month
    assert [RIVALS * 2] == [line.charge.attempts for line in store.ledger(["k"], DAY, DAY)]


def test_money_is_counted_exactly_and_never_rounded_to_nothing(store: Store) -> None:
    """To a thousand millionth of a dollar, and up."""
    tiny = replace(PAID, usd=Decimal("0.0000000001"), usd_estimated=Decimal(0))
    store.charge("k", [tiny, replace(PAID, usd=Decimal("0.1")), replace(PAID, usd=Decimal("0.2"))], token(1), NOW)
    assert Decimal("0.300000001") == store.spent("k", NOW).day


def test_what_costs_nothing_is_a_line_too(store: Store) -> None:
    """A call that failed before any token was worked on is counted, and no money with it."""
    failed = Charge("traffic", "chat", "lead", requests=1, attempts=1)
    store.charge("k", [failed], token(1), NOW)
    assert [LedgerLine("k", DAY, failed)] == list(store.ledger(["k"], DAY, DAY))
    assert Spent() == store.spent("k", NOW)


def test_writers_that_are_gone_are_forgotten(store: Store, table: Table) -> None:
    """An item does not grow with every process that ever wrote to it; those that may repeat a write stay known."""
    one = replace(PAID, usd=Decimal(0), usd_estimated=Decimal(0))
    old = [name for name in (f"old{number}" for number in range(150)) if zlib.crc32(name.encode()) % SHARDS == 0]
    for name in old:
        store.charge("k", [one], token(0, name), NOW)
    late = NOW + FORGOTTEN + 1
    new = [name for name in (f"new{number}" for number in range(50)) if zlib.crc32(name.encode()) % SHARDS == 0]
    for name in new:
        store.charge("k", [one], Token(name, int(late * 1000)), late)
    (item,) = table.query(keys.ledger_of("k"))
    writers = {name for name in item.body if name.startswith("@")}
    assert len(old) > MANY
    assert {f"@{name}" for name in new} == writers
    assert [len(old) + len(new)] == [line.charge.requests for line in store.ledger(["k"], DAY, "2026-09-22")]


def test_counters_that_moved_are_not_taken_away(table: Table) -> None:
    """Who wrote again in the meantime is not forgotten."""
    key = keys.spent("k", MONTH, 0)
    table.add_once(key, {"21": 1}, "@a", 5, ttl=NOW)
    table.add_once(key, {"21": 1}, "@b", 6, ttl=NOW)
    table.forget(key, {"@a": 4, "@b": 6})
    found = table.get(key)
    assert {"21": 2, "@a": 5, "@b": 6} == (found.body if found else None)
    table.forget(key, {"@a": 5})
    found = table.get(key)
    assert {"21": 2, "@b": 6} == (found.body if found else None)


def test_the_ledger_is_kept_for_a_year_and_a_month(store: Store, table: Table) -> None:
    """Lines and sums have a time to live."""
    store.charge("k", [PAID], token(1), NOW)
    items = [*table.query(keys.ledger_of("k")), *table.query(keys.spent_of("k"))]
    assert [NOW + keys.LEDGER_TTL] * 2 == [item.ttl for item in items]
