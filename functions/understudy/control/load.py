"""Canonical control document -> frozen catalog.  Runs in the data plane: no schema library, no YAML.

Fields this version does not know are passed over, so that an older data plane can read a newer document; but not a
demand among constraints, which nobody would hold then: such a document is refused.  Fields that the document lacks take
the catalog's own default; a field without one must be there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from understudy.catalog import (
    AlertSettings,
    Auth,
    BreakerSettings,
    Candidate,
    Capabilities,
    Catalog,
    DetectionSettings,
    DriftSettings,
    HealthSettings,
    Lifecycle,
    Limits,
    PiiRules,
    Provider,
    QualitySettings,
    Route,
    ScoreSettings,
    Share,
    SigV4,
    Target,
)
from understudy.control.paths import child
from understudy.control.price_load import price_of, start_of
from understudy.errors import DocumentError, Problem
from understudy.facts import PII_MODES, Constraints, Contract, DataFacts
from understudy.pricing.cost import assumed

SCHEMA = 1
_DAY = 86_400.0
_SETS = ("jurisdictions", "providers", "models", "certifications", "denied_providers", "denied_models")
_DEMANDS = {*_SETS, "max_retention_days", "no_training", "data_classes", "pii"}

# The document names the unit of a time, the catalog does not: there every time is in seconds.
_SECONDS = {
    Limits: (
        "connect",
        "first_token_min",
        "first_token",
        "first_token_reasoning",
        "stall_min",
        "stall",
        "request",
        "backoff",
        "retry_after_cap",
    ),
    BreakerSettings: ("window", "open_first", "open_steady", "open_max", "ramp_step", "lease"),
    Route: ("first_token_objective",),
    ScoreSettings: ("half_life",),
    HealthSettings: ("flush",),
    QualitySettings: ("period",),
    DriftSettings: ("period",),
    AlertSettings: ("renotify",),
}

T = TypeVar("T")


def catalog(document: Mapping[str, Any], version: int) -> Catalog:
    """Compile a canonical document; `version` is its number in the store.

    Raises DocumentError where the document lacks a field without default, names a provider or target that it
    does not hold, or has a schema this software does not know.
    """
    if document.get("schema") != SCHEMA:
        raise _problem("schema", f"is {document.get('schema')!r}; this software reads schema {SCHEMA}.")
    providers = {
        name: _provider(name, section, child("providers", name))
        for name, section in _section(document, "providers", "").items()
    }
    targets = {
        name: _target(name, section, providers, child("targets", name))
        for name, section in _section(document, "targets", "").items()
    }
    known = (price for target in targets.values() for price in (target.price, *target.price_changes))
    guess = assumed(price for price in known if price is not None)
    targets = {
        name: target if target.price else dataclasses.replace(target, assumed_price=guess)
        for name, target in targets.items()
    }
    classes = {
        name: _demands(section, child("data_classes", name), {})
        for name, section in (document.get("data_classes") or {}).items()
    }
    routes = {
        name: _route(name, section, targets, classes, child("routes", name))
        for name, section in _section(document, "routes", "").items()
    }
    return Catalog(
        version=version,
        targets=targets,
        routes=routes,
        health=_health(document.get("health") or {}),
        alerts=_build(AlertSettings, document.get("alerts") or {}, "alerts"),
        golden_sets=document.get("golden_sets") or {},
        data_classes=classes,
    )


def _provider(name: str, section: Mapping[str, Any], path: str) -> Provider:
    auth = section.get("auth")
    return _build(
        Provider,
        section,
        path,
        name=name,
        auth=None if auth is None else _build(Auth, auth, child(path, "auth")),
        sigv4=None if (sigv4 := section.get("sigv4")) is None else _build(SigV4, sigv4, child(path, "sigv4")),
        headers=dict(section.get("headers") or {}),
        rename=dict(section.get("rename") or {}),
    )


def _target(name: str, section: Mapping[str, Any], providers: Mapping[str, Provider], path: str) -> Target:
    price, changes = section.get("price"), section.get("price_changes") or ()
    data, can = section.get("data") or {}, section.get("capabilities") or {}
    return _build(
        Target,
        section,
        path,
        name=name,
        provider=_known(_section(section, "provider", path), providers, child(path, "provider")),
        capabilities=_build(
            Capabilities, can, child(path, "capabilities"), refuses=frozenset(can.get("refuses") or ())
        ),
        data=_facts(data, child(path, "data")),
        price=None if price is None else price_of(price, child(path, "price")),
        price_changes=tuple(price_of(one, child(child(path, "price_changes"), i)) for i, one in enumerate(changes)),
        lifecycle=_lifecycle(section.get("lifecycle") or {}),
    )


def _lifecycle(section: Mapping[str, Any]) -> Lifecycle:
    deprecated, retires = section.get("deprecated_on"), section.get("retires_on")
    return Lifecycle(
        deprecated_at=None if deprecated is None else start_of(deprecated),
        retires_at=None if retires is None else start_of(retires),
        replacement=section.get("replacement") or "",
    )


def _facts(section: Mapping[str, Any], path: str) -> DataFacts:
    contract = section.get("contract") or {}
    return _build(
        DataFacts,
        section,
        path,
        jurisdictions=frozenset(section.get("jurisdictions") or ()),
        certifications=frozenset(section.get("certifications") or ()),
        contract=Contract(contract.get("id", ""), expiry(contract.get("expires"))),
    )


def expiry(day: str | None) -> float | None:
    """The first moment (epoch seconds) after a day (UTC), which was the last one; None for no day."""
    return None if day is None else start_of(day) + _DAY


def _demands(section: Mapping[str, Any], path: str, classes: Mapping[str, Constraints]) -> Constraints:
    """What a section demands, with what its data classes do.  Nothing is demanded by a field that is empty."""
    if strangers := section.keys() - _DEMANDS:
        raise _problem(child(path, min(strangers)), "this software does not know this demand.")
    given = {name: frozenset(section.get(name) or ()) for name in _SETS}
    only = {name: given.pop(name) or None for name in ("jurisdictions", "providers", "models")}
    names: Iterable[str] = section.get("data_classes") or ()
    demanded = _build(Constraints, section, path, classes=frozenset(names), **given, **only)
    for name in names:
        demanded = demanded.and_(_known(name, classes, child(path, "data_class")))
    return demanded


def _route(
    name: str,
    section: Mapping[str, Any],
    targets: Mapping[str, Target],
    classes: Mapping[str, Constraints],
    path: str,
) -> Route:
    entries = _section(section, "targets", path)
    ceiling = section.get("max_price_per_million")
    trials = {
        name: None if section.get(name) is None else _share(section[name], targets, child(path, name))
        for name in ("canary", "shadow")
    }
    return _build(
        Route,
        section,
        path,
        name=name,
        candidates=tuple(
            _candidate(entry, targets, child(child(path, "targets"), i)) for i, entry in enumerate(entries)
        ),
        limits=_limits(section.get("limits") or {}, child(path, "limits")),
        constraints=_demands(section.get("constraints") or {}, child(path, "constraints"), classes),
        may_drop=frozenset(section.get("may_drop") or ()),
        golden_sets=frozenset(section.get("golden_sets") or ()),
        max_price_per_million=None if ceiling is None else Decimal(ceiling),
        pii=_pii(section.get("pii") or {}, child(path, "pii")),
        **trials,
    )


def _pii(section: Mapping[str, Any], path: str) -> PiiRules:
    if strangers := section.keys() - {field.name for field in dataclasses.fields(PiiRules)}:
        raise _problem(child(path, min(strangers)), "this software does not know this rule.")
    if section.get("mode", "off") not in PII_MODES:
        raise _problem(child(path, "mode"), "this software does not know this mode.")
    sets = {name: frozenset(section[name]) for name in ("kinds", "countries") if name in section}
    return _build(PiiRules, section, path, **sets)


def _share(section: Mapping[str, Any], targets: Mapping[str, Target], path: str) -> Share:
    target = _known(_section(section, "target", path), targets, child(path, "target"))
    return _build(Share, section, path, target=target)


def _limits(section: Mapping[str, Any], path: str) -> Limits:
    budget = section.get("max_cost_usd")
    return _build(Limits, section, path, max_cost=None if budget is None else Decimal(budget))


def _candidate(entry: Mapping[str, Any], targets: Mapping[str, Target], path: str) -> Candidate:
    target = _known(_section(entry, "target", path), targets, child(path, "target"))
    return _build(Candidate, entry, path, target=target)


def _health(section: Mapping[str, Any]) -> HealthSettings:
    breaker, probe, quality = (section.get(name) or {} for name in ("breaker", "probe", "quality"))
    given: dict[str, Any] = {} if breaker.get("ramp") is None else {"ramp": tuple(breaker["ramp"])}
    sets: dict[str, Any] = {} if quality.get("sets") is None else {"sets": tuple(quality["sets"])}
    names = {
        "probe_period": "period_s",
        "probe_prompt": "prompt",
        "probe_max_tokens": "max_tokens",
        "probe_reasoning_tokens": "reasoning_tokens",
    }
    cap: dict[str, Any] = {"probe_usd_per_day": Decimal(probe["usd_per_day"])} if "usd_per_day" in probe else {}
    return _build(
        HealthSettings,
        section,
        "health",
        breaker=_build(BreakerSettings, breaker, "health.breaker", **given),
        quality=_build(QualitySettings, quality, "health.quality", **sets),
        drift=_build(DriftSettings, section.get("drift") or {}, "health.drift"),
        detection=_build(DetectionSettings, section.get("detection") or {}, "health.detection"),
        score=_build(ScoreSettings, section.get("score") or {}, "health.score"),
        **{field: probe[name] for field, name in names.items() if name in probe},
        **cap,
    )


def _build(form: type[T], section: Mapping[str, Any], path: str, **given: Any) -> T:
    """One dataclass from the fields of `section`, `given` taking precedence.  Raises DocumentError."""
    seconds = _SECONDS.get(form, ())
    values = dict(given)
    for field in dataclasses.fields(form):  # type: ignore[arg-type]
        name = f"{field.name}_s" if field.name in seconds else field.name
        if field.name in given:
            continue
        if name in section:
            values[field.name] = section[name]
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _problem(child(path, name), "is missing.")
    return form(**values)


def _section(section: Mapping[str, Any], name: str, path: str) -> Any:
    if section.get(name) is None:
        raise _problem(child(path, name), "is missing.")
    return section[name]


def _known(name: str, known: Mapping[str, T], path: str) -> T:
    if name not in known:
        raise _problem(path, f"there is no {path.rsplit('.', 1)[-1]} `{name}`.")
    return known[name]


def _problem(path: str, message: str) -> DocumentError:
    return DocumentError([Problem(path, message, "publish a document made for this version of the software.")])
