"""Alerts of what ends on a day that is known ahead: models that are retired, contracts that expire.

Nobody takes the place of a target that ends: its routes go on with the targets that they list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

from understudy.catalog import Catalog, Target
from understudy.incidents.endings import Date, Ending, day, ending, told
from understudy.incidents.incident import OVER, Incident, resolved
from understudy.ports import Clock
from understudy.services.current_catalog import CurrentCatalog
from understudy.services.incident_changes import changed
from understudy.store_ports import ControlStore, IncidentStore

LOOK = 3600.0
"""Seconds between two looks at the calendar."""
KINDS = ("lifecycle", "contract")


class Store(ControlStore, IncidentStore, Protocol):
    """The part of the store that is needed here."""


class Endings:
    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._catalog = CurrentCatalog(store)
        self._looked: tuple[int, float] | None = None

    def tick(self) -> None:
        """Look, where it was not done within the last hour or the document has changed since.  Raises StoreError."""
        current, now = self._catalog.read(), self._clock()
        if current is None or (self._looked and self._looked[0] == current.version and now - self._looked[1] < LOOK):
            return
        wanted = {(one.subject, one.kind): one for one in endings(current, now)}
        for one in wanted.values():
            changed(self._store, one.subject, one.kind, partial(told, one=one, now=now, link=current.alerts.link))
        for incident in self._store.incidents():
            if incident.kind in KINDS and incident.status == "open" and _key(incident) not in wanted:
                over = {OVER: _why(incident.subject, current)}
                changed(self._store, incident.subject, incident.kind, partial(resolved, now=now, facts=over))
        self._looked = (current.version, now)


def endings(current: Catalog, now: float) -> Iterator[Ending]:
    """What is to be told now of the targets that a route may ask."""
    for name, routes in _asked(current).items():
        target = current.targets[name]
        life, contract = target.lifecycle, target.data.contract
        facts: dict[str, Any] = {"provider": target.provider.name, "model": target.model, "routes": ", ".join(routes)}
        dates = [
            *([Date(life.deprecated_at, "is deprecated", grave=False)] if life.deprecated_at is not None else []),
            *([Date(life.retires_at, "is retired")] if life.retires_at is not None else []),
        ]
        facts_of_life = facts | {f"{date.what} on": day(date.at) for date in dates}
        if life.replacement:
            facts_of_life["replacement"] = life.replacement
        hint = f"; its replacement is {life.replacement}{_listed(life.replacement, name, current)}"
        found = ending("lifecycle", name, dates, now, facts_of_life, hint if life.replacement else "")
        if found is not None:
            yield found
        if contract.expires_at is not None:
            # The last day counts: it is told on it, and the first moment after it denies.
            last = contract.expires_at - 86400.0
            told_of = facts | {"contract": contract.id or "its contract", "ends on": day(last)}
            words = f"its contract {contract.id} ends".replace("  ", " ")
            found = ending("contract", name, [Date(last, words)], now, told_of)
            if found is not None:
                yield found


def _listed(replacement: str, name: str, current: Catalog) -> str:
    """Which routes of the target do not list the replacement, in words."""
    if replacement not in current.targets:
        return ""
    routes = [route.name for route in current.routes.values() if name in route.asked and replacement not in route.asked]
    return f", which {', '.join(routes)} does not list" if routes else ", which its routes list"


def _asked(current: Catalog) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for route in current.routes.values():
        for name in route.asked:
            found.setdefault(name, []).append(route.name)
    return found


def _key(incident: Incident) -> tuple[str, str]:
    return incident.subject, incident.kind


def _why(subject: str, current: Catalog) -> str:
    target: Target | None = current.targets.get(subject)
    if target is None or subject not in _asked(current):
        return "no route asks it any more"
    return "the control document names another date, or none"
