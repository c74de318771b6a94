"""Active health checks: targets that traffic has not proved lately, and ejected ones whose recovery is due.

The tick probes nothing: it sends one message for each target and round of its minute, and workers probe the targets of
a batch at the same time.  Recovery probes have a queue of their own, so that none waits behind a sweep.
A probe takes the serving code path: the same translation, transport, limits and failure table as a caller's request,
and the outcome is an observation like any other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from understudy.catalog import Catalog, Limits, Route, Target
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.unary import UnaryRequest
from understudy.errors import AttemptFailed, Conflict, NoTargetAnswered, UnderstudyError
from understudy.health.breaker import lease
from understudy.health.item import Health, settled
from understudy.health.latency import Histogram
from understudy.health.observation import Observation
from understudy.health.standing import Standing
from understudy.metrics import Measured
from understudy.ports import Clock, DueQueue, Logger
from understudy.routing.attempts import Ask, Attempts
from understudy.routing.journal import Journal
from understudy.routing.limits import first_token_limit
from understudy.routing.policy import Decision, Ranked
from understudy.services.current_catalog import CurrentCatalog
from understudy.services.outcomes import Writes, bench_until
from understudy.services.read_model import Reads
from understudy.services.sweep import Call, call_from, due, late, plan, usable

LEASE_TRIES = 5
EARLIEST = 1.5
"""Seconds that a recovery probe may come too early and then waits for its time."""
ROOM = 160.0
"""Seconds that the probes of one target may take together; the room itself has 180."""


@dataclass(slots=True)
class _Seen:
    """Collects the outcome of a probe.  Satisfies `routing.attempts.Outcomes`."""

    clock: Clock
    observation: Observation
    health: Health
    journals: list[Journal] = field(default_factory=list)

    def succeeded(self, target: Target, first_token: float, *, gap: float, seconds: float, probe: bool) -> None:  # noqa: ARG002
        now = self.clock()
        self.observation = self.observation.success(now, first_token, gap=gap, began=now - seconds)

    def failed(self, target: Target, failure: AttemptFailed, *, seconds: float, probe: bool) -> str:  # noqa: ARG002
        now = self.clock()
        self.observation = self.observation.failure(now, failure, bench_until(failure, now), began=now - seconds)
        return ""

    def standing(self, target: Target) -> Standing:  # noqa: ARG002
        return Standing()

    def alone(self, target: Target) -> bool:  # noqa: ARG002
        return True

    def first_tokens(self, target: Target) -> Histogram:  # noqa: ARG002
        return self.health.first_tokens

    def gaps(self, target: Target) -> Histogram:  # noqa: ARG002
        return self.health.gaps


class Store(Reads, Writes, Protocol):
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
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._store = store
        self._catalog = CurrentCatalog(store)
        self._ask = ask
        self._sweeps = sweeps
        self._clock = clock
        self._logger = logger
        self._rng = rng

    async def tick(self) -> int:
        """Ask for the probes of this minute; returns how many.  Raises StoreError, QueueError."""
        current = await asyncio.to_thread(self._catalog.read)
        if current is None:
            return 0
        messages = plan(current, await self._seen(list(current.targets)), self._clock())
        await asyncio.to_thread(self._sweeps.send, messages)
        return len(messages)

    async def handle(self, messages: Mapping[str, tuple[str, int]]) -> list[str]:
        """Do what queue messages ask for, all at the same time; returns the ids of those that are to come again.

        `messages` holds body and number of receipts by id.  Raises StoreError where nothing could be done at all.
        """
        calls, failed = self._read(messages)
        swept = [call.target for call in calls.values() if call.due is not None]
        current = await asyncio.to_thread(self._catalog.read) if swept else None
        known = await self._seen(swept) if swept else {}
        done = await asyncio.gather(*(self._done(call, current, known) for call in calls.values()))
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

    async def _done(self, call: Call, current: Catalog | None, known: Mapping[str, Health]) -> bool:
        try:
            if call.due is None:
                await self.recover(call.target)
            elif current is not None:
                await self._sweep(call, current, known.get(call.target))
        except Exception:
            # Its message comes again; the others are done.
            self._logger.exception("a probe failed", target=call.target)
            return False
        return True

    async def _sweep(self, call: Call, current: Catalog, health: Health | None) -> None:
        target, now = current.targets.get(call.target), self._clock()
        # Traffic may have proved it since the tick, and the document may have changed.
        if target is not None and due(health, current.health, now) and not late(call, current.health, now):
            await self._probe(target, health, current)

    async def _seen(self, names: list[str]) -> Mapping[str, Health]:
        """Health in one batch read, which may be a moment old."""
        return (await asyncio.to_thread(self._store.snapshot, names, [])).health

    async def recover(self, name: str) -> bool:
        """The recovery probe of one target; False where there was nothing to do."""
        current = await asyncio.to_thread(self._catalog.read)
        if current is None or name not in current.targets:
            return False
        known = await asyncio.to_thread(self._store.health, [name])
        health = known.get(name)
        if health is None or (health.state == "closed" and settled(health, current.health)):
            return False
        # Queues delay by whole seconds, so the message is sent a little early.
        early = health.breaker.until - self._clock() if health.state == "open" else 0.0
        if 0 < early <= EARLIEST:
            await self._sleep(early)
        await self._probe(current.targets[name], health, current)
        return True

    async def _probe(self, target: Target, health: Health | None, current: Catalog) -> None:
        if target.name not in usable(current):
            return
        recovering = health is not None and health.state != "closed"
        times = current.health.breaker.successes_to_close if recovering else 1
        limits = _limits(target, current, health or Health(target.name), times)
        if recovering:
            health = await self._leased(target.name, current, lasting=times * limits.request + 1)
            if health is None:
                return
        seen = await self._ask_times(target, health, current, limits, times)
        observation = seen.observation
        await asyncio.to_thread(self._store.add_observation, observation)
        self._logger.info(
            "probe",
            target=target.name,
            outcome="ok" if observation.ok else "failed",
            detail=observation.last_failure,
            first_token_ms=round(observation.first_token * 1000, 1),
            metrics=_measured(target, seen.journals),
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
    ) -> _Seen:
        """As many good probes as are wanted, one after another under one lease; the first that is not good ends it."""
        observation = Observation(target.name, self._clock(), source="probe")
        seen = _Seen(self._clock, observation, health or Health(target.name))
        for _ in range(times):
            good = seen.observation.ok
            await self._ask_once(target, current, limits, seen)
            if seen.observation.ok == good:
                break
        seen.observation = replace(seen.observation, at=self._clock())
        return seen

    async def _ask_once(self, target: Target, current: Catalog, limits: Limits, seen: _Seen) -> None:
        decision = Decision("probe", (Ranked(target, "probe", probe=True),))
        engine = Attempts(self._ask, seen, _granted, rng=self._rng)
        journal = Journal()
        seen.journals.append(journal)
        try:
            async for _ in engine.run(_request(target, current), decision, limits, journal, whole=True):
                pass
        except (AttemptFailed, NoTargetAnswered):
            pass
        except UnderstudyError as error:
            self._logger.warning("a probe could not be sent", target=target.name, error=str(error))
        kinds = seen.observation.by_kind.keys()
        if kinds and kinds <= {"caller", "context_length", "refusal"}:
            # The provider answered and did not like the question: it is alive.
            seen.observation = replace(seen.observation, ok=seen.observation.ok + 1, last_ok_at=self._clock())


def _measured(target: Target, journals: Iterable[Journal]) -> list[Measured]:
    """One sample for each probe that was sent, and its dollars where they are known."""
    asked = [attempt for journal in journals for attempt in journal.attempts]
    costs = [float(cost) for attempt in asked if (cost := attempt.cost) is not None]
    values: dict[str, list[float]] = {"ProbeFailures": [int(attempt.hurt) for attempt in asked]}
    return [Measured("target", target.name, values | ({"ProbeCost": costs} if costs else {}))] if asked else []


async def _granted(_: Target) -> bool:
    """The lease was taken before the probe began."""
    return True


def _routes(target: Target, current: Catalog) -> list[Route]:
    return [route for route in current.routes.values() if target.name in route.asked]


def _limits(target: Target, current: Catalog, health: Health, times: int) -> Limits:
    """Those of a route that may ask the target, but no longer than a short answer takes: a lease lasts as long."""
    routes = _routes(target, current)
    limits = routes[0].limits if routes else Limits()
    longest = first_token_limit(target, limits, health.first_tokens, len(current.health.probe_prompt)) + limits.stall
    request = min(limits.request, longest, ROOM / times)
    return replace(limits, retries_per_target=0, request=request, max_cost=None)


def _request(target: Target, current: Catalog) -> ChatRequest | UnaryRequest:
    """A short chat; an embedding of the same text where the target answers no chats."""
    prompt = current.health.probe_prompt
    if target.capabilities.embeddings and not target.capabilities.chat:
        return UnaryRequest("embeddings", target.model, {"model": target.model, "input": prompt})
    return chat_request(
        {
            "model": target.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": current.health.probe_max_tokens,
        }
    )
