"""What the days of a target's lifecycle must be to each other, to those of its replacement, and to today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy.control.protocols import as_mapping
from understudy.control.source import Finding
from understudy.pricing.ledger import day_of


def findings(targets: Mapping[str, Any]) -> Iterator[Finding]:
    """Days that contradict each other; targets that are to replace themselves, or end before the one they replace."""
    for name, target in targets.items():
        life = as_mapping(as_mapping(target).get("lifecycle"))
        deprecated, retires, after = (life.get(f) for f in ("deprecated_on", "retires_on", "replacement"))
        path = ("targets", name, "lifecycle")
        if isinstance(deprecated, str) and isinstance(retires, str) and retires < deprecated:
            message = f"it is retired ({retires}) before it is deprecated ({deprecated})."
            yield Finding((*path, "retires_on"), message, "correct one of the two days")
        if not isinstance(after, str):
            continue
        if after in (name, as_mapping(target).get("model")):
            yield Finding((*path, "replacement"), f"`{after}` cannot replace itself.", "name another target or model")
            continue
        ends = as_mapping(as_mapping(targets.get(after)).get("lifecycle")).get("retires_on")
        if isinstance(ends, str) and isinstance(retires, str) and ends <= retires:
            message = f"`{after}` is retired on {ends}, not after the target that it is to replace ({retires})."
            yield Finding((*path, "replacement"), message, "name a target or model that lasts longer")


def ended(document: Mapping[str, Any], in_force: Mapping[str, Any] | None, now: float) -> Iterator[Finding]:
    """Targets on a route that are retired already, unless the document in force says the same: what was right once must
    not keep somebody from publishing something else."""
    known = as_mapping(as_mapping(in_force).get("targets"))
    today = day_of(now)
    for name, routes in _asking(as_mapping(document.get("routes"))).items():
        day = _retires(as_mapping(document.get("targets")).get(name))
        if day is not None and day <= today and day != _retires(known.get(name)):
            message = f"the target is retired since {day}, and {_listed(routes)} it."
            fix = "correct the day, or take the target off its routes"
            yield Finding(("targets", name, "lifecycle", "retires_on"), message, fix)


def oddities(document: Mapping[str, Any], now: float | None) -> Iterator[str]:
    """Sentences about a canonical document: targets that are retired."""
    if now is None:
        return
    asking = _asking(document["routes"])
    for name, target in document["targets"].items():
        day = _retires(target)
        if day is not None and day <= day_of(now):
            used = f", and {_listed(asking[name])} it all the same" if name in asking else ""
            yield f"The target `{name}` is retired since {day}{used}."


def _retires(target: Any) -> str | None:
    day = as_mapping(as_mapping(target).get("lifecycle")).get("retires_on")
    return day if isinstance(day, str) and len(day) == len("2027-12-31") else None


def _asking(routes: Mapping[str, Any]) -> dict[str, list[str]]:
    """The routes that ask each target, as far as they can be read."""
    found: dict[str, list[str]] = {}
    for name, route in routes.items():
        entries = as_mapping(route).get("targets")
        trials = [as_mapping(route).get(trial) for trial in ("canary", "shadow")]
        for entry in [*(entries if isinstance(entries, list) else []), *trials]:
            target = entry if isinstance(entry, str) else as_mapping(entry).get("target")
            if isinstance(target, str) and name not in found.setdefault(target, []):
                found[target].append(name)
    return found


def _listed(routes: list[str]) -> str:
    names = ", ".join(f"`{name}`" for name in routes[:5]) + (f" and {len(routes) - 5} more" if len(routes) > 5 else "")
    return f"the route {names} asks" if len(routes) == 1 else f"the routes {names} ask"
