"""How calls went: counted in the environment, told to the fleet; and how targets do, as far as is known here.

Good calls are added up and flushed now and then; a failure is flushed at once (at most three times a second for one
target).  When this environment's own breaker opens, it stops calling the target there and then and tells the others by
one conditional write; update_health hears of it through the table stream.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from understudy.catalog import HealthSettings, Target
from understudy.detectors.sample import Sample
from understudy.errors import AttemptFailed, Conflict, StoreError
from understudy.health.breaker import Breaker, lease, step
from understudy.health.item import Health
from understudy.health.latency import KNOWN, Histogram, faded, merged, one, weight
from understudy.health.observation import MOST_SAMPLES, Observation, thinned
from understudy.health.standing import Standing, standing
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.store_ports import HealthStore, ObservationStore

FAILURE_FLUSH = 0.3
"""Seconds between two writes of one target's failures."""
WRITE_TRIES = 3
DOUBT = 2.0
"""Seconds after a failure or a recovery in which more news are to be expected."""
LEASE_PAUSE = 1.0
"""Seconds until an environment that did not get the lease asks for it again."""
LEASE_PATIENCE = 0.02
"""Seconds a request waits for the fleet's lease; a store that is slower is treated like a dead one."""

T = TypeVar("T")


class Writes(HealthStore, ObservationStore, Protocol):
    """The part of the store that is written here."""


