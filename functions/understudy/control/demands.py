"""What must hold between constraints, data classes and the facts about targets, and what is odd about them.

Takes the data as it was read, which may be wrong in any other way: whatever has not the expected shape is passed over
here, because the schema reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.compliance import denials
from understudy.control.checks import guess
from understudy.control.load import expiry
from understudy.control.paths import Path
from understudy.control.protocols import as_mapping
from understudy.control.source import Finding
from understudy.facts import PII_MODES, Constraints, Contract, DataFacts

SOON = 30 * 86_400.0
"""Seconds before the end of a contract from which on it is told."""
_ONLY = ("jurisdictions", "providers", "models")


def findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    """Names that lead nowhere, demands that contradict each other, routes that nobody may serve."""
    targets, routes = as_mapping(document.get("targets")), as_mapping(document.get("routes"))
    providers, classes = as_mapping(document.get("providers")), as_mapping(document.get("data_classes"))
    for name, section in classes.items():
        yield from _contradictions(("data_classes", name), as_mapping(section), targets, providers)
    for name, route in routes.items():
        section, path = as_mapping(as_mapping(route).get("constraints")), ("routes", name, "constraints")
        wrong = [*_contradictions(path, section, targets, providers), *_dangling_classes(path, section, classes)]
        # What is wrong in itself is not told a second time as what nobody meets.
        yield from wrong or _unmet(path, as_mapping(route), section, targets, classes)


def ended(document: Mapping[str, Any], in_force: Mapping[str, Any] | None, now: float) -> Iterator[Finding]:
    """Contracts that have ended already, as far as the document in force does not say the same: what ended meanwhile
    must not keep everything else from being published."""
    known = as_mapping(as_mapping(in_force).get("targets"))
    for name, target in as_mapping(document.get("targets")).items():
        day = _expires(target)
        if day is None or day == _expires(known.get(name)) or _after(day) > now:
            continue
        path = ("targets", name, "data", "contract", "expires")
        fix = "write the last day of the contract that is in force, or take the target off its routes"
        yield Finding(path, f"the contract ended with {day}.", fix)


def oddities(document: Mapping[str, Any], now: float | None) -> Iterator[str]:
    """Sentences about a canonical document, of any version: targets that constraints deny, names that nothing bears,
    classes that nobody uses, contracts that end."""
    classes = as_mapping(document.get("data_classes"))
    for name, route in document["routes"].items():
        for target in _asked(route):
            broken = _rules(document["targets"][target], effective(route["constraints"], classes), now or 0.0)
            if broken:
                yield f"The route `{name}` never uses its target `{target}`: {', '.join(broken)}."
    places = {f"data_classes.{name}": section for name, section in classes.items()}
    places |= {f"routes.{name}.constraints": route["constraints"] for name, route in document["routes"].items()}
    borne = {name for one in document["targets"].values() for name in (one["model"], one["data"].get("family"))}
    for place, section in places.items():
        for model in section.get("denied_models") or ():
            if model not in borne:
                yield f"{place}.denied_models denies `{model}`, and no target has this model or family."
    for name, target in document["targets"].items():
        day = _expires(target)
        if now is None or day is None or (left := _after(day) - now) > SOON:
            continue
        contract = f"The contract of the target `{name}`"
        if left <= 0:
            yield f"{contract} ended with {day}: nobody is sent to it, probes neither."
        else:
            yield f"{contract} ends with {day}: from then on nobody is sent to it."


def effective(section: Mapping[str, Any], classes: Mapping[str, Any]) -> Constraints:
    """What constraints demand together with their data classes; a value of a wrong type counts as not given."""
    demanded = _demanded(section)
    for name in _names(section.get("data_classes")):
        demanded = demanded.and_(_demanded(as_mapping(classes.get(name))))
    return demanded


def _contradictions(
    path: Path, section: Mapping[str, Any], targets: Mapping[str, Any], providers: Mapping[str, Any]
) -> Iterator[Finding]:
    models = {m for target in targets.values() if isinstance(m := as_mapping(target).get("model"), str)}
    known = {"providers": providers.keys(), "denied_providers": providers.keys(), "models": models}
    for field, names in known.items():
        values = section.get(field)
        for place, name in enumerate(values if isinstance(values, list) else ()):
            if isinstance(name, str) and name not in names:
                what = "provider" if "providers" in field else "model of a target"
                fix = guess(name, names)
                yield Finding((*path, field, place), f"there is no {what} `{name}`.", fix)
    for field in ("providers", "models"):
        allowed, denied = _names(section.get(field)), _names(section.get(f"denied_{field}"))
        if allowed and allowed <= denied:
            message = f"whatever {field} allows, denied_{field} denies."
            yield Finding((*path, f"denied_{field}"), message, "take out what may be asked")


def _dangling_classes(path: Path, section: Mapping[str, Any], classes: Mapping[str, Any]) -> Iterator[Finding]:
    names = section.get("data_classes")
    for place, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and name not in classes:
            fix = guess(name, classes) or f"say under `data_classes` what `{name}` demands"
            yield Finding((*path, "data_classes", place), f"there is no data class `{name}`.", fix)


def _unmet(
    path: Path,
    route: Mapping[str, Any],
    section: Mapping[str, Any],
    targets: Mapping[str, Any],
    classes: Mapping[str, Any],
) -> Iterator[Finding]:
    """A route that no target may serve.  Judged only where every target of the route is known."""
    entries = [entry.get("target") if isinstance(entry, Mapping) else entry for entry in _list(route.get("targets"))]
    named = [name for name in entries if isinstance(name, str) and name in targets]
    if not entries or len(named) < len(entries):
        return
    demanded = effective(section, classes)
    for field in _ONLY:
        if getattr(demanded, field) == frozenset():
            fix = "relax one of them, or take a class off the route"
            yield Finding((*path, "data_classes"), f"its data classes leave no {field} that may be asked.", fix)
            return
    refused = {name: _rules(as_mapping(targets[name]), demanded, 0.0) for name in named}
    if all(refused.values()):
        reasons = "; ".join(f"{target} ({', '.join(rules)})" for target, rules in refused.items())
        fix = "declare the facts under `data` of a target that meets them, or relax the constraints"
        yield Finding(path, f"no target of this route meets them: {reasons}.", fix)


def _rules(target: Mapping[str, Any], demanded: Constraints, now: float) -> list[str]:
    """The rules that a target breaks, each with the reason; a value of a wrong type counts as not given."""
    data, names = as_mapping(target.get("data")), {name: _text(target.get(name)) for name in ("provider", "model")}
    days, trains = number(data.get("retention_days")), data.get("trains_on_data")
    day = _expires(target)
    facts = DataFacts(
        frozenset(_names(data.get("jurisdictions"))),
        None if days is None else int(days),
        trains if isinstance(trains, bool) else None,
        frozenset(one.upper() for one in _names(data.get("certifications"))),
        contract=Contract("", None if day is None else _after(day)),
        family=_text(data.get("family")),
    )
    return [str(denied) for denied in denials(facts, demanded, now, **names)]


def _demanded(section: Mapping[str, Any]) -> Constraints:
    days, pii = number(section.get("max_retention_days")), section.get("pii")
    return Constraints(
        jurisdictions=frozenset(_names(section.get("jurisdictions"))) or None,
        max_retention_days=None if days is None else int(days),
        no_training=section.get("no_training") is True,
        pii=pii if isinstance(pii, str) and pii in PII_MODES else "off",
        certifications=frozenset(one.upper() for one in _names(section.get("certifications"))),
        providers=frozenset(_names(section.get("providers"))) or None,
        models=frozenset(_names(section.get("models"))) or None,
        denied_providers=frozenset(_names(section.get("denied_providers"))),
        denied_models=frozenset(_names(section.get("denied_models"))),
    )


def _asked(route: Mapping[str, Any]) -> list[str]:
    """The targets of a canonical route, its canary and its shadow among them, each once."""
    trials = [route[name] for name in ("canary", "shadow") if route.get(name)]
    return list(dict.fromkeys(entry["target"] for entry in (*trials, *route["targets"])))


def _expires(target: Any) -> str | None:
    """The last day of a target's contract, where it says one that is a day."""
    day = as_mapping(as_mapping(as_mapping(target).get("data")).get("contract")).get("expires")
    try:
        return day if isinstance(day, str) and expiry(day) is not None else None
    except ValueError:
        return None


def _after(day: str) -> float:
    return expiry(day) or 0.0


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """What is one as YAML has it; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _names(value: Any) -> set[str]:
    return {item for item in _list(value) if isinstance(item, str)}
