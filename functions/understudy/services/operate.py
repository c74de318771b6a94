"""What an operator does by hand: hold a target back, let it go, accept a change, take an incident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

from understudy.catalog import Catalog
from understudy.detectors.watch import Kit
from understudy.errors import Conflict, UnderstudyError
from understudy.health.finding import Finding, Hold
from understudy.health.item import Health
from understudy.health.quality import relearned
from understudy.health.quarantine import quarantined, with_findings
from understudy.incidents.evidence import KIND
from understudy.incidents.incident import KINDS, OVER, PROVIDER, Incident, acknowledged, ending, resolved
from understudy.ports import ControlStore, DetectorStore, HealthStore, IncidentStore, Stream
from understudy.services.current_catalog import CurrentCatalog
from understudy.services.detection import accept as accept_stream
from understudy.services.incident_changes import changed
from understudy.services.trouble import siblings_of, told

TRIES = 8
LONGEST = 300
ORPHANS = tuple(kind for kind in KINDS if kind not in ("outage", "credential", "price", "budget"))
"""The kinds of incidents that stand on findings alone; a breaker, or the control document, sees to the others, and a
budget is no target's."""


class Store(ControlStore, HealthStore, DetectorStore, IncidentStore, Protocol):
    """The part of the store that an operator's commands need."""


class OperatorError(UnderstudyError):
    """The command cannot be carried out; says what to do."""


def hold(
    store: Store, target: str, state: Literal["drained", "quarantined"], *, by: str, because: str, now: float
) -> list[str]:
    """Keep a target from callers until it is released; a hold that is there is replaced.  Returns the routes that use
    the target all the same, since a quarantine does not count for them."""
    current = _current(store, target)
    cause = " ".join(because.split())[:LONGEST]
    if not cause:
        raise OperatorError("say why with --because: whoever is on call next will ask")
    _change(store, target, lambda health: replace(health, hold=Hold(state, now, by, cause)))
    using = (route for route in current.routes.values() if target in route.asked)
    return [route.name for route in using if state == "quarantined" and route.quarantine == "off"]


def release(store: Store, target: str) -> Hold:
    """Give a target its traffic back; returns the hold that was lifted."""
    _current(store, target)
    lifted: list[Hold] = []

    def change(health: Health) -> Health:
        lifted[:] = [health.hold] if health.hold else []
        return replace(health, hold=None)

    _change(store, target, change)
    if not lifted:
        raise OperatorError(f"{target} is not held back; `understudy status` shows who is")
    return lifted[0]


def accept(
    store: Store, target: str, stream: str | None, *, by: str, now: float, kit: Kit | None = None
) -> list[Finding]:
    """Take what a target is like now for normal: its findings (those of one stream only) are over, their detectors
    learn anew, their incidents end with the operator's name.  Returns those findings."""
    current = _current(store, target)
    known = store.health([target]).get(target) or Health(target)
    over = [one for one in known.findings if stream is None or one.stream == stream]
    ends = partial(resolved, now=now, facts={OVER: f"accepted by {by}"}, actions=[(now, f"accepted by {by}")])
    if not over:
        if stream is None and _ended_orphans(store, known, current, ends):
            return []
        of = f" of stream {stream!r}" if stream is not None else ""
        raise OperatorError(f"{target} has no finding{of} to accept; `understudy status` shows what was found")
    for one in over:
        accept_stream(store, kit or Kit(), target, (one.stream, one.kind), current, now)
    gone: dict[Stream, Finding | None] = {(one.stream, one.kind): None for one in over}
    standing = told(with_findings(known, gone))
    kinds = [kind for kind in dict.fromkeys(KIND[one.kind] for one in over) if kind not in standing]
    # Named before the findings are gone, since whoever sees them go ends the incidents; ended after it, since whoever
    # sees them stand would open them again.
    for kind in kinds:
        changed(store, target, kind, partial(ending, now=now, why=f"accepted by {by}"))

    def change(health: Health) -> Health:
        after = with_findings(health, gone)
        if any(one.kind == "quality" for one in over):
            after = replace(after, quality=relearned(after.quality))
        return quarantined(health, after, automatic=False, now=now)

    _change(store, target, change)
    for kind in kinds:
        changed(store, target, kind, ends)
    return over


def _ended_orphans(
    store: Store, health: Health, current: Catalog, ends: Callable[[Incident | None], Incident | None]
) -> bool:
    """End incidents of a target without findings, and those of its provider where no other target has findings of that
    kind: the record by which they would have ended was lost.  False where there are none."""
    siblings = siblings_of(health.target, current)
    every = [told(one) for one in store.health(siblings).values()]
    ended = False
    for kind in ORPHANS:
        if kind not in told(health):
            ended |= changed(store, health.target, kind, ends)
        if not any(kind in found for found in every):
            ended |= changed(store, PROVIDER + current.targets[health.target].provider.name, kind, ends)
    return ended


def acknowledge(store: Store, subject: str, kind: str, *, by: str, now: float) -> None:
    """Say that somebody takes care of an open incident: it is not told again before its end."""
    known = next((one for one in KINDS if one == kind), None)
    if known is None:
        raise OperatorError(f"there is no incident of kind {kind!r}; kinds are {', '.join(KINDS)}")
    if not changed(store, subject, known, partial(acknowledged, now=now, by=by)):
        incident = store.incident(subject, kind)
        if incident is not None and incident.status == "open":
            raise OperatorError(f"{incident.acknowledged_by} has taken {subject} {kind} already")
        raise OperatorError(f"there is no open incident {subject} {kind}; `understudy status` shows them")


def _current(store: Store, target: str) -> Catalog:
    current = CurrentCatalog(store).read()
    if current is None:
        raise OperatorError("no control document is in force; publish one with `understudy publish FILE`")
    if target not in current.targets:
        raise OperatorError(f"there is no target {target!r}; `understudy status` shows all of them")
    return current


def _change(store: Store, target: str, change: Callable[[Health], Health]) -> None:
    for _ in range(TRIES):
        before = store.health([target]).get(target) or Health(target)
        after = change(before)
        if after == before:
            return
        try:
            store.put_health(after)
        except Conflict:
            continue
        return
    raise Conflict(f"the health of {target} changed {TRIES} times while it was being updated; try again")
