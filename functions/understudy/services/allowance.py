"""What one account has left of its limits, as far as an execution environment knows.  Pure: the time comes in.

A request may go on while what was taken before it is below every limit, so the last one may take more than was left:
nobody knows before its end how much it takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from understudy.errors import QuotaExceeded, RateExceeded, RequestError
from understudy.keys import ClientKey, KeyLimits
from understudy.ports import Spent
from understudy.store_ports import Use

if TYPE_CHECKING:
    # Rooms that only look at incidents of budgets have no event loop.
    import asyncio

MINUTE, DAY = 60, 86400
ALMOST = Decimal("0.8")
"""The part of a budget at which somebody is told."""
BESIDE = 50
"""Execution environments that may each have begun a request since the account was looked at."""
RATE = 100.0
"""Requests a second that others may have made since; what the API takes where nothing else is said (template.yaml)."""
HALF = 0.5
"""The part of a limit from which on the table is asked before a provider is."""
BUSY = 1.0
"""Seconds until another try, where requests under way stand in the way."""

Period = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Own:
    """US dollars of an account's requests that ended in this environment, of the day and the month of `at`."""

    at: float = float("-inf")
    day: Decimal = Decimal(0)
    month: Decimal = Decimal(0)

    def of(self, period: Period, now: float) -> Decimal:
        """Those of the period of `now`."""
        return (self.day if period == "day" else self.month) if same(period, self.at, now) else Decimal(0)

    def plus(self, usd: Decimal, now: float) -> Own:
        return Own(now, self.of("day", now) + usd, self.of("month", now) + usd)


