"""One word for how a target does, since when, and why.  What somebody has decided comes before what was measured:

    drained       an operator keeps callers' requests from it
    quarantined   it is kept from callers because of a finding
    open          its breaker is open: it does not answer
    half_open     its breaker is being closed again by probes
    degraded      it answers, and a confirmed finding says: worse than it did
    unknown       it was never seen, or what is known is too old
    healthy       none of these

The first that is true is the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.catalog import HealthSettings
from understudy.health.item import Health

Name = Literal["healthy", "degraded", "open", "half_open", "drained", "quarantined", "unknown"]
MISSED = 5
"""Periods of probing without any evidence after which nothing is known of a target."""


@dataclass(frozen=True, slots=True)
class State:
    """`since` is epoch seconds, 0 where it was always so; `cause` is in words; `evidence` is plain data."""

    name: Name
    since: float
    cause: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def state_of(health: Health | None, now: float, *, period: float = HealthSettings().probe_period) -> State:
    """The state of a target; `period` is the time between two probes of it, in seconds."""
    if health is None:
        return State("unknown", 0.0, "never seen")
    breaker, hold = health.breaker, health.hold
    if hold is not None:
        return State(hold.state, hold.since, hold.cause, {"by": hold.by})
    if breaker.state != "closed":
        evidence = {"until": breaker.until, "opens": breaker.opens, "last_failure": health.last_failure}
        return State(breaker.state, breaker.down_since or breaker.changed_at, breaker.reason, evidence)
    if found := [finding for finding in health.findings if finding.degrades]:
        first = min(found, key=lambda finding: finding.since)
        evidence = {"findings": [finding.plain() for finding in found]}
        return State("degraded", first.since, "; ".join(finding.told for finding in found), evidence)
    seen_at = evidence_at(health)
    known = {"availability": health.score, "seen_at": seen_at}
    if now - seen_at > MISSED * period:
        return State("unknown", seen_at + MISSED * period, "nothing was seen of it lately", known)
    benched = f", benched by the provider for {left:.0f} s more" if (left := health.benched_until - now) > 0 else ""
    return State("healthy", breaker.changed_at, f"{health.score:.0%} of recent answers were good{benched}", known)


def evidence_at(health: Health) -> float:
    """When anything was last learned of whether the target answers; 0 for never."""
    return max(health.last_ok_at, health.last_failure_at)
