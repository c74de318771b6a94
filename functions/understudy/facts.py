"""What is known of a target as a risk, and what may be demanded of it: facts on one side, constraints on the other.

Whatever is not declared counts as the worst.  Constraints only ever add up: `Constraints.and_` gives those that hold
where both hold, so a key or a request can tighten what a route demands and never loosen it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from understudy.jurisdictions import meet

PII_MODES = ("off", "detect", "redact", "block")
"""What is done about personal data in a request, each one stricter than those before it."""

_Allowed = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Contract:
    """Under which agreement a target is used; `expires_at` is the first moment (epoch seconds) after its last day."""

    id: str = ""
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Who gets the data, where they may go, and what is done with them.  None or empty means not declared.

    `jurisdictions` are all places where data may be processed or stored; `certifications` a free list such as
    "HIPAA-BAA" or "SOC2"; `entity` is the legal entity that the contract is with; `open_weights` whether the model's
    weights are public.
    """

    jurisdictions: frozenset[str] = frozenset()
    retention_days: int | None = None
    trains_on_data: bool | None = None
    certifications: frozenset[str] = frozenset()
    entity: str = ""
    contract: Contract = field(default_factory=Contract)
    family: str = ""
    open_weights: bool | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    """What every target that sees a request must meet.  None or empty means no demand.

    `jurisdictions`, `providers` and `models` are the only ones that may be asked, where given; None allows all, and an
    empty set nobody.  `denied_providers` and `denied_models` may not, the latter by name or family.  `classes` names
    the data classes that are in it, for people: what a class demands is already part of the other fields.  `pii` is the
    least that is done about personal data in a request before any target sees it: no demand on a target.
    """

    jurisdictions: frozenset[str] | None = None
    max_retention_days: int | None = None
    no_training: bool = False
    certifications: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None
    models: frozenset[str] | None = None
    denied_providers: frozenset[str] = frozenset()
    denied_models: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    pii: str = "off"

    def and_(self, other: Constraints) -> Constraints:
        """What holds where both hold."""
        retention = [days for days in (self.max_retention_days, other.max_retention_days) if days is not None]
        return Constraints(
            jurisdictions=_both(self.jurisdictions, other.jurisdictions, meet),
            max_retention_days=min(retention, default=None),
            no_training=self.no_training or other.no_training,
            certifications=self.certifications | other.certifications,
            providers=_both(self.providers, other.providers, frozenset.intersection),
            models=_both(self.models, other.models, frozenset.intersection),
            denied_providers=self.denied_providers | other.denied_providers,
            denied_models=self.denied_models | other.denied_models,
            classes=self.classes | other.classes,
            pii=max(self.pii, other.pii, key=PII_MODES.index),
        )


NO_CONSTRAINTS = Constraints()


def plain_constraints(constraints: Constraints) -> dict[str, Any]:
    """JSON-able form; what demands nothing is left out."""
    nothing = {f.name: getattr(NO_CONSTRAINTS, f.name) for f in fields(Constraints)}
    given = {name: getattr(constraints, name) for name in nothing}
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in given.items()
        if value != nothing[name]
    }


def constraints_from(plain: Mapping[str, Any]) -> Constraints:
    """What `plain_constraints` wrote.  Raises ValueError where it has a field that is not known: a demand that nobody
    understands must not be passed over."""
    known = {f.name for f in fields(Constraints)}
    if strangers := plain.keys() - known:
        raise ValueError(f"these demands are not known here: {', '.join(sorted(strangers))}")
    given: dict[str, Any] = {name: frozenset(v) if isinstance(v, list) else v for name, v in plain.items()}
    return Constraints(**given)


def _both(
    one: _Allowed, other: _Allowed, meeting: Callable[[frozenset[str], frozenset[str]], frozenset[str]]
) -> _Allowed:
    if one is None or other is None:
        return other if one is None else one
    return meeting(one, other)
