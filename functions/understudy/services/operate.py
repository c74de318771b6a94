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
from understudy.incidents.incident import KINDS, acknowledged, resolved
from understudy.ports import ControlStore, DetectorStore, HealthStore, IncidentStore, Stream
from understudy.services.current_catalog import CurrentCatalog
from understudy.services.detection import accept as accept_stream
from understudy.services.trouble import changed, told

TRIES = 8
LONGEST = 300


class Store(ControlStore, HealthStore, DetectorStore, IncidentStore, Protocol):
    """The part of the store that an operator's commands need."""


class OperatorError(UnderstudyError):
    """The command cannot be carried out; says what to do."""


def hold(
    store: Store, target: str, state: Literal["drained", "quarantined"], *, by: str, because: str, now: float
) -> None:
    """Keep a target from callers until it is released; a hold that is there is replaced."""
    _current(store, target)
    cause = " ".join(because.split())[:LONGEST]
    if not cause:
        raise OperatorError("say why with --because: whoever is on call next will ask")
    _change(store, target, lambda health: replace(health, hold=Hold(state, now, by, cause)))


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
    if not over:
        of = f" of stream {stream!r}" if stream is not None else ""
        raise OperatorError(f"{target} has no finding{of} to accept; `understudy status` shows what was found")
    for one in over:
        accept_stream(store, kit or Kit(), target, (one.stream, one.kind), current, now)
    gone: dict[Stream, Finding | None] = {(one.stream, one.kind): None for one in over}
    # Before the findings are gone: whoever sees them go would end the incidents without the name.
    standing = told(with_findings(known, gone))
    end = partial(resolved, now=now, facts={"over": f"accepted by {by}"}, actions=[(now, f"accepted by {by}")])
    for kind in dict.fromkeys(KIND[one.kind] for one in over):
        if kind not in standing:
            changed(store, target, kind, end)

    def change(health: Health) -> Health:
        after = with_findings(health, gone)
        if any(one.kind == "quality" for one in over):
            after = replace(after, quality=relearned(after.quality))
        return quarantined(health, after, automatic=False, now=now)

    _change(store, target, change)
    return over


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
