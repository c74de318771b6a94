"""Active health checks: targets that traffic has not proved lately, and ejected ones whose recovery is due; and runs,
by which quality and drift are watched (probe_runs).

The tick probes nothing: it sends one message for each target and round of its minute, and workers probe the targets of
a batch at the same time.  Recovery probes have a queue of their own, so that none waits behind a sweep.
A probe takes the serving code path, and the outcome is an observation like any other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from understudy.catalog import Catalog, Limits, Target
from understudy.detectors.sample import Sample
from understudy.errors import Conflict
from understudy.facts import NO_CONSTRAINTS
from understudy.health.breaker import lease
from understudy.health.item import Health, settled
from understudy.ports import Clock, DueQueue, Logger, PageReader, Probing, ProbingStore, StatusPageStore
from understudy.routing.attempts import Ask
from understudy.routing.limits import first_token_limit
from understudy.services.current_catalog import CurrentCatalog
from understudy.services.metering import Metering
from understudy.services.outcomes import Writes
from understudy.services.probe_call import Caller, Seen, liveness, measured, probe_limits, seen_of
from understudy.services.probe_runs import ProbeRuns
from understudy.services.probe_samples import of_liveness
from understudy.services.read_model import Reads
from understudy.services.spend import counted, estimated, reserved, too_dear
from understudy.services.status_pages import StatusPages
from understudy.services.sweep import Call, allowing, call_from, due, late, plan

LEASE_TRIES = 5
EARLIEST = 1.5
"""Seconds that a recovery probe may come too early and then waits for its time."""
SETTLE = 2.0
"""Seconds that a batch of messages waits for its charges to be written."""
ROOM = 160.0
"""Seconds that the probes of one target may take together; the room itself has 180."""


class Store(Reads, Writes, ProbingStore, StatusPageStore, Protocol):
    """The part of the store that probing needs."""


class ProbeTargets:
    def __init__(
        self,
        store: Store,
        ask: Ask,
        sweeps: DueQueue,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
        salt: str = "",
        metering: Metering | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        pages: PageReader | None = None,
    ) -> None:
        """`salt`: what tells this stack from others, so that they do not all ask at the same moments; `pages`: what
        reads status pages, None where nobody does."""
        self._salt = salt
        self._sleep = sleep
        self._store = store
        self._catalog = CurrentCatalog(store)
        self._caller = Caller(ask, clock=clock, logger=logger, rng=rng)
        self._metering = metering
        self._runs = ProbeRuns(store, self._caller, clock=clock, logger=logger, metering=metering)
        self._pages = StatusPages(store, pages, clock=clock, logger=logger)
        self._sweeps = sweeps
        self._clock = clock
        self._logger = logger

    async def tick(self) -> int:
        """Ask for the probes of this minute; returns how many.  Raises StoreError, QueueError."""
        current = await asyncio.to_thread(self._catalog.read)
        if current is None:
            return 0
        known = (await asyncio.to_thread(self._store.snapshot, list(current.targets), [])).health
        messages = plan(current, known, self._clock(), self._salt)
        await asyncio.to_thread(self._sweeps.send, messages)
        # After that, so that no probe waits for a page.
        await self._pages.look(known, current)
        return len(messages)

    async def handle(self, messages: Mapping[str, tuple[str, int]]) -> list[str]:
        """Do what queue messages ask for, all at the same time; returns the ids of those that are to come again.

        `messages` holds body and number of receipts by id.  Raises StoreError where nothing could be done at all.
        """
        calls, failed = self._read(messages)
        swept = {call.target for call in calls.values() if not call.recovery}
        current = await asyncio.to_thread(self._catalog.read) if swept else None
        if current is not None and current.health.quality.judge:
            swept |= {current.health.quality.judge}
        known = dict(await asyncio.to_thread(self._store.probing, sorted(swept), self._clock())) if swept else {}
        async with self._pages.looking({name: one.health for name, one in known.items()}, current):
            done = await asyncio.gather(*(self._done(call, current, known) for call in calls.values()))
        if self._metering is not None:
            # Nobody waits for an answer here.
            await self._metering.settle(SETTLE)
        return failed + [ident for ident, well in zip(calls, done, strict=True) if not well]

    def _read(self, messages: Mapping[str, tuple[str, int]]) -> tuple[dict[str, Call], list[str]]:
        """The messages that can be read, and the ids of the others."""
        calls, failed = {}, []
        for ident, (body, receives) in messages.items():
            try:
                calls[ident] = call_from(body, receives)
            except Exception:
                self._logger.exception("a message could not be read", body=body[:200])
                failed.append(ident)
        return calls, failed

    async def _done(self, call: Call, current: Catalog | None, known: dict[str, Probing]) -> bool:
        try:
            if call.recovery:
                await self.recover(call.target)
            elif current is not None and call.ask != "liveness":
                await self._runs.run(call, current, known)
            elif current is not None:
                await self._sweep(call, current, known)
        except Exception:
            # Its message comes again; the others are done.
            self._logger.exception("a probe failed", target=call.target)
            return False
        return True

    async def _sweep(self, call: Call, current: Catalog, known: dict[str, Probing]) -> None:
        target, now = current.targets.get(call.target), self._clock()
        # Traffic may have proved it since the tick, and the document may have changed.
        if (
            target is not None
            and due(known[target.name].health, current.health, now)
            and not late(call, current.health, now)
        ):
            await self._probe(target, known, current)

    async def recover(self, name: str) -> bool:
        """The recovery probe of one target; False where there was nothing to do."""
        current = await asyncio.to_thread(self._catalog.read)
        if current is None or name not in current.targets:
            return False
        known = await asyncio.to_thread(self._store.health, [name])
        health = known.get(name)
        if health is None or (health.state == "closed" and settled(health, current.health)):
            return False
        async with self._pages.looking(known, current):
            await self._recover(health, current)
        return True

    async def _recover(self, health: Health, current: Catalog) -> None:
        name = health.target
        # Queues delay by whole seconds, so the message is sent a little early.
        early = health.breaker.until - self._clock() if health.state == "open" else 0.0
        if 0 < early <= EARLIEST:
            await self._sleep(early)
        spent = (await asyncio.to_thread(self._store.probing, [name], self._clock()))[name]
        await self._probe(current.targets[name], {name: replace(spent, health=health)}, current)

    async def _probe(self, target: Target, known: dict[str, Probing], current: Catalog) -> None:
        if target.name not in allowing(current, self._clock()):
            return
        mine = known[target.name]
        health = mine.health
        recovering = health is not None and health.state != "closed"
        times = current.health.breaker.successes_to_close if recovering else 1
        price = times * estimated([liveness(target, current)], target)
        why = too_dear("liveness", price, mine, current.health)
        if why is not None:
            self._logger.warning("a probe was left out for its cost", target=target.name, ask="liveness", why=why)
            return
        known[target.name] = reserved(mine, price)
        limits = _limits(target, current, health or Health(target.name), times)
        if recovering:
            health = await self._leased(target.name, current, lasting=times * limits.request + 1)
            if health is None:
                return
        seen = await self._ask_times(target, health, current, limits, times)
        await self._tell(target, seen)

    async def _tell(self, target: Target, seen: Seen) -> None:
        observation = seen.observation
        paid: Decimal = counted(seen.attempts)
        if self._metering is not None:
            self._metering.own("probe", seen.attempts)
        if paid:
            # First of all: what was paid counts, told or not.
            await asyncio.to_thread(self._store.spend, target.name, {"liveness": paid}, self._clock())
        await asyncio.to_thread(self._store.add_observation, observation)
        self._logger.info(
            "probe",
            target=target.name,
            outcome="ok" if observation.ok else "failed",
            detail=observation.last_failure,
            first_token_ms=round(observation.first_token * 1000, 1),
            cost_usd=str(paid),
            metrics=measured(target, seen.attempts),
        )

    async def _leased(self, name: str, current: Catalog, *, lasting: float) -> Health | None:
        """The health with the one probe lease taken, or None where somebody else has it or it is not due."""
        for _ in range(LEASE_TRIES):
            health = (await asyncio.to_thread(self._store.health, [name])).get(name)
            settings, now = current.health.breaker, self._clock()
            leased = lease(health.breaker, now, settings, lasting=lasting) if health else None
            if health is None or leased is None:
                return None
            try:
                return await asyncio.to_thread(self._store.put_health, replace(health, breaker=leased))
            except Conflict:
                # Observations of calls that fail late are folded all the time; that says nothing about the lease.
                continue
        return None

    async def _ask_times(
        self, target: Target, health: Health | None, current: Catalog, limits: Limits, times: int
    ) -> Seen:
        """As many good probes as are wanted, one after another under one lease; the first that is not good ends it."""
        seen, samples = seen_of(target.name, health, self._clock), list[Sample]()
        for _ in range(times):
            good = seen.observation.ok
            asked = await self._caller.ask(liveness(target, current), target, limits, seen, NO_CONSTRAINTS)
            if asked.attempt is not None:
                samples += of_liveness(asked.attempt, asked.at)
            if seen.observation.ok == good:
                break
        seen.observation = replace(seen.observation, at=self._clock(), samples=tuple(samples))
        return seen


def _limits(target: Target, current: Catalog, health: Health, times: int) -> Limits:
    """Those of a route that may ask the target, but no longer than a short answer takes: a lease lasts as long."""
    limits = probe_limits(target, current)
    longest = first_token_limit(target, limits, health.first_tokens, len(current.health.probe_prompt)) + limits.stall
    return replace(limits, request=min(limits.request, longest, ROOM / times))
