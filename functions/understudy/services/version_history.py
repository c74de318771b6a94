"""Which versions a target's provider has reported, and how each did: folded from observations, one item a target."""

from __future__ import annotations

from understudy.errors import Conflict, StoreError
from understudy.health.observation import Observation
from understudy.health.versions import History, history_from, news, seen
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.store_ports import Kept, VersionStore

PAUSE = 60.0
"""Seconds between two writes of one target's history; a new version is written at once."""
TRIES = 4
MOST = 500
"""Observations of one target that wait for their write."""


class VersionHistory:
    """One for each environment.  What it has not written when the environment goes is lost: a minute of counts."""

    def __init__(self, store: VersionStore, *, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._waiting: dict[str, list[Observation]] = {}
        self._known: dict[str, History] = {}
        self._written_at: dict[str, float] = {}

    def observe(self, one: Observation) -> None:
        """Take an observation in, to be written with others."""
        waiting = self._waiting.setdefault(one.target, [])
        if len(waiting) < MOST:
            waiting.append(one)

    def flush(self, until: float) -> None:
        """Write what is due, for as long as there is time; what fails costs counts and nothing else."""
        for target in [*self._waiting]:
            now = self._clock()
            if now >= until:
                return
            waiting = self._waiting[target]
            known = self._known.get(target)
            due = now - self._written_at.get(target, float("-inf")) >= PAUSE
            if not due and (known is None or not news(known, waiting)):
                continue
            del self._waiting[target]
            self._written_at[target] = now
            try:
                self._write(target, waiting)
            except StoreError as error:
                failed = [own_failure("StoreErrors")]
                self._logger.warning("versions were not kept", target=target, error=str(error), metrics=failed)
            except Exception:
                self._logger.exception("versions were not kept", target=target)

    def _write(self, target: str, observations: list[Observation]) -> None:
        for _ in range(TRIES):
            kept = self._store.version_history(target) or Kept({})
            before = history_from(kept.plain)
            after = seen(before, observations)
            self._known[target] = after
            if after == before:
                return
            try:
                self._store.put_version_history(target, Kept(after.plain(), kept.rev))
            except Conflict:
                continue
            return
        raise Conflict(f"the versions of {target} changed {TRIES} times while they were being updated")
