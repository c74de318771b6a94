"""Incidents of money: a price that nobody knows, and an account that spends faster than it used to.

Looked at every few minutes by whoever takes observations in; each is told once, and ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Any, Protocol

from understudy.catalog import Catalog, Target
from understudy.incidents.incident import ACCOUNT, OVER, Incident, Kind, observed, resolved
from understudy.ports import Clock, IncidentStore, KeyStore, LedgerStore
from understudy.pricing.cost import price_at
from understudy.pricing.ledger import ROUTER, day_of
from understudy.pricing.pace import highest, months_before, usual
from understudy.services.incident_changes import changed

PAUSE = 300.0
"""Seconds between two looks of one environment."""
MOST = 200
"""Accounts of one look; of more, the next look sees the next ones."""


class Store(IncidentStore, KeyStore, LedgerStore, Protocol):
    """The part of the store that money needs."""


class SpendWatch:
    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._looked_at = 0.0
        self._next = 0

    def look(self, current: Catalog) -> None:
        """Open and end incidents, where it is time to.  Raises StoreError."""
        now = self._clock()
        if now - self._looked_at < PAUSE:
            return
        self._looked_at = now
        open_ones = {(one.subject, one.kind) for one in self._store.incidents() if one.status == "open"}
        self._prices(current, open_ones, now)
        for subject, account, name in self._accounts():
            self._pace(subject, account, name, current, (subject, "cost") in open_ones, now)

    def _prices(self, current: Catalog, open_ones: set[tuple[str, Kind]], now: float) -> None:
        unknown = {target.name: target for target in unpriced(current, now)}
        for name, target in unknown.items():
            if (name, "price") not in open_ones:
                rate = target.assumed_price
                words = (
                    f"no price is known of {target.model}; its calls are counted at ${rate.input_per_million:f} a "
                    f"million tokens of prompts and ${rate.output_per_million:f} of answers, and told as estimated"
                )
                routes = ", ".join(route.name for route in current.routes.values() if name in route.asked)
                facts = {"provider": target.provider.name, "model": target.model, "routes": routes}
                self._tell(name, "price", words, facts, current, now)
        for subject, kind in open_ones:
            if kind == "price" and subject not in unknown:
                why = "its price is known" if subject in current.targets else "nobody asks it any more"
                self._end(subject, kind, why, now)

    def _accounts(self) -> Iterator[tuple[str, str, str]]:
        """Subject, account and name of those whose turn it is."""
        accounts = [(f"{ACCOUNT}router", ROUTER, "the router itself")]
        keys = sorted(self._store.client_keys(), key=lambda key: key.hash)
        accounts += [(f"{ACCOUNT}{key.hash[:12]}", key.hash, key.name) for key in keys]
        turn = [accounts[(self._next + place) % len(accounts)] for place in range(min(MOST, len(accounts)))]
        self._next = (self._next + len(turn)) % len(accounts)
        yield from turn

    def _pace(self, subject: str, account: str, name: str, current: Catalog, is_open: bool, now: float) -> None:
        today = day_of(now)
        days = self._store.daily(account, months_before(now))
        history = usual(days, today)
        limit, spent = highest(history), days.get(today, Decimal(0))
        if limit is not None and spent > limit:
            if not is_open:
                words = f"{name} has spent ${spent:.2f} today; a usual day of its last {len(history)} is"
                words += f" ${median(history):.2f}, and up to ${limit:.2f} would be ordinary"
                facts = {"account": name, "day": today, "spent_usd": f"{spent:.2f}", "ordinary_usd": f"{limit:.2f}"}
                self._tell(subject, "cost", words, facts, current, now)
        elif is_open:
            self._end(subject, "cost", "it spends as it used to", now)

    def _tell(
        self, subject: str, kind: Kind, words: str, facts: Mapping[str, Any], current: Catalog, now: float
    ) -> None:
        """Open it, where nobody has; it is told once and not again."""

        def opened(incident: Incident | None) -> Incident | None:
            if incident is not None and incident.status == "open":
                return None
            return observed(
                incident,
                subject=subject,
                kind=kind,
                severity="warning",
                summary=words,
                facts=facts,
                now=now,
                renotify=current.alerts.renotify,
                link=current.alerts.link,
            )

        changed(self._store, subject, kind, opened)

    def _end(self, subject: str, kind: Kind, why: str, now: float) -> None:
        changed(self._store, subject, kind, partial(resolved, now=now, facts={OVER: why}))


def unpriced(current: Catalog, now: float) -> Iterator[Target]:
    """Targets that requests may go to and whose price nobody knows; what a simulated provider costs is no money."""
    asked = {name: target for route in current.routes.values() for name, target in route.asked.items()}
    for _, target in sorted(asked.items()):
        if price_at(target, now) is None and not target.provider.simulated:
            yield target
