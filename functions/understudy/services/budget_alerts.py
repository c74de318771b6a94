"""A client key's budget that is almost spent, or spent, is an incident: told once for each day or month, and once more
when requests are refused.

Whoever sees it first opens it, on condition that nobody did.  It ends when a new day or month has begun: update_health
looks after that, so that a key that is not used any more leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from understudy.incidents.incident import ACCOUNT, OVER, Incident, observed, resolved
from understudy.keys import ClientKey
from understudy.ports import Clock, IncidentStore
from understudy.services import allowance
from understudy.services.allowance import Known, Period
from understudy.services.incident_changes import changed

PERIODS: tuple[Period, ...] = ("day", "month")
NEVER = float("inf")
"""Seconds until an open one is told again: nothing new is known of it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget, in US dollars, of which most is `spent` until `ends`; `over`: all of it."""

    period: Period
    budget: Decimal
    spent: Decimal
    ends: float
    over: bool


class BudgetAlerts:
    """One for each execution environment."""

    def __init__(self, store: IncidentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._told: dict[tuple[str, Period], Standing] = {}

    def found(self, client: ClientKey, known: Known) -> tuple[Standing, ...]:
        """The budgets of a key of which most is spent, where one of them is not told yet; they count as told then."""
        found = standings(client, known, self._clock())
        new = [one for one in found if not self._knows(client, one)]
        for one in new:
            self._told[client.account, one.period] = one
        return found if new else ()

    def forget(self, client: ClientKey, found: Sequence[Standing]) -> None:
        """Telling has failed: the next request tries again."""
        for one in found:
            self._told.pop((client.account, one.period), None)

    def tell(self, client: ClientKey, found: Sequence[Standing]) -> None:
        """Open the incident, or add to it.  Raises StoreError."""
        now = self._clock()
        changed(self._store, ACCOUNT + client.name, "budget", partial(after, client=client, found=found, now=now))

    def _knows(self, client: ClientKey, one: Standing) -> bool:
        told = self._told.get((client.account, one.period))
        return told is not None and (told.ends, told.budget) == (one.ends, one.budget) and told.over >= one.over


def standings(client: ClientKey, known: Known, now: float) -> tuple[Standing, ...]:
    """The budgets of a key of which at least ALMOST is spent."""
    amounts = ((period, budget, known.money(period, now)) for period, budget in allowance.budgets(client.limits))
    return tuple(
        Standing(period, budget, spent, allowance.beginning(period, now), spent >= budget)
        for period, budget, spent in amounts
        if spent >= budget * allowance.ALMOST
    )


def after(current: Incident | None, *, client: ClientKey, found: Sequence[Standing], now: float) -> Incident | None:
    """The incident after budgets were seen to be almost spent; None where it says so already."""
    told = [] if current is None or ended(current, now) else _periods(current, now)
    over = any(one.over for one in found)
    news = [one for one in found if one.period not in told]
    if current is not None and told and not news and (current.severity == "critical" or not over):
        return None
    facts = {one.period: f"{one.spent / one.budget:.0%} of ${one.budget:f}" for one in found}
    opened = observed(
        current if told else _closed(current),
        subject=ACCOUNT + client.name,
        kind="budget",
        severity="critical" if over else "warning",
        summary="; ".join(_sentence(one) for one in found),
        facts=facts | ({"owner": client.owner} if client.owner else {}),
        now=now,
        renotify=NEVER,
    )
    if opened is not None and current is not None and told and news and opened.notices == current.notices:
        # Another budget of the same key is news.
        return replace(opened, notices=opened.notices + 1, noticed_at=now)
    return opened


def end_those_over(store: IncidentStore, now: float) -> int:
    """End the incidents of budgets whose day or month is over; returns how many.  Raises StoreError."""
    open_ones = (one for one in store.incidents() if one.kind == "budget" and one.status == "open")
    return sum(end(store, one.subject, "a new day or month has begun", now) for one in open_ones if ended(one, now))


def end(store: IncidentStore, subject: str, why: str, now: float) -> bool:
    """End a budget's incident; False where none is open.  Raises StoreError."""
    return changed(
        store, subject, "budget", lambda one: resolved(one, now=now, facts={OVER: why}, actions=[(now, why)])
    )


def ended(incident: Incident, now: float) -> bool:
    """Whether nothing of what it told of is still so."""
    return incident.status == "resolved" or not _periods(incident, now)


def _periods(incident: Incident, now: float) -> list[Period]:
    """Those that it tells of and that are still running."""
    return [p for p in PERIODS if p in incident.facts and allowance.same(p, incident.changed_at, now)]


def _closed(current: Incident | None) -> Incident | None:
    """What a new incident follows on."""
    return None if current is None else replace(current, status="resolved")


def _sentence(one: Standing) -> str:
    share, spent = one.spent / one.budget, f"${one.spent:.6f}"
    return f"{spent} are spent of the ${one.budget:f} of this {one.period} ({share:.0%})"
