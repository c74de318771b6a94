"""Hard constraints: whether a target may see a request at all.  Judged before any score, on every egress.

What a target does not declare counts as the worst, so silence never passes a constraint.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.catalog import Constraints, Target


@dataclass(frozen=True, slots=True)
class Allowed:
    """No rule stands against the target."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The first rule that stands against the target, and why, in words."""

    rule: str
    reason: str


def judge(target: Target, constraints: Constraints) -> Allowed | Denied:
    """Whether `target` may be sent a request under `constraints`."""
    data = target.data
    if constraints.jurisdictions:
        outside = data.jurisdictions - constraints.jurisdictions
        if outside or not data.jurisdictions:
            where = ", ".join(sorted(outside)) if outside else "a place it does not declare"
            allowed = ", ".join(sorted(constraints.jurisdictions))
            return Denied("jurisdictions", f"it processes data in {where}; allowed: {allowed}")
    limit = constraints.max_retention_days
    if limit is not None and (data.retention_days is None or data.retention_days > limit):
        kept = "an undeclared time" if data.retention_days is None else f"{data.retention_days} days"
        return Denied("max_retention_days", f"it keeps data for {kept}; allowed: {limit} days")
    if constraints.no_training and data.trains_on_data is not False:
        return Denied("no_training", "it trains on data, or does not declare that it does not")
    return Allowed()
