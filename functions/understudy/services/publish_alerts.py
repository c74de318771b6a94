"""Incidents become notices: each told exactly once, to every sink, or tried again."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.incidents.incident import Incident, Notice
from understudy.incidents.wording import notice
from understudy.metrics import own_failure
from understudy.ports import AlertSink, Clock, Logger
from understudy.store_ports import NoticeStore

LEASE = 60.0
"""Seconds after which a claim whose owner has vanished may be taken over."""


class PublishAlerts:
    """The claim comes before the telling, so that a record seen twice is told once; a failed telling gives it back."""

    def __init__(
        self,
        store: NoticeStore,
        sinks: Sequence[tuple[str, AlertSink]],
        *,
        clock: Clock,
        logger: Logger,
    ) -> None:
        self._store = store
        self._sinks = sinks
        self._clock = clock
        self._logger = logger

    def publish(self, before: Incident | None, after: Incident) -> bool:
        """Tell the incident where it has something new to tell; returns whether it was told now."""
        if before is not None and before.id == after.id and before.notices == after.notices:
            return False
        told = notice(after)
        done = [self._tell(name, sink, f"{told.id}/{name}", told) for name, sink in self._sinks]
        return any(done)

    def _tell(self, name: str, sink: AlertSink, claim: str, told: Notice) -> bool:
        if not self._store.claim(claim, self._clock(), LEASE):
            return False
        try:
            sink.send(told)
        except Exception:
            failed = [own_failure("AlertErrors")]
            self._logger.exception("an alert could not be published", notice=told.id, sink=name, metrics=failed)
            self._store.release(claim)
            raise
        self._store.settle(claim, self._clock())
        self._logger.info("alert published", notice=told.id, sink=name, subject=told.subject)
        return True
