"""Hard constraints: whether a target may see a request at all.  Judged before any score, on every egress.

What a target does not declare counts as the worst, so silence never passes a constraint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from understudy.catalog import Constraints, DataFacts, Target


@dataclass(frozen=True, slots=True)
class Allowed:
    """No rule stands against the target."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A rule that stands against the target, and why, in words."""

    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"


def judge(target: Target, constraints: Constraints) -> Allowed | Denied:
    """Whether `target` may be sent a request under `constraints`; the first rule against it decides."""
    return next(denials(target.data, constraints), Allowed())


def denials(data: DataFacts, constraints: Constraints) -> Iterator[Denied]:
    """Every rule that facts like these break."""
    if constraints.jurisdictions and not data.jurisdictions:
        yield Denied("jurisdictions", "not declared")
    elif constraints.jurisdictions and (outside := data.jurisdictions - constraints.jurisdictions):
        yield Denied("jurisdictions", f"{', '.join(sorted(outside))} not allowed")
    limit, days = constraints.max_retention_days, data.retention_days
    if limit is not None and days is None:
        yield Denied("max_retention_days", "retention not declared")
    elif limit is not None and days is not None and days > limit:
        yield Denied("max_retention_days", f"keeps data for {days:g} days")
    if constraints.no_training and data.trains_on_data is not False:
        yield Denied("no_training", "trains on data" if data.trains_on_data else "training not declared")
