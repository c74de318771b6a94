"""The circuit breaker of one target: a frozen value and pure steps, time and randomness passed in.

    closed ──5 hard failures in a row, or half of ≥ 10 in 60 s──► open ──probe succeeds──► half_open
      ▲                                                            ▲ │ probe fails: open longer  │
      └────────────────────second probe succeeds───────────────────┼─┘◄────────fails─────────────┘
                                                                   │
A target with little traffic opens after 2 failures in a row, and a refused credential opens at once: both are probed at
the steady pace and not ramped (decision 0005).  While open, and until the ramp after closing is over, callers are kept
away; recovery is tried by the control plane under a lease, and by one live request only when no probe has come by twice
the open time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.catalog import BreakerSettings
from understudy.health.observation import Observation, row

State = Literal["closed", "open", "half_open"]
BUCKETS = 6
GROWTH = 1.25
"""How much longer each opening in a row lasts than the one before, up to the steady time."""
PATIENCE = 0.1
"""Once this part of the outage's length is more than the steady time, it is the open time: long outages are probed
less often, and a recovery is noticed within a tenth of their length."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`changed_at` is the moment of the last transition, `until` the end of the open time, `lease_until` the end of
    the one probe's lease (0 = free), `failing_since` the beginning of the first of the `consecutive` failures,
    `down_since` the first of the openings in a row, all in epoch seconds.  `opens` counts openings in a row and sets
    the next open time; `steady` says that it opened on little evidence.  `window` holds (bucket number, good, failed)
    of the last minute, oldest first."""

    state: State = "closed"
    changed_at: float = 0.0
    until: float = 0.0
    opens: int = 0
    consecutive: int = 0
    failing_since: float = 0.0
    down_since: float = 0.0
    steady: bool = False
    successes: int = 0
    lease_until: float = 0.0
    window: tuple[tuple[int, int, int], ...] = ()
    reason: str = ""

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__} | {"window": [list(b) for b in self.window]}


def breaker_from(plain: Mapping[str, Any]) -> Breaker:
    """The breaker that `plain()` wrote; fields of a newer version are ignored."""
    known = {name: plain[name] for name in Breaker.__slots__ if name in plain}
    window = tuple((int(n), int(ok), int(bad)) for n, ok, bad in known.pop("window", ()))
    return Breaker(**known, window=window)


def step(
    breaker: Breaker,
    seen: Observation,
    settings: BreakerSettings,
    rng: random.Random,
    *,
    fleet: Breaker | None = None,
) -> Breaker:
    """The breaker after an observation.

    An execution environment gives the `fleet`'s breaker as it knows it: a target is quiet only when the whole fleet
    has little traffic for it.
    """
    if breaker.state == "closed":
        return _step_closed(breaker, seen, settings, rng, fleet or breaker)
    began = max(seen.last_ok_at, seen.failing_since) or seen.at
    if seen.source != "probe" or began < breaker.changed_at:
        # Calls that began before the breaker opened end after it; they are no news about recovery.
        return breaker
    if seen.failures:
        return opened(breaker, seen.at, seen.last_failure or "the probe failed", settings, rng, steady=breaker.steady)
    if not seen.ok:
        # Rate limited or out of time: no news about the target, and the next probe may try.
        return replace(breaker, lease_until=0.0)
    successes = breaker.successes + seen.ok
    if successes >= settings.successes_to_close:
        return Breaker(
            changed_at=seen.at,
            until=breaker.until,
            opens=breaker.opens,
            down_since=breaker.down_since,
            steady=breaker.steady,
            reason="probes succeeded",
        )
    changed = breaker.changed_at if breaker.state == "half_open" else seen.at
    return replace(breaker, state="half_open", changed_at=changed, successes=successes, lease_until=0.0)


def _step_closed(
    breaker: Breaker, seen: Observation, settings: BreakerSettings, rng: random.Random, fleet: Breaker
) -> Breaker:
    if seen.at < breaker.changed_at:
        return breaker
    if seen.trailing and seen.failing_since < breaker.changed_at and breaker.opens:
        # Calls that began before the target recovered may fail long after it.
        seen = replace(seen, failures=0, trailing=0)
    consecutive, since = row(breaker.consecutive, breaker.failing_since, seen)
    window = _add(breaker.window, seen, settings.window)
    # A target that stayed well for as long as the longest open time starts from the shortest one again.
    settled = seen.ok > 0 and seen.at - breaker.changed_at > settings.open_max
    after = replace(
        breaker,
        consecutive=consecutive,
        failing_since=since,
        window=window,
        opens=0 if settled else breaker.opens,
        steady=breaker.steady and not settled,
    )
    if not seen.failures:
        return after
    if seen.credential:
        return opened(after, seen.at, seen.last_failure, settings, rng, steady=True)
    good, bad = _sums(window)
    quiet = max(good, _sums(fleet.window)[0]) < settings.quiet_calls
    enough = settings.consecutive_failures
    if consecutive >= (min(settings.quiet_failures, enough) if quiet else enough):
        seldom = " on little traffic" if quiet else ""
        reason = f"{consecutive} failures in a row{seldom}, the last: {seen.last_failure}"
        # Right after a recovery the window is empty however busy the target is.
        return opened(after, seen.at, reason, settings, rng, steady=breaker.steady if breaker.opens else quiet)
    if good + bad >= settings.minimum_calls and bad >= settings.failure_ratio * (good + bad):
        reason = f"{bad} of {good + bad} calls failed within {settings.window:.0f} s, the last: {seen.last_failure}"
        return opened(after, seen.at, reason, settings, rng)
    return after


def opened(
    breaker: Breaker,
    now: float,
    reason: str,
    settings: BreakerSettings,
    rng: random.Random,
    *,
    steady: bool = False,
) -> Breaker:
    """The breaker opened (again) at `now`, for longer each time in a row; `until` never moves backward."""
    down_since = breaker.down_since if breaker.opens else now
    lasting = max(settings.open_steady, PATIENCE * (now - down_since))
    if not steady:
        lasting = min(lasting, settings.open_first * GROWTH ** min(breaker.opens, 30))
    lasting = min(lasting, settings.open_max) * (1 + settings.jitter * rng.random())
    return Breaker(
        state="open",
        changed_at=max(now, breaker.changed_at),
        until=max(breaker.until, now + lasting),
        opens=breaker.opens + 1,
        down_since=down_since,
        steady=steady,
        reason=reason[:300],
    )


def lease(
    breaker: Breaker, now: float, settings: BreakerSettings, *, live: bool = False, lasting: float = 0.0
) -> Breaker | None:
    """The breaker with its one probe lease taken, or None where it may not be taken now.

    The control plane may take it when the open time is over, for as long (`lasting`) as its probe may take; a live
    request (`live`) only when no probe has come by twice that time.  The lease is exclusive because the caller writes
    the result on condition that nothing changed.
    """
    if breaker.state == "closed" or now < breaker.lease_until:
        return None
    due = breaker.until if breaker.state == "open" else breaker.changed_at
    if live:
        due += max(breaker.until - breaker.changed_at, settings.open_first)
    return replace(breaker, lease_until=now + max(settings.lease, lasting)) if now >= due else None


def share(breaker: Breaker, now: float, settings: BreakerSettings) -> float:
    """The share of its traffic that a target may get now: 0 while open or half open, then the ramp, then 1."""
    if breaker.state != "closed":
        return 0.0
    if breaker.opens == 0 or breaker.steady:
        return 1.0
    at = int((now - breaker.changed_at) / settings.ramp_step)
    return settings.ramp[at] if 0 <= at < len(settings.ramp) else 1.0


def _sums(window: tuple[tuple[int, int, int], ...]) -> tuple[int, int]:
    return sum(ok for _, ok, _ in window), sum(failed for _, _, failed in window)


def _add(
    window: tuple[tuple[int, int, int], ...], seen: Observation, length: float
) -> tuple[tuple[int, int, int], ...]:
    now = int(seen.at / (length / BUCKETS))
    kept = {number: (ok, bad) for number, ok, bad in window if number > now - BUCKETS}
    ok, bad = kept.get(now, (0, 0))
    kept[now] = (ok + seen.ok, bad + seen.failures)
    return tuple((number, *kept[number]) for number in sorted(kept))
