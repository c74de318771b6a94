"""Whether a target may be given traffic right now, and why not, in words."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.catalog import BreakerSettings
from understudy.health.breaker import Breaker, lease, share


@dataclass(frozen=True, slots=True)
class Standing:
    """`share` is the part of its traffic a target may get (0: none, 1: all).  `probe_due` says that no probe has
    come in time, so that one live request may try it under the fleet-wide lease."""

    share: float = 1.0
    reason: str = "healthy"
    probe_due: bool = False


def standing(breaker: Breaker, benched_until: float, now: float, settings: BreakerSettings) -> Standing:
    """The standing of a target from its breaker and its bench."""
    if now < benched_until:
        return Standing(0.0, f"benched by the provider for {benched_until - now:.1f} s more")
    if breaker.state == "closed":
        part = share(breaker, now, settings)
        return Standing(part) if part >= 1 else Standing(part, f"coming back, {part:.0%} of its traffic")
    left = max(0.0, breaker.until - now)
    reason = f"breaker {breaker.state}" + (f" for {left:.1f} s more" if left else "") + f" ({breaker.reason})"
    return Standing(0.0, reason, probe_due=lease(breaker, now, settings, live=True) is not None)
