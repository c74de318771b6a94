"""The circuit breaker of one target: a frozen value and pure steps, time and randomness passed in.

    closed ──5 hard failures in a row, or half of ≥ 10 in 60 s──► open ──probe succeeds──► half_open
      ▲                                                            ▲ │ probe fails: open longer  │
      └────────────────────second probe succeeds───────────────────┼─┘◄────────fails─────────────┘
                                                                   │
While open, and until the ramp after closing is over, callers are kept away; recovery is tried by the control plane
under a lease, and by one live request only when no probe has come by twice the open time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.catalog import BreakerSettings
from understudy.health.observation import Observation

State = Literal["closed", "open", "half_open"]
BUCKETS = 6


@dataclass(frozen=True, slots=True)
class Breaker:
    """`changed_at` is the moment of the last transition, `until` the end of the open time, `lease_until` the end of
    the one probe's lease (0 = free), all in epoch seconds.  `opens` counts openings in a row and sets the next open
    time.  `window` holds (bucket number, good, failed) of the last minute, oldest first."""

    state: State = "closed"
    changed_at: float = 0.0
    until: float = 0.0
    opens: int = 0
    consecutive: int = 0
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


def step(breaker: Breaker, seen: Observation, settings: BreakerSettings, rng: random.Random) -> Breaker:
    """The breaker after an observation."""
    if breaker.state == "closed":
        return _step_closed(breaker, seen, settings, rng)
    if seen.source != "probe":
        # Calls that began before the breaker opened end after it; they are no news about recovery.
        return breaker
    if seen.failures:
        return opened(breaker, seen.at, seen.last_failure or "the probe failed", settings, rng)
    if not seen.ok:
        # Rate limited or out of time: no news about the target, and the next probe may try.
        return replace(breaker, lease_until=0.0)
    successes = breaker.successes + 1
    if successes >= settings.successes_to_close:
        return Breaker(changed_at=seen.at, until=breaker.until, opens=breaker.opens, reason="probes succeeded")
    changed = breaker.changed_at if breaker.state == "half_open" else seen.at
    return replace(breaker, state="half_open", changed_at=changed, successes=successes, lease_until=0.0)


def _step_closed(breaker: Breaker, seen: Observation, settings: BreakerSettings, rng: random.Random) -> Breaker:
    if seen.at < breaker.changed_at:
        return breaker
    consecutive = seen.trailing if seen.ok else breaker.consecutive + seen.trailing
    window = _add(breaker.window, seen, settings.window)
    # A target that stayed well for as long as the longest open time starts from the shortest one again.
    settled = seen.ok > 0 and seen.at - breaker.changed_at > settings.open_max
    after = replace(breaker, consecutive=consecutive, window=window, opens=0 if settled else breaker.opens)
    if not seen.failures:
        return after
    good, bad = sum(ok for _, ok, _ in window), sum(failed for _, _, failed in window)
    if consecutive >= settings.consecutive_failures:
        reason = f"{consecutive} failures in a row, the last: {seen.last_failure}"
        return opened(after, seen.at, reason, settings, rng)
    if good + bad >= settings.minimum_calls and bad >= settings.failure_ratio * (good + bad):
        reason = f"{bad} of {good + bad} calls failed within {settings.window:.0f} s, the last: {seen.last_failure}"
        return opened(after, seen.at, reason, settings, rng)
    return after


def opened(breaker: Breaker, now: float, reason: str, settings: BreakerSettings, rng: random.Random) -> Breaker:
    """The breaker opened (again) at `now`, for longer each time in a row; `until` never moves backward."""
    lasting = min(settings.open_max, settings.open_first * 2.0 ** min(breaker.opens, 30))
    lasting *= 1 + settings.jitter * (2 * rng.random() - 1)
    return Breaker(
        state="open",
        changed_at=max(now, breaker.changed_at),
        until=max(breaker.until, now + lasting),
        opens=breaker.opens + 1,
        reason=reason[:300],
    )


def lease(breaker: Breaker, now: float, settings: BreakerSettings, *, live: bool = False) -> Breaker | None:
    """The breaker with its one probe lease taken, or None where it may not be taken now.

    The control plane may take it when the open time is over; a live request (`live`) only when no probe has come by
    twice that time.  The lease is exclusive because the caller writes the result on condition that nothing changed.
    """
    if breaker.state == "closed" or now < breaker.lease_until:
        return None
    due = breaker.until if breaker.state == "open" else breaker.changed_at
    if live:
        due += max(breaker.until - breaker.changed_at, settings.open_first)
    return replace(breaker, lease_until=now + settings.lease) if now >= due else None


def share(breaker: Breaker, now: float, settings: BreakerSettings) -> float:
    """The share of its traffic that a target may get now: 0 while open or half open, then the ramp, then 1."""
    if breaker.state != "closed":
        return 0.0
    if breaker.opens == 0:
        return 1.0
    at = int((now - breaker.changed_at) / settings.ramp_step)
    return settings.ramp[at] if 0 <= at < len(settings.ramp) else 1.0


def _add(
    window: tuple[tuple[int, int, int], ...], seen: Observation, length: float
) -> tuple[tuple[int, int, int], ...]:
    now = int(seen.at / (length / BUCKETS))
    kept = {number: (ok, bad) for number, ok, bad in window if number > now - BUCKETS}
    ok, bad = kept.get(now, (0, 0))
    kept[now] = (ok + seen.ok, bad + seen.failures)
    return tuple((number, *kept[number]) for number in sorted(kept))