class LocalOutcomes:
    """One for each execution environment; used from one event loop.  Satisfies `routing.attempts.Outcomes`."""

    def __init__(self, store: Writes, clock: Clock, logger: Logger, rng: random.Random) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._threads = ThreadPoolExecutor(4, "understudy-outcomes")
        self._settings = HealthSettings()
        self._breakers: dict[str, Breaker] = {}
        self._fleet: Mapping[str, Health] = {}
        self._first_tokens: dict[str, Histogram] = {}
        self._gaps: dict[str, Histogram] = {}
        self._failed_at = float("-inf")
        self._benched: dict[str, float] = {}
        self._tallies: dict[str, Observation] = {}
        self._values: dict[str, list[Sample]] = {}
        self._copies: dict[str, Observation] = {}
        self._copied_at: dict[str, float] = {}
        self._flushed_at: dict[str, float] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._leases: dict[str, asyncio.Task[float]] = {}
        self._writing: set[str] = set()
        self._trusted = True
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def adopt(self, settings: HealthSettings, fleet: Mapping[str, Health], *, trusted: bool = True) -> None:
        """Take over what the fleet knows and this environment does not know better.

        `trusted`: the table answers in time; where it does not, nobody waits for it.
        """
        self._settings = settings
        self._trusted = trusted
        self._fleet = fleet
        for name, health in fleet.items():
            mine = self._breakers.get(name)
            if mine is None or health.breaker.changed_at > mine.changed_at:
                self._breakers[name] = health.breaker
            self._benched[name] = max(self._benched.get(name, 0.0), health.benched_until)

    def standing(self, target: Target) -> Standing:
        """Whether the target may be given traffic now."""
        breaker = self._breakers.get(target.name, Breaker())
        return standing(breaker, self._benched.get(target.name, 0.0), self._clock(), self._settings.breaker)

    def alone(self, target: Target) -> bool:
        """Whether the failure told last stands alone: the call before it was good."""
        breaker = self._breakers.get(target.name, Breaker())
        return breaker.state == "closed" and breaker.consecutive <= 1

    def first_tokens(self, target: Target) -> Histogram:
        """How long the target's recent first tokens took."""
        fleet = self._fleet.get(target.name)
        return _known(self._first_tokens.get(target.name, ()), fleet.first_tokens if fleet else ())

    def gaps(self, target: Target) -> Histogram:
        """The longest silence inside each of its recent answers."""
        fleet = self._fleet.get(target.name)
        return _known(self._gaps.get(target.name, ()), fleet.gaps if fleet else ())

    @property
    def in_doubt(self) -> bool:
        """Whether news of a failure or a recovery are due, so that the fleet is worth asking more often."""
        now = self._clock()
        return now - self._failed_at < DOUBT or any(
            now - breaker.changed_at < DOUBT or (breaker.state != "closed" and now >= breaker.until)
            for breaker in self._breakers.values()
        )

    def succeeded(self, target: Target, first_token: float, *, gap: float, seconds: float, probe: bool) -> None:
        """A good answer with its longest silence between tokens; the call began `seconds` ago."""
        now, name = self._clock(), target.name
        self._first_tokens[name] = faded(merged(self._first_tokens.get(name, ()), one(first_token)))
        if gap:
            self._gaps[name] = faded(merged(self._gaps.get(name, ()), one(gap)))
        self.measured(name, (Sample("errors", 0.0, round(now, 3)),))
        self._add(target, Observation(name, now).success(now, first_token, gap=gap, began=now - seconds), probe)

    def failed(self, target: Target, failure: AttemptFailed, *, seconds: float, probe: bool) -> str:
        """Returns what the failure did to the target, in words; empty where nothing."""
        now = self._clock()
        bench = bench_until(failure, now)
        self._failed_at = now
        self._benched[target.name] = max(self._benched.get(target.name, 0.0), bench)
        before = self._breakers.get(target.name, Breaker())
        if failure.hurts_health:
            self.measured(target.name, (Sample("errors", 1.0, round(now, 3)),))
        self._add(target, Observation(target.name, now).failure(now, failure, bench, began=now - seconds), probe)
        after = self._breakers[target.name]
        if after.state == "open" and after.opens != before.opens:
            return f"its breaker opened for {after.until - now:.1f} s: {after.reason}"
        return f"benched for {bench - now:.1f} s, as it asked" if bench else ""

    def measured(self, name: str, samples: tuple[Sample, ...]) -> None:
        """Values of a target's answers; they go with what is counted of it next."""
        kept = self._values.setdefault(name, [])
        kept += samples
        if len(kept) > MOST_SAMPLES:
            kept[:] = thinned(kept)

    async def lease(self, target: Target) -> bool:
        """Take the fleet-wide lease for one live probe; False where somebody else has it."""
        name, now = target.name, self._clock()
        mine = lease(self._breakers.get(name, Breaker()), now, self._settings.breaker, live=True)
        if mine is None:
            return False
        # Taken here first, so that no other request of this environment asks for it meanwhile.
        self._breakers[name] = mine
        if not self._trusted:
            return True
        asked = self._leases.get(name)
        if asked is None or (asked.done() and asked.result() <= now):
            asked = self._leases[name] = asyncio.get_running_loop().create_task(self._fleet_lease(name, now))
        await asyncio.wait({asked}, timeout=LEASE_PATIENCE)
        taken = asked.done() and asked.result() > now
        if asked.done():
            # Late is not down: a lease that comes after its request went elsewhere is for the next one.
            self._leases.pop(name, None)
        if not taken:
            self._breakers[name] = replace(self._breakers[name], lease_until=now + LEASE_PAUSE)
        return taken

    async def _fleet_lease(self, name: str, now: float) -> float:
        """The end of the fleet-wide lease, or 0 where somebody else has it."""
        try:
            health = (await self._in_thread(self._store.health, [name])).get(name)
            leased = lease(health.breaker, now, self._settings.breaker, live=True) if health else None
            if health is None or leased is None:
                return 0.0
            await self._in_thread(self._store.put_health, replace(health, breaker=leased))
            return leased.lease_until
        except Conflict:
            return 0.0
        except StoreError as error:
            # Nobody can be asked: the lease holds for this environment alone, so that recovery does not depend on
            # the store.
            self._store_failed("the fleet's lease cannot be asked for", name, error)
            return now + self._settings.breaker.lease

    async def settle(self, patience: float) -> None:
        """Wait for writes under way, but not long, and not while the store is slow: the caller waits too."""
        if self._writes and self._trusted:
            await asyncio.wait(self._writes, timeout=patience)

    def copied(self, seen: Observation) -> None:
        """What a copy has shown: it changes nothing here, so that even failures wait for the next flush."""
        before = self._copies.get(seen.target)
        self._copies[seen.target] = before.merged(seen) if before else seen
        self.flush_due()

    def flush_due(self) -> None:
        """Start the writes whose time has come, and see to it that failures are not left waiting."""
        now = self._clock()
        for name, tally in list(self._tallies.items()):
            wait = FAILURE_FLUSH if tally.by_kind else self._settings.flush
            left = self._flushed_at.setdefault(name, 0.0 if tally.by_kind else now) + wait - now
            if name in self._writing:
                # One write at a time: what a slow store has not taken yet stays one observation.
                continue
            if left <= 0:
                self._flush(name)
            elif tally.by_kind and name not in self._timers:
                self._timers[name] = asyncio.get_running_loop().call_later(left, self._flush, name)
        for name in [name for name in self._copies if now - self._copied_at.get(name, 0.0) >= self._settings.flush]:
            self._copied_at[name] = now
            self._start(self._write(self._copies.pop(name)))

    def _add(self, target: Target, seen: Observation, probe: bool) -> None:
        name = target.name
        if probe:
            seen = replace(seen, source="probe")
        before = self._breakers.get(name, Breaker())
        fleet = self._fleet.get(name)
        after = step(before, seen, self._settings.breaker, self._rng, fleet=fleet.breaker if fleet else None)
        self._breakers[name] = after
        if probe:
            # A probe's outcome is news of its own: it must not be added to older traffic.
            self._start(self._write(seen))
        else:
            tally = self._tallies.get(name)
            self._tallies[name] = tally.merged(seen) if tally else seen
        if before.state == "closed" and after.state == "open":
            self._start(self._tell_open(name, after, credential=seen.credential))
        self.flush_due()

    def _flush(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
        if name not in self._tallies or name in self._writing:
            return
        self._flushed_at[name] = self._clock()
        self._start(self._write(self._tallies.pop(name).measured(*self._values.pop(name, ()))))

    async def _write(self, seen: Observation) -> None:
        if seen.source == "traffic":
            self._writing.add(seen.target)
        try:
            await self._in_thread(self._store.add_observation, seen)
        except StoreError as error:
            self._store_failed("an observation could not be written; it is kept", seen.target, error)
            kept = {"traffic": self._tallies, "shadow": self._copies}.get(seen.source)
            if kept is not None:
                later = kept.get(seen.target)
                kept[seen.target] = seen.merged(later) if later else seen
        finally:
            if seen.source == "traffic":
                self._writing.discard(seen.target)
        # What came meanwhile has its own time, which nobody else may look at.
        self.flush_due()

    async def _tell_open(self, name: str, breaker: Breaker, *, credential: bool) -> None:
        for _ in range(WRITE_TRIES):
            try:
                health = (await self._in_thread(self._store.health, [name])).get(name) or Health(name)
                if health.state != "closed" or health.breaker.changed_at > breaker.changed_at:
                    return
                known = health.breaker
                # This environment may not have heard of the openings before.
                told = replace(
                    breaker,
                    opens=known.opens + 1,
                    until=max(known.until, breaker.until),
                    down_since=known.down_since if known.opens else breaker.down_since,
                )
                refused = credential or health.credential_failed
                opened = replace(
                    health, breaker=told, credential_failed=refused, last_failure=breaker.reason, evaluations=0
                )
                await self._in_thread(self._store.put_health, opened)
            except Conflict:
                continue
            except StoreError as error:
                self._store_failed("the fleet could not be told of an open breaker", name, error)
            return

    def _store_failed(self, message: str, target: str, error: StoreError) -> None:
        self._logger.warning(message, target=target, error=str(error), metrics=[own_failure("StoreErrors")])

    def _start(self, write: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def _known(mine: Histogram, fleet: Histogram) -> Histogram:
    """What this environment saw itself, as soon as that is enough; else what the fleet saw as well."""
    return mine if weight(mine) >= KNOWN else merged(fleet, mine)


def bench_until(failure: AttemptFailed, now: float) -> float:
    """The moment until which a failure benches its target: as long as the provider asks for; 0 where it does not."""
    return now + failure.retry_after if failure.benches and failure.retry_after is not None else 0.0


@dataclass(slots=True)
class Collected:
    """Outcomes of calls that are no caller's, in one observation: what is the same of all of them."""

    clock: Clock
    observation: Observation

    def succeeded(self, target: Target, first_token: float, *, gap: float, seconds: float, probe: bool) -> None:  # noqa: ARG002
        now = self.clock()
        self.observation = self.observation.success(now, first_token, gap=gap, began=now - seconds)

    def failed(self, target: Target, failure: AttemptFailed, *, seconds: float, probe: bool) -> str:  # noqa: ARG002
        now = self.clock()
        self.observation = self.observation.failure(now, failure, bench_until(failure, now), began=now - seconds)
        return ""

    def alone(self, target: Target) -> bool:  # noqa: ARG002
        return True
