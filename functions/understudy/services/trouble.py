"""Incidents of targets and of providers: opened, updated and ended as the health of targets says.

An incident has one item of the table for each subject and kind, written on condition that nobody wrote since; so
however many see the same trouble at once, one of them opens it and the others find nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from understudy.catalog import Catalog
from understudy.detectors.discovery import PERIOD
from understudy.detectors.sample import bought
from understudy.errors import StoreError
from understudy.golden.drift import DRIFT
from understudy.health.finding import Finding
from understudy.health.item import Health, settled
from understudy.incidents.evidence import KIND, PAGE, Found, actions, facts, summary
from understudy.incidents.incident import OVER, PROVIDER, Action, Incident, Kind, Severity, observed, resolved
from understudy.ports import Clock, IncidentStore, SnapshotStore, StatusPageStore, Stream
from understudy.services.incident_changes import changed
from understudy.services.sweep import asked_of

SHARED = 0.75
"""The part of a provider's targets that must have the same trouble for it to be the provider's; two at least."""
AGAIN = 50.0
"""Seconds after which trouble that has not changed is looked at again, to be told again in time."""


class Store(IncidentStore, SnapshotStore, StatusPageStore, Protocol):
    """The part of the store that incidents need."""


class Troubles:
    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._looked_at: dict[tuple[str, Kind], float] = {}

    def react(self, before: Health, after: Health, current: Catalog) -> None:
        """Open, update and end incidents after a change of a target's health.  Raises StoreError."""
        found = told(after)
        self._breaker(after, current, failing="outage" in found)
        news = (before.findings, before.hold) != (after.findings, after.hold)
        for kind, findings in found.items():
            at, key = self._clock(), (after.target, kind)
            if news or at - self._looked_at.get(key, 0.0) >= AGAIN:
                self._looked_at[key] = at
                self._found(kind, findings, before, after, current)
        for kind, findings in told(before).items():
            if kind not in found and kind != "outage":
                self._gone(kind, findings, before, after, current)

    def end(self, subject: str, kind: Kind, why: Mapping[str, Any], action: str) -> bool:
        """End an incident for a reason of its own; False where none is open."""
        now = self._clock()
        return self._change(subject, kind, partial(resolved, now=now, facts=why, actions=[(now, action)]))

    def _breaker(self, health: Health, current: Catalog, *, failing: bool) -> None:
        refused = health.credential_failed
        # A refused credential opens the breaker too, but nobody would look for an outage's cause then.
        troubles: dict[Kind, bool] = {"outage": health.state == "open" and not refused, "credential": refused}
        for kind, trouble in troubles.items():
            if trouble:
                reason = health.breaker.reason if kind == "outage" else health.last_failure
                self._open(health.target, kind, "critical", reason, self._facts([health.target], current), (), current)
            elif settled(health, current.health) and not (kind == "outage" and failing):
                good = {"good evaluations": health.evaluations}
                self._change(health.target, kind, partial(resolved, now=self._clock(), facts=good))

    def _found(self, kind: Kind, findings: Sequence[Finding], before: Health, after: Health, current: Catalog) -> None:
        if kind == "outage" and after.state == "open":
            return
        found = _found_of(after, findings)
        subject, siblings = after.target, siblings_of(after.target, current)
        if len(siblings) > 1 and kind != "outage":
            shared = self._shared(kind, findings[0], found, after.target, siblings)
            provider = PROVIDER + current.targets[after.target].provider.name
            having = {one.target for one in shared}
            if len(having) >= max(2, math.ceil(SHARED * len(siblings))) or self._is_open(provider, kind):
                subject, found = provider, shared
                for name in having:
                    self._fold(name, kind, subject)
        severity: Severity = "critical" if kind == "quality" and any(one.confirmed for one in found) else "warning"
        done = [*actions(found), *_held(before, after, self._clock())]
        figures = {**facts(found), **self._facts(sorted({one.target for one in found}), current)}
        self._open(subject, kind, severity, summary(found), figures, done, current)

    def _shared(
        self, kind: Kind, mine: Finding, found: Sequence[Found], target: str, siblings: Sequence[str]
    ) -> list[Found]:
        """What was found of this kind since about the same time on all of the provider's targets, confirmed or not;
        the surest first."""
        health = self._store.snapshot([name for name in siblings if name != target], []).health
        others = [
            one
            for each in health.values()
            for one in _found_of(
                each, [f for f in each.findings if KIND[f.kind] == kind and abs(f.since - mine.since) < PERIOD]
            )
        ]
        return sorted([*found, *others], key=lambda one: (not one.confirmed, one.target, one.stream))

    def _gone(self, kind: Kind, was: Sequence[Finding], before: Health, after: Health, current: Catalog) -> None:
        now = self._clock()
        why = _why(was, after, current, now)

        def over(incident: Incident | None) -> Incident | None:
            # Who is about to end it has said why.
            facts = {} if incident is None or OVER in incident.facts else {OVER: why}
            return resolved(incident, now=now, facts=facts, actions=_held(before, after, now))

        self._change(after.target, kind, over)
        siblings = siblings_of(after.target, current)
        provider = PROVIDER + current.targets[after.target].provider.name
        if len(siblings) > 1 and self._is_open(provider, kind):
            health = self._store.snapshot([name for name in siblings if name != after.target], []).health
            if not any(kind in told(one) for one in health.values()):
                self._change(provider, kind, over)

    def _facts(self, names: Sequence[str], current: Catalog) -> dict[str, Any]:
        """Whom the trouble concerns, and what their provider says itself."""
        provider = current.targets[names[0]].provider
        return _whom(names, current) | self._page(provider.name, provider.status_page)

    def _page(self, provider: str, url: str) -> dict[str, str]:
        """What the provider's status page said lately.  It stands beside what was measured and changes none of it; so
        trouble is told without it where it is not known."""
        try:
            page = self._store.status_page(provider) if url else None
        except StoreError:
            return {}
        words = page.words(url, self._clock()) if page else ""
        return {PAGE: words} if words else {}

    def _is_open(self, subject: str, kind: Kind) -> bool:
        incident = self._store.incident(subject, kind)
        return incident is not None and incident.status == "open"

    def _fold(self, target: str, kind: Kind, into: str) -> None:
        """End a target's own incident without a word: it is told as its provider's."""
        why = {"told as": f"{into}/{kind}"}
        self._change(target, kind, partial(resolved, now=self._clock(), facts=why, quiet=True))

    def _open(
        self,
        subject: str,
        kind: Kind,
        severity: Severity,
        words: str,
        figures: Mapping[str, Any],
        done: Sequence[Action],
        current: Catalog,
    ) -> None:
        def change(incident: Incident | None) -> Incident | None:
            return observed(
                incident,
                subject=subject,
                kind=kind,
                severity=severity,
                summary=words,
                facts=figures,
                now=self._clock(),
                renotify=current.alerts.renotify,
                link=current.alerts.link,
                actions=done,
            )

        self._change(subject, kind, change)

    def _change(self, subject: str, kind: Kind, change: Callable[[Incident | None], Incident | None]) -> bool:
        return changed(self._store, subject, kind, change)


