"""The ledger in terms of a table: sums that are added to once for each token, whoever else adds.

Each item that is added to remembers the last number of each of its writers, and adds only where a number is above it.
So one conditional update of one item is enough, without a transaction: those cost twice as much, and cancel each other
on an item that many write to (Amazon DynamoDB developer guide, "Transaction conflict handling").  Writers share an
account's items out among a few shards, by their names.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Any

from understudy.pricing.ledger import MEASURES, MONEY, Charge, LedgerLine, Spent, Token, day_of
from understudy.store import keys
from understudy.store.table import Key, Table

NANO = Decimal("1e-9")
SHARDS = 8
"""Items that one sum of an account is spread over: each takes some hundred writes a second."""
FORGOTTEN = 6 * 3600.0
"""Seconds after its last write at which a writer is forgotten: nothing is repeated so late."""
MANY = 8
"""Writers that are forgotten at a time; it takes a write."""


class Ledger:
    """See `understudy.ports.LedgerStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def charge(self, account: str, charges: Sequence[Charge], token: Token, now: float) -> None:
        day, shard = day_of(now), zlib.crc32(token.writer.encode()) % SHARDS
        amounts: dict[Key, dict[str, int]] = {}
        for one in charges:
            key = keys.ledger(account, day, one.route or one.target, shard, own=not one.route)
            sums = amounts.setdefault(key, {})
            for name in MEASURES:
                if value := _whole(name, getattr(one, name)):
                    column = f"{one.purpose}|{one.target}|{name}"
                    sums[column] = sums.get(column, 0) + value
        usd = sum(_whole("usd", one.usd) for one in charges)
        if usd:
            # Money first: what is cut off between the two must not let a key spend more than it may.
            amounts = {keys.spent(account, day[:7], shard): {day[8:]: usd}, **amounts}
        for key, sums in amounts.items():
            if sums:
                self._add(key, sums, token, now)

    def spent(self, account: str, now: float) -> Spent:
        day = day_of(now)
        days = self.daily(account, [day[:7]])
        return Spent(day=days.get(day, Decimal(0)), month=sum(days.values(), Decimal(0)))

    def daily(self, account: str, months: Sequence[str]) -> Mapping[str, Decimal]:
        found: dict[str, Decimal] = {}
        for month in months:
            for item in self._table.query(keys.spent_of(account), prefix=month):
                for name, amount in item.body.items():
                    if not name.startswith("@"):
                        day = f"{month}-{name}"
                        found[day] = found.get(day, Decimal(0)) + amount * NANO
        return found

    def ledger(self, accounts: Sequence[str], first_day: str, last_day: str) -> Sequence[LedgerLine]:
        found: dict[tuple[str, str, str, str, str], dict[str, Any]] = {}
        for account in accounts:
            for prefix in _prefixes(first_day, last_day):
                for item in self._table.query(keys.ledger_of(account), prefix=prefix):
                    day, kind, name, _ = item.key[1].split("#")
                    if not first_day <= day <= last_day:
                        continue
                    for column, amount in item.body.items():
                        if column.startswith("@"):
                            continue
                        purpose, target, measure = column.split("|")
                        sums = found.setdefault((account, day, purpose, name if kind == "route" else "", target), {})
                        sums[measure] = sums.get(measure, 0) + amount
        return [_line(*line, sums) for line, sums in sorted(found.items())]

    def _add(self, key: Key, sums: Mapping[str, int], token: Token, now: float) -> None:
        kept = self._table.add_once(key, sums, f"@{token.writer}", token.number, ttl=now + keys.LEDGER_TTL)
        old = (now - FORGOTTEN) * 1000
        gone = {name: last for name, last in (kept or {}).items() if name.startswith("@") and last < old}
        if len(gone) >= MANY:
            self._table.forget(key, gone)


def _whole(name: str, value: Decimal | int) -> int:
    """Counters are whole numbers: money in thousand millionths of a dollar, rounded up."""
    return int((value / NANO).to_integral_value(ROUND_CEILING)) if name in MONEY else int(value)


def _prefixes(first_day: str, last_day: str) -> list[str]:
    """Beginnings that the days from the first to the last have: the day itself where it is one, else its months."""
    first, last = date.fromisoformat(first_day), date.fromisoformat(last_day)
    if first == last:
        return [first_day]
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in months]


def _line(account: str, day: str, purpose: Any, route: str, target: str, sums: Mapping[str, int]) -> LedgerLine:
    # A measure that a newer version writes is not known here.
    known: dict[str, Any] = {name: sums[name] * (NANO if name in MONEY else 1) for name in MEASURES if name in sums}
    return LedgerLine(account, day, Charge(purpose, route, target, **known))
