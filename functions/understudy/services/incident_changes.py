"""How an incident is written: on condition that nobody wrote since, whoever sees the same trouble at once."""

from __future__ import annotations

from collections.abc import Callable

from understudy.errors import Conflict
from understudy.incidents.incident import Incident, Kind
from understudy.ports import IncidentStore

TRIES = 8
"""Times a conditional write is tried again after losing to another writer."""


def changed(
    store: IncidentStore, subject: str, kind: Kind, change: Callable[[Incident | None], Incident | None]
) -> bool:
    """Write what becomes of an incident; False where nothing is to be written.  Raises Conflict, StoreError."""
    for _ in range(TRIES):
        after = change(store.incident(subject, kind))
        if after is None:
            return False
        try:
            store.put_incident(after)
        except Conflict:
            continue
        return True
    raise Conflict(f"the incident {subject}/{kind} changed {TRIES} times while it was being updated")
