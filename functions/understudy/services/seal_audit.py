"""The daily seal of the audit: the heads of a day's segments, fixed soon after the day as a link of a chain of days."""

from __future__ import annotations

from understudy.audit.seal import Seal, due, sealed
from understudy.errors import Conflict
from understudy.ports import Clock, Logger
from understudy.store_ports import AuditStore

WAIT = 900.0
"""Seconds after midnight (UTC) at which the day before is sealed: what was under way has noted its head by then."""
LOOK = 600.0
"""Seconds between two looks whether a day is to be sealed."""
MOST = 31
"""Days that are sealed in one go, where the schedule stood still."""


class SealAudit:
    def __init__(self, store: AuditStore, *, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._looked_at = float("-inf")

    def tick(self) -> list[Seal]:
        """Seal what is due, where it was not looked at just now.  Raises StoreError."""
        now = self._clock()
        if now - self._looked_at < LOOK:
            return []
        made = self.seal()
        self._looked_at = now
        return made

    def seal(self) -> list[Seal]:
        """Seal every day that is due, in order; those that somebody else seals at the same time are his.  Each is a
        log line too, so that its hash is known outside of the table.  Raises StoreError."""
        last, made = self._store.last_seal(), list[Seal]()
        prev = str(last.plain["hash"]) if last else ""
        for day in due(last.day if last else None, self._clock(), wait=WAIT, most=MOST):
            seal = sealed(day, self._store.heads(day), self._store.last_change(), prev)
            try:
                self._store.add_seal(seal)
            except Conflict:
                break
            self._logger.info("audit seal", **seal.plain())
            made.append(seal)
            prev = seal.hash
        return made
