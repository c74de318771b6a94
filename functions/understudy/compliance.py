"""Hard constraints: whether a target may see a request at all.  Judged before any score, on every egress.

What a target does not declare counts as the worst, so silence never passes a constraint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from understudy.catalog import Target
from understudy.facts import NO_CONSTRAINTS, Constraints, DataFacts
from understudy.jurisdictions import outside


@dataclass(frozen=True, slots=True)
class Allowed:
    """No rule stands against the target."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A rule that stands against the target, and why, in words; `kept` says it for operators, where that is more."""

    rule: str
    reason: str
    kept: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"

    @property
    def cause(self) -> str:
        """As operators are told it; empty where callers are told as much."""
        return f"denied by {self.rule}: {self.kept}" if self.kept else ""

    @property
    def told(self) -> str:
        """As the reason why a target was not asked."""
        return f"denied by {self}"


_ALLOWED = Allowed()


def judge(target: Target, constraints: Constraints, now: float) -> Allowed | Denied:
    """Whether `target` may be sent a request under `constraints` at `now` (epoch seconds); the first rule against it
    decides."""
    facts, provider = target.data, target.provider.name
    return next(denials(facts, constraints, now, provider=provider, model=target.model), _ALLOWED)


def denials(
    data: DataFacts, constraints: Constraints, now: float, *, provider: str = "", model: str = ""
) -> Iterator[Denied]:
    """Every rule that facts like these break.  A contract that has ended denies whatever is demanded."""
    if _ended(data, now):
        # Which contract it is, is for operators: reasons are told to callers as well.
        yield Denied("contract", "its contract has expired", f"the contract {data.contract.id or 'of it'} has expired")
    if constraints is NO_CONSTRAINTS:
        return
    yield from _of_names("providers", provider, constraints.providers, constraints.denied_providers)
    yield from _of_names("models", model, constraints.models, constraints.denied_models)
    if data.family and data.family in constraints.denied_models:
        yield Denied("denied_models", f"the family {data.family} is denied")
    if constraints.jurisdictions is not None and not data.jurisdictions:
        yield Denied("jurisdictions", "not declared")
    elif constraints.jurisdictions is not None and (away := outside(data.jurisdictions, constraints.jurisdictions)):
        yield Denied("jurisdictions", f"{', '.join(away)} not allowed")
    limit, days = constraints.max_retention_days, data.retention_days
    if limit is not None and days is None:
        yield Denied("max_retention_days", "retention not declared")
    elif limit is not None and days is not None and days > limit:
        yield Denied("max_retention_days", f"keeps data for {days:g} days")
    if constraints.no_training and data.trains_on_data is not False:
        yield Denied("no_training", "trains on data" if data.trains_on_data else "training not declared")
    if missing := constraints.certifications - data.certifications:
        yield Denied("certifications", f"{', '.join(sorted(missing))} not declared")


def _ended(data: DataFacts, now: float) -> bool:
    ends = data.contract.expires_at
    return ends is not None and now >= ends


def _of_names(rule: str, name: str, allowed: frozenset[str] | None, denied: frozenset[str]) -> Iterator[Denied]:
    if name in denied:
        yield Denied(f"denied_{rule}", f"{name} is denied")
    elif allowed is not None and name not in allowed:
        yield Denied(rule, f"{name or 'it'} is not among those allowed")
