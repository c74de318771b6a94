"""What was spent, from the ledger: filtered and summed up as somebody wants to see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol

from understudy.errors import UnderstudyError
from understudy.keys import ClientKey
from understudy.ports import Charge, LedgerLine
from understudy.pricing.ledger import ROUTER, plain_measures
from understudy.store_ports import KeyStore, LedgerStore

By = Literal["day", "key", "route", "target", "purpose"]
BY: tuple[By, ...] = ("day", "key", "route", "target", "purpose")
ROUTERS = "router"
"""Names the router's own account, of which every other name is that of a key."""
LONGEST = 400
"""Days of one report: as long as the ledger is kept."""


class CostError(UnderstudyError):
    """The report cannot be made; says what to do."""


class Store(LedgerStore, KeyStore, Protocol):
    """The part of the store that a report needs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of the ledger, from the first to the last day (YYYY-MM-DD); empty means all."""

    first: str
    last: str
    key: str = ""
    routes: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Row:
    """One group and its sum; `group` has a value for each of what was grouped by."""

    group: tuple[str, ...]
    sum: Charge


@dataclass(frozen=True, slots=True)
class Report:
    by: tuple[By, ...]
    rows: tuple[Row, ...]
    total: Charge = field(default_factory=lambda: Charge("traffic", "", ""))

    def plain(self) -> list[dict[str, Any]]:
        """One JSON-able object for each row; money as text."""
        return [dict(zip(self.by, row.group, strict=True)) | plain_measures(row.sum) for row in self.rows]


def days(first: str | None, last: str | None, today: str) -> tuple[str, str]:
    """The days of a report: from the first of this month to today where nothing is said.  Raises CostError."""
    given = {"--from": first or f"{today[:8]}01", "--to": last or today}
    for option, text in given.items():
        try:
            given[option] = date.fromisoformat(text).isoformat()
        except ValueError:
            raise CostError(f"{option} {text}: this is no day; write it as {today}") from None
    begin, end = given.values()
    if begin > end:
        raise CostError(f"--from {begin} is after --to {end}")
    if (date.fromisoformat(end) - date.fromisoformat(begin)).days >= LONGEST:
        raise CostError(f"--from {begin} --to {end}: the ledger is kept for {LONGEST} days, ask for fewer")
    return begin, end


def report(store: Store, wanted: Wanted, by: Sequence[By]) -> Report:
    """Sums by group, in the order of the groups.  Raises CostError, StoreError."""
    # A key that was rotated goes on with its account: the newest one names it.
    made = sorted(store.client_keys(), key=lambda key: key.created_at)
    keys = {key.account: key for key in made}
    accounts = _accounts(wanted.key, made)
    groups: dict[tuple[str, ...], Charge] = {}
    total = Charge("traffic", "", "")
    for line in matching(store.ledger(accounts, wanted.first, wanted.last), wanted):
        group = tuple(_value(name, line, keys) for name in by)
        before = groups.get(group)
        groups[group] = line.charge if before is None else before.plus(line.charge)
        total = total.plus(line.charge)
    rows = tuple(Row(group, charge) for group, charge in sorted(groups.items(), key=lambda item: item[0]))
    return Report(tuple(by), rows, total)


def matching(lines: Iterable[LedgerLine], wanted: Wanted) -> Iterable[LedgerLine]:
    """The lines that are wanted."""
    for line in lines:
        charge = line.charge
        if (
            (not wanted.routes or charge.route in wanted.routes)
            and (not wanted.targets or charge.target in wanted.targets)
            and (not wanted.purposes or charge.purpose in wanted.purposes)
        ):
            yield line


def _accounts(asked: str, keys: Sequence[ClientKey]) -> list[str]:
    if not asked:
        return [ROUTER, *sorted({key.account for key in keys})]
    if asked == ROUTERS:
        return [ROUTER]
    found = {each.account for each in keys if each.name == asked or each.hash.startswith(asked)}
    if not found:
        raise CostError(f"there is no key {asked!r}; `understudy keys list` shows them, and `{ROUTERS}` is the router")
    return sorted(found)


def _value(name: By, line: LedgerLine, keys: Mapping[str, ClientKey]) -> str:
    charge = line.charge
    if name == "key":
        if line.account == ROUTER:
            return ROUTERS
        known = keys.get(line.account)
        return f"{known.name if known else 'unknown'} {line.account[:12]}"
    return {"day": line.day, "route": charge.route, "target": charge.target, "purpose": str(charge.purpose)}[name]
