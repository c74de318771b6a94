"""What is written down of money: charges, the lines of the ledger that they are added to, and sums of an account.

An account is the hash of a client key, or "" for the router's own calls.  Days and months are those of UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

ROUTER = ""
"""The account of the router's own calls."""

Purpose = Literal["traffic", "shadow", "probe", "judge", "drill"]
PURPOSES: tuple[Purpose, ...] = ("traffic", "shadow", "probe", "judge", "drill")


def day_of(now: float) -> str:
    """The day (UTC) that `now` is of, as YYYY-MM-DD."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Charge:
    """What is added to one line of the ledger.

    `usd_estimated` is the part of `usd` that rests on estimated tokens or an assumed price.  `requests` counts callers'
    requests, `attempts` upstream calls.  Tokens are counted as `understudy.chat.usage.Usage` does: those of the prompt
    include cache reads and writes, those of the completion include reasoning.
    """

    purpose: Purpose
    route: str
    target: str
    usd: Decimal = Decimal(0)
    usd_estimated: Decimal = Decimal(0)
    requests: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def line(self) -> tuple[Purpose, str, str]:
        """The line it belongs to, within an account and a day."""
        return self.purpose, self.route, self.target

    def plus(self, other: Charge) -> Charge:
        """Both on this one's line."""
        return Charge(*self.line, **{name: getattr(self, name) + getattr(other, name) for name in MEASURES})


MEASURES = tuple(field.name for field in fields(Charge) if field.name not in ("purpose", "route", "target"))
MONEY = frozenset({"usd", "usd_estimated"})


def plain_measures(charge: Charge) -> dict[str, Any]:
    """The sums of a line, JSON-able; money as text."""
    return {n: format(getattr(charge, n), "f") if n in MONEY else getattr(charge, n) for n in MEASURES}


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """The sum of what was charged to one line of an account on one day (YYYY-MM-DD)."""

    account: str
    day: str
    charge: Charge


@dataclass(frozen=True, slots=True)
class Spent:
    """US dollars of an account, day and month to date."""

    day: Decimal = Decimal(0)
    month: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Token:
    """By which a charge is known again when its write is repeated.

    `writer` is drawn at random for each process that writes; it numbers what it writes to one account upwards, by the
    milliseconds since the epoch or by one, and writes one after the other.
    """

    writer: str
    number: int
