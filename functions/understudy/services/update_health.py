"""Observations become health; transitions of health become incidents and recovery probes.

Driven by the table stream, at least once and possibly late: every write is conditional, and seeing a record twice
changes nothing that matters (a health item is only written by the revision that was read).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from understudy.catalog import Catalog, ScoreSettings
from understudy.detectors.watch import Kit
from understudy.errors import Conflict, StoreError
from understudy.health.item import Health, fold, settled
from understudy.health.observation import Observation
from understudy.health.quality import judged, relearned
from understudy.health.quarantine import quarantined, with_findings
from understudy.health.score import scored
from understudy.incidents.evidence import KIND
from understudy.metrics import Measured, own_failure
from understudy.ports import (
    Clock,
    ConfirmQueue,
    ControlStore,
    DetectorStore,
    HealthStore,
    IncidentStore,
    KeyStore,
    LedgerStore,
    Logger,
    ProbeQueue,
    SnapshotStore,
    StatusPageStore,
    Stream,
)
from understudy.services.budget_alerts import end_those_over
from understudy.services.current_catalog import CurrentCatalog
from understudy.services.detection import Detection, Find, Learned
from understudy.services.spend_watch import SpendWatch
from understudy.services.trouble import Troubles, told, unasked

TRIES = 8
"""Times a conditional write is tried again after losing to another writer."""
NEXT_PROBE = 1.0
"""Seconds between the probes that prove a recovery."""
LEARNING = 20.0
"""Seconds from the beginning of a batch after which no further target's values are taken in; the room has 30 in all."""
LONGEST = 500
"""Characters of a list of names in the log."""
TIDY = 60.0
"""Seconds between two looks at incidents that end with their day or month."""
MEASURE = 50.0
"""Seconds between two measures of a target that does not change: about one for each minute that CloudWatch keeps."""


class Store(
    ControlStore,
    HealthStore,
    DetectorStore,
    SnapshotStore,
    IncidentStore,
    StatusPageStore,
    KeyStore,
    LedgerStore,
    Protocol,
):
    """The part of the store that health needs."""


