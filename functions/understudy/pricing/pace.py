"""Whether an account spends faster than it used to: one day against its own history.

A day is one value, and an account has few of them; so it is a plain rule that a person can check, not a sequential test
(those of `detectors` look at calls, of which there are many).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

from understudy.pricing.ledger import day_of

WINDOW = 28
"""Days of history: each day of the week is in it four times."""
LEAST = 7
"""Days without which nothing is usual yet."""
TIMES = 3
"""A day is out of the ordinary at so many times the usual day."""
ABOVE = Decimal("1.5")
"""… and at so many times the highest but one, so that a weekly batch is none, and one odd day hides no other."""
FLOOR = Decimal(1)
"""US dollars; less than this a day is nobody's alarm."""


def months_before(now: float) -> list[str]:
    """The months (YYYY-MM) that the window and the day of `now` are of."""
    return sorted({day_of(now - days * 86_400)[:7] for days in (0, WINDOW)})


def usual(days: Mapping[str, Decimal], today: str) -> list[Decimal]:
    """Dollars of each complete day of the window before `today` (YYYY-MM-DD), from the first day of spending on."""
    last = date.fromisoformat(today)
    window = [(last - timedelta(days=back)).isoformat() for back in range(WINDOW, 0, -1)]
    spent = [days.get(day, Decimal(0)) for day in window]
    first = next((place for place, usd in enumerate(spent) if usd), len(spent))
    return spent[first:]


def highest(history: list[Decimal]) -> Decimal | None:
    """The most that a day may cost and be ordinary; None while too little is known."""
    if len(history) < LEAST:
        return None
    return max(FLOOR, TIMES * median(history), ABOVE * sorted(history)[-2])