def told(health: Health) -> dict[Kind, list[Finding]]:
    """The findings that people are told, by the kind of their incident, the surest first: confirmed ones, and
    doubts of which two looks said nothing."""
    found: dict[Kind, list[Finding]] = {}
    for one in sorted(health.findings, key=lambda one: (one.state != "confirmed", one.since)):
        if one.state == "confirmed" or one.alarm.evidence.get("doubt"):
            found.setdefault(KIND[one.kind], []).append(one)
    return found


def unasked(health: Health, current: Catalog, now: float) -> list[Stream]:
    """The streams of findings that the target is no longer asked: they would stand for ever, since no value comes.

    Where no route may use the target at all they stay, for when one may again.
    """
    asked = asked_of(health.target, current, now) if health.findings else None
    if asked is None:
        return []
    told = current.targets[health.target].capabilities.logprobs
    streams = ((one.stream, one.kind) for one in health.findings if bought(one.stream) or one.stream == DRIFT)
    return [stream for stream in streams if stream[0] not in asked or (stream[1] == "logprob" and not told)]


def _why(was: Sequence[Finding], after: Health, current: Catalog, now: float) -> str:
    """Why findings are over, as far as they show it themselves."""
    confirmed = [one for one in was if one.state == "confirmed"]
    good = current.health.evaluations_to_resolve
    if len(unasked(replace(after, findings=tuple(was)), current, now)) == len(was):
        return "its questions are asked no more"
    if not confirmed:
        return "a further look did not confirm it"
    if all(one.alarm.evidence.get("good", 0) >= good - 1 for one in confirmed):
        return f"{good} good looks in a row"
    return "it no longer stands"


def _found_of(health: Health, findings: Sequence[Finding]) -> list[Found]:
    return [Found(health.target, one.stream, one.state == "confirmed", one.alarm) for one in findings]


def siblings_of(target: str, current: Catalog) -> list[str]:
    """The targets of the same provider, itself included."""
    provider = current.targets[target].provider.name
    return [name for name, one in current.targets.items() if one.provider.name == provider]


def _whom(names: Sequence[str], current: Catalog) -> dict[str, Any]:
    """Whom the trouble concerns."""
    targets = [current.targets[name] for name in names]
    routes = [
        route.name
        for route in current.routes.values()
        if not set(names).isdisjoint(candidate.target.name for candidate in route.candidates)
    ]
    known = {
        "provider": targets[0].provider.name,
        "model": ", ".join(dict.fromkeys(target.model for target in targets)),
        "routes": ", ".join(routes),
    }
    return known | ({"targets": ", ".join(names)} if len(names) > 1 else {})


def _held(before: Health, after: Health, now: float) -> list[Action]:
    """Who keeps the target from callers, or no longer does."""
    if after.hold is not None:
        return [(after.hold.since, f"{after.target} was {after.hold.state} by {after.hold.by}: {after.hold.cause}")]
    return [(now, f"{after.target} is given traffic again")] if before.hold is not None else []
