"""Observations become health; transitions of health become incidents and recovery probes.

Driven by the table stream, at least once and possibly late: every write is conditional, and seeing a record twice
changes nothing that matters (a health item is only written by the revision that was read).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from understudy.catalog import Catalog
from understudy.errors import Conflict
from understudy.health.item import Health, fold, settled
from understudy.health.observation import Observation
from understudy.incidents.incident import Incident, Kind, observed, resolved
from understudy.metrics import Measured
from understudy.ports import Clock, ConfirmQueue, ControlStore, HealthStore, IncidentStore, Logger, ProbeQueue
from understudy.services.current_catalog import CurrentCatalog

TRIES = 8
"""Times a conditional write is tried again after losing to another writer."""
NEXT_PROBE = 1.0
"""Seconds between the probes that prove a recovery."""
MEASURE = 50.0
"""Seconds between two measures of a target that does not change: about one for each minute that CloudWatch keeps."""


class Store(ControlStore, HealthStore, IncidentStore, Protocol):
    """The part of the store that health needs."""


class UpdateHealth:
    def __init__(
        self,
        store: Store,
        probes: ProbeQueue,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
        confirms: ConfirmQueue | None = None,
    ) -> None:
        self._confirms = confirms
        self._store = store
        self._catalog = CurrentCatalog(store)
        self._probes = probes
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._measured_at: dict[str, float] = {}

    def observe(self, seen: Observation) -> None:
        """Fold one observation into its target's health."""
        current = self._catalog.read()
        if current is None or seen.target not in current.targets:
            return
        for _ in range(TRIES):
            before = self._store.health([seen.target]).get(seen.target) or Health(seen.target)
            after = fold(before, seen, current.health, self._rng)
            if after == before:
                return
            try:
                self._store.put_health(after)
            except Conflict:
                continue
            return
        raise Conflict(f"the health of {seen.target} changed {TRIES} times while it was being updated")

    def react(self, before: Health | None, after: Health) -> None:
        """Act on a change of a health item, whoever wrote it."""
        current = self._catalog.read()
        if current is None or after.target not in current.targets:
            return
        self._tell(before or Health(after.target), after)
        self._incidents(after, current)
        self._next_probe(before, after, current)

    def _tell(self, before: Health, after: Health) -> None:
        """Log a transition; measure the target with it, and otherwise as often as is of use."""
        was, now, target, at = before.breaker, after.breaker, after.target, self._clock()
        moved = (was.state, was.opens) != (now.state, now.opens)
        if not moved and at - self._measured_at.get(target, 0.0) < MEASURE:
            return
        self._measured_at[target] = at
        values = {"Score": round(100 * after.score, 2)}
        if now.state != "closed" or moved:
            # A breaker that stays closed is the rule, and a metric that says nothing costs what one costs that does.
            values["BreakerOpen"] = int(now.state != "closed")
        metrics = [Measured("target", target, values)]
        if moved:
            told = {"before": was.state, "after": now.state, "reason": now.reason, "until": now.until}
            self._logger.info("transition", target=target, **told, metrics=metrics)
        else:
            self._logger.info("health", target=target, metrics=metrics)

    def _incidents(self, health: Health, current: Catalog) -> None:
        refused = health.credential_failed
        # A refused credential opens the breaker too, but nobody would look for an outage's cause then.
        troubles: dict[Kind, bool] = {"outage": health.state == "open" and not refused, "credential": refused}
        for kind, trouble in troubles.items():
            if trouble:
                self._open(kind, health, current)
            elif settled(health, current.health):
                self._resolve(kind, health)

    def _open(self, kind: Kind, health: Health, current: Catalog) -> None:
        target = current.targets[health.target]
        summary = health.breaker.reason if kind == "outage" else health.last_failure

        def change(incident: Incident | None) -> Incident | None:
            return observed(
                incident,
                subject=health.target,
                kind=kind,
                severity="critical",
                summary=summary,
                facts={
                    "provider": target.provider.name,
                    "model": target.model,
                    "routes": ", ".join(
                        r.name for r in current.routes.values() if target.name in {c.target.name for c in r.candidates}
                    ),
                },
                now=self._clock(),
                renotify=current.alerts.renotify,
                link=current.alerts.link,
            )

        self._change(health.target, kind, change)

    def _resolve(self, kind: Kind, health: Health) -> None:
        facts = {"good evaluations": health.evaluations}
        self._change(health.target, kind, lambda incident: resolved(incident, now=self._clock(), facts=facts))

    def _change(self, subject: str, kind: Kind, change: Callable[[Incident | None], Incident | None]) -> None:
        for _ in range(TRIES):
            after = change(self._store.incident(subject, kind))
            if after is None:
                return
            try:
                self._store.put_incident(after)
            except Conflict:
                continue
            return
        raise Conflict(f"the incident {subject}/{kind} changed {TRIES} times while it was being updated")

    def _next_probe(self, before: Health | None, after: Health, current: Catalog) -> None:
        """Order the next recovery probe: one for each opening, then one after each good probe until all is over."""
        was = before or Health(after.target)
        if after.state == "open":
            if (was.state, was.breaker.opens) != ("open", after.breaker.opens):
                self._probes.send(after.target, after.breaker.until - self._clock())
        elif after.evaluations > was.evaluations and not settled(after, current.health) and after.breaker.opens:
            self._probes.send(after.target, NEXT_PROBE)