class UpdateHealth:
    """`confirms` is where runs that confirm an alarm are bought, None where they cannot be; `kit` makes detectors and
    `find` golden sets."""

    def __init__(
        self,
        store: Store,
        probes: ProbeQueue,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
        confirms: ConfirmQueue | None = None,
        kit: Kit | None = None,
        find: Find = lambda _catalog, _name: None,
    ) -> None:
        self._store = store
        self._catalog = CurrentCatalog(store)
        self._probes = probes
        self._confirms = confirms
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._detection = Detection(store, clock=clock, logger=logger, kit=kit, find=find)
        self._troubles = Troubles(store, clock=clock)
        self._spend = SpendWatch(store, clock=clock)
        self._measured_at: dict[str, float] = {}
        self._waiting: dict[str, list[Observation]] = {}
        self._tidied_at = float("-inf")

    def observe(self, seen: Observation) -> None:
        """Fold one observation into its target's health; `learn` tells its values to their detectors."""
        current = self._catalog.read()
        if current is None or seen.target not in current.targets:
            return
        # The breakers of all come first: callers wait for them, and nobody waits for a detector.
        self._change(seen.target, lambda health: fold(health, seen, current.health, self._rng))
        if seen.samples:
            self._waiting.setdefault(seen.target, []).append(seen)

    def learn(self, began: float | None = None) -> None:
        """Tell the values of all that was observed since to their detectors, a target at a time, for so long as a batch
        that `began` then may take.

        What fails, or finds no time, costs values and nothing else: delivered again, failures would count twice.
        """
        current, waiting, self._waiting = self._catalog.read(), self._waiting, {}
        until = (self._clock() if began is None else began) + LEARNING
        failed = [own_failure("StoreErrors")]
        if current is not None:
            self._look(current)
        while waiting and current is not None and self._clock() < until:
            target = next(iter(waiting))
            seen = waiting.pop(target)
            if target not in current.targets:
                continue
            try:
                self._learn(target, seen, current)
            except StoreError as error:
                self._logger.warning("values were not taken in", target=target, error=str(error), metrics=failed)
            except Exception:
                self._logger.exception("values were not taken in", target=target)
        if waiting and current is not None:
            count, names = sum(map(len, waiting.values())), ", ".join(sorted(waiting))[:LONGEST]
            self._logger.warning("values were left out, for time was up", observations=count, targets=names)

    def tidy(self) -> None:
        """End the incidents of budgets whose day or month is over; looked at once a minute."""
        now = self._clock()
        if now - self._tidied_at < TIDY:
            return
        self._tidied_at = now
        try:
            end_those_over(self._store, now)
        except StoreError as error:
            failed = [own_failure("StoreErrors")]
            self._logger.warning("incidents of budgets could not be ended", error=str(error), metrics=failed)

    def _look(self, current: Catalog) -> None:
        """Look at what is spent; what fails here is looked at again."""
        try:
            self._spend.look(current)
        except StoreError as error:
            metrics = [own_failure("StoreErrors")]
            self._logger.warning("spending was not looked at", error=str(error), metrics=metrics)
        except Exception:
            self._logger.exception("spending was not looked at")

    def _learn(self, target: str, seen: Sequence[Observation], current: Catalog) -> None:
        health = self._health(target)
        learned = self._detection.observe(seen, current, health)
        self._buy(target, learned.asks)
        if learned.no_loss is not None:
            # Before the findings are gone: whoever sees them go would end the incidents without the figures.
            standing = told(with_findings(health, learned.findings))
            for kind in dict.fromkeys(KIND[one] for one in learned.accepted):
                if kind not in standing:
                    words = "accepted, since the comparison of versions showed no loss"
                    self._troubles.end(target, kind, learned.no_loss, words)
        self._change(target, lambda health: self._taught(health, learned, current))

    def _change(self, target: str, change: Callable[[Health], Health]) -> None:
        """Write the health as it is after a change, where it is one."""
        for _ in range(TRIES):
            before = self._health(target)
            after = change(before)
            if after == before:
                return
            try:
                self._store.put_health(after)
            except Conflict:
                continue
            return
        raise Conflict(f"the health of {target} changed {TRIES} times while it was being updated")

    def react(self, before: Health | None, after: Health) -> None:
        """Act on a change of a health item, whoever wrote it."""
        current = self._catalog.read()
        if current is None or after.target not in current.targets:
            return
        self._tell(before or Health(after.target), after, current.health.score)
        self._troubles.react(before or Health(after.target), after, current)
        if gone := unasked(after, current, self._clock()):
            self._change(after.target, lambda health: self._without(health, gone))
        self._next_probe(before, after, current)

    def _health(self, target: str) -> Health:
        return self._store.health([target]).get(target) or Health(target)

    def _taught(self, before: Health, learned: Learned, current: Catalog) -> Health:
        """The health with what detectors found and how good answers were, and the hold that follows."""
        after = before
        if learned.judged:
            after = replace(after, quality=judged(after.quality, learned.judged))
        if learned.no_loss is not None:
            after = replace(after, quality=relearned(after.quality))
        if not learned.findings:
            return after
        after = with_findings(after, learned.findings)
        automatic = any(
            route.quarantine == "automatic" for route in current.routes.values() if after.target in route.asked
        )
        return quarantined(before, after, automatic=automatic, now=self._clock())

    def _without(self, before: Health, gone: Iterable[Stream]) -> Health:
        """The health without findings to which nothing can be added any more, and without a hold that followed."""
        after = with_findings(before, dict.fromkeys(gone))
        return quarantined(before, after, automatic=False, now=self._clock())

    def _buy(self, target: str, streams: Sequence[str]) -> None:
        """Ask for the runs that confirm an alarm; without one, the stream's next values are the second look."""
        confirms = self._confirms
        if confirms is None:
            return
        for stream in streams:
            try:
                confirms.send(target, stream)
            except Exception:
                self._logger.exception("a run that confirms an alarm could not be asked for", target=target, set=stream)
            else:
                self._logger.info("a run to confirm an alarm was asked for", target=target, set=stream)

    def _tell(self, before: Health, after: Health, scoring: ScoreSettings) -> None:
        """Log a transition; measure the target with it, and otherwise as often as is of use."""
        was, now, target, at = before.breaker, after.breaker, after.target, self._clock()
        moved = (was.state, was.opens) != (now.state, now.opens)
        if not moved and at - self._measured_at.get(target, 0.0) < MEASURE:
            return
        self._measured_at[target] = at
        values = {"Score": scored(after, scoring, at).value}
        if now.state != "closed" or moved:
            # A breaker that stays closed is the rule, and a metric that says nothing costs what one costs that does.
            values["BreakerOpen"] = int(now.state != "closed")
        metrics = [Measured("target", target, values)]
        if moved:
            told = {"before": was.state, "after": now.state, "reason": now.reason, "until": now.until}
            self._logger.info("transition", target=target, **told, metrics=metrics)
        else:
            self._logger.info("health", target=target, metrics=metrics)

    def _next_probe(self, before: Health | None, after: Health, current: Catalog) -> None:
        """Order the next recovery probe: one for each opening, then one after each good probe until all is over."""
        was = before or Health(after.target)
        if after.state == "open":
            if (was.state, was.breaker.opens) != ("open", after.breaker.opens):
                self._probes.send(after.target, after.breaker.until - self._clock())
        elif after.evaluations > was.evaluations and not settled(after, current.health) and after.breaker.opens:
            self._probes.send(after.target, NEXT_PROBE)