@dataclass(slots=True)
class Known:
    """Of one account.  `use` is what was taken of the `minute` (its number since the epoch): by the fleet, as the table
    said to a call that began at `told_at`, and here since.  `spent` is what the ledger said at `read_at`; `own` is what
    was spent here, `seen` how much of it the ledger had then; `under_way` what requests that have not ended may cost at
    most.  `sure`: at the last look all that was spent here was written; else some of it may count twice.
    """

    minute: int = -1
    use: Use = field(default_factory=Use)
    told_at: float = float("-inf")
    spent: Spent | None = None
    read_at: float = float("-inf")
    sure: bool = True
    own: Own = field(default_factory=Own)
    seen: Own = field(default_factory=Own)
    under_way: dict[Ticket, Decimal] = field(default_factory=dict)

    def told(self, use: Use, began: float) -> None:
        """Take over what the fleet has taken; answers may come in another order than the calls began."""
        if began >= self.told_at:
            self.minute, self.use, self.told_at = int(began // MINUTE), use, began

    def count(self, now: float, *, requests: int = 0, tokens: int = 0) -> None:
        """Count what is taken here, until the table says what all have taken."""
        use = self.of_minute(now)
        self.minute, self.use = int(now // MINUTE), Use(use.requests + requests, use.tokens + tokens, use.concurrent)

    def of_minute(self, now: float) -> Use:
        """What is known to be taken of the minute of `now`."""
        return self.use if self.minute == int(now // MINUTE) else Use(concurrent=self.use.concurrent)

    def read(self, spent: Spent, at: float, seen: Own, *, sure: bool) -> None:
        """Take over what the ledger said to a look that began `at`."""
        if at >= self.read_at:
            self.spent, self.read_at, self.seen, self.sure = spent, at, seen.plus(Decimal(0), at), sure

    def running(self, now: float) -> int:
        """How many requests are under way here.  One that nobody said the end of does not count for ever: its caller
        may have left before the answer was begun."""
        for ticket in [ticket for ticket in self.under_way if now >= ticket.ends]:
            del self.under_way[ticket]
        return len(self.under_way)

    def money(self, period: Period, now: float) -> Decimal:
        """US dollars that are known to be spent of the period of `now`; what others have spent since the last look, or
        before the first, is not."""
        spent = Decimal(0)
        if self.spent is not None and same(period, self.read_at, now):
            spent = self.spent.day if period == "day" else self.spent.month
        return spent + self.own.of(period, now) - self.seen.of(period, now)


@dataclass(slots=True, eq=False)
class Ticket:
    """One request of a limited key.  `prompt` is its tokens as they were counted ahead, `ends` when it no longer
    counts as under way, whatever is heard of it; `leased`: the table counts that.  `began` is when the table was asked;
    `asked` ends with why the request may not go on.

    `taken`: the table has counted it; `headers` say what is left.
    """

    client: ClientKey
    known: Known
    prompt: int
    ends: float
    leased: bool
    began: float
    asked: asyncio.Task[RequestError | None] | None = None
    taken: bool = False
    settled: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def lease(self) -> float | None:
        """As the table is told."""
        return self.ends if self.leased else None


def budgets(limits: KeyLimits) -> Iterator[tuple[Period, Decimal]]:
    """The budgets that there are."""
    if limits.usd_per_day is not None:
        yield "day", limits.usd_per_day
    if limits.usd_per_month is not None:
        yield "month", limits.usd_per_month


def refusal(
    limits: KeyLimits, known: Known, before: Use, now: float, *, mine: Ticket | None = None
) -> RequestError | None:
    """Why a request may not go on where others have taken `before`; None where it may.  `mine` is its own ticket among
    those under way."""
    left = MINUTE - now % MINUTE
    rates: tuple[tuple[int | None, int, str, float], ...] = (
        (limits.requests_per_minute, before.requests, "requests", left),
        (limits.tokens_per_minute, before.tokens, "tokens", left),
        (limits.concurrent, before.concurrent, "", BUSY),
    )
    for limit, taken, of, wait in rates:
        if limit is None or taken < limit:
            continue
        words = f"{limit} {of} a minute" if of else f"{limit} requests at a time"
        again = f"The next minute (UTC) begins in {left:.0f} s." if of else "Try again when one of them has ended."
        message = f"This API key may use {words}, and they are in use. {again}"
        return RateExceeded(message, wait=wait, headers=_left(of, limit, limit, left) if of else {})
    held = sum((usd for ticket, usd in known.under_way.items() if ticket is not mine), Decimal(0))
    for period, budget in budgets(limits):
        if (spent := known.money(period, now)) >= budget:
            new = beginning(period, now)
            return QuotaExceeded(
                f"The budget of this API key, ${budget:f} a {period}, is spent. A new {period} begins at "
                f"{datetime.fromtimestamp(new, UTC):%Y-%m-%d %H:%M} UTC."
            )
        if spent + held >= budget:
            message = f"What is left of this API key's ${budget:f} a {period} may be taken by its requests under way."
            return RateExceeded(f"{message} Try again when they have ended.", wait=BUSY)
    return None


def scarce(limits: KeyLimits, known: Known, price: Decimal, now: float) -> bool:
    """Whether so little may be left that a provider is not to be asked before the table: a call that is then broken
    off costs as well.  `price` is what the request may cost at most, in US dollars.

    Rates: from half of a limit on, of this minute or the one before.  Money: where requests as dear as this one, one of
    each environment and as many more as the API takes since the last look, would use up what is left.
    """
    now_use = known.use if known.minute >= int(now // MINUTE) - 1 else Use()
    taken = (
        (limits.requests_per_minute, now_use.requests),
        (limits.tokens_per_minute, now_use.tokens),
        (limits.concurrent, now_use.concurrent),
    )
    if any(limit is not None and used >= limit * HALF for limit, used in taken):
        return True
    age, held = max(0.0, now - known.read_at), sum(known.under_way.values(), Decimal(0))
    for period, budget in budgets(limits):
        if known.spent is None or not same(period, known.read_at, now):
            return True
        if budget - known.money(period, now) - held <= price * Decimal(BESIDE + RATE * age):
            return True
    return False


def headers(limits: KeyLimits, use: Use, now: float) -> dict[str, str]:
    """What is left of this minute, in the words of the OpenAI API reference ("Rate limits in headers")."""
    told: dict[str, str] = {}
    left = MINUTE - now % MINUTE
    if limits.requests_per_minute is not None:
        told |= _left("requests", limits.requests_per_minute, use.requests, left)
    if limits.tokens_per_minute is not None:
        told |= _left("tokens", limits.tokens_per_minute, use.tokens, left)
    return told


def beginning(period: Period, now: float) -> float:
    """When the next day or month (UTC) begins."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1) if period == "day" else _next_month(today)).timestamp()


def _next_month(today: datetime) -> datetime:
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)


def _left(what: str, limit: int, used: int, seconds: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(max(0, limit - used)),
        f"x-ratelimit-reset-{what}": f"{math.ceil(seconds)}s",
    }


def same(period: Period, one: float, other: float) -> bool:
    """Whether two moments are of one day or month (UTC)."""
    if one == float("-inf"):
        return False
    if one // DAY == other // DAY:
        return True
    a, b = datetime.fromtimestamp(one, UTC), datetime.fromtimestamp(other, UTC)
    return period == "month" and (a.year, a.month) == (b.year, b.month)
