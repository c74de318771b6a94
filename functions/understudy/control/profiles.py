"""Profiles: model names that stand for more than one region, and where what is sent to them may be processed.

The rows are data (`profiles.yaml`, which says what each field means).  `expand` writes their jurisdictions down where a
target declares none, before the schema sees the document, as `presets.expand` does; `findings` are targets that declare
less than their profile may use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from understudy.control.protocols import as_mapping, region_of
from understudy.control.source import Finding, read
from understudy.jurisdictions import outside

_ARN = re.compile(r"arn:[a-z-]+:[a-z-]+:[a-z0-9-]*:[0-9]*:inference-profile/(.+)")


@dataclass(frozen=True, slots=True)
class Service:
    """One row of `profiles.yaml`."""

    name: str
    wires: tuple[str, ...]
    host: str
    profiles: Mapping[str, tuple[str, ...]]
    regions: Mapping[str, str]
    source: tuple[str, ...]
    date: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a target's profile may send what it is given."""

    profile: str
    jurisdictions: frozenset[str]


@lru_cache(maxsize=1)
def services() -> tuple[Service, ...]:
    """Every row, in the order of the file."""
    text = resources.files("understudy.control").joinpath("profiles.yaml").read_text("utf-8")
    return tuple(_service(name, row) for name, row in read(text).value.items())


def _service(name: str, row: Mapping[str, Any]) -> Service:
    profiles = {profile: tuple(places) for profile, places in row["profiles"].items()}
    rest = {field: tuple(row[field]) for field in ("wires", "source")}
    return Service(name, profiles=profiles, host=row["host"], regions=row["regions"], date=row["date"], **rest)


def reach(target: Mapping[str, Any], provider: Mapping[str, Any]) -> Reach | None:
    """Where a target may be processed by its profile; None where its model is no profile that is known here."""
    model, base_url = target.get("model"), provider.get("base_url")
    if not isinstance(model, str):
        return None
    host = _host(base_url)
    service = next((s for s in services() if provider.get("wire") in s.wires or re.fullmatch(s.host, host)), None)
    if service is None:
        return None
    named = found[1] if (found := _ARN.fullmatch(model)) else model
    fitting = [profile for profile in service.profiles if named.startswith(f"{profile}.") or named == profile]
    if not fitting:
        return None
    profile = max(fitting, key=len)
    places = frozenset(service.profiles[profile])
    source = region_of(base_url) or as_mapping(provider.get("sigv4")).get("region")
    own = service.regions.get(source) if isinstance(source, str) else None
    if own is not None and outside(frozenset({own}), places):
        places |= {own}
    return Reach(profile, places)


def expand(value: Any) -> Any:
    """A document as it was read, presets written out, with the jurisdictions of profiles where a target has none."""
    targets = value.get("targets") if isinstance(value, Mapping) else None
    if not isinstance(targets, Mapping):
        return value
    providers = as_mapping(value.get("providers"))
    return {**value, "targets": {name: _declared(target, providers) for name, target in targets.items()}}


def _declared(target: Any, providers: Mapping[str, Any]) -> Any:
    if not isinstance(target, Mapping) or not isinstance(data := target.get("data", {}), Mapping):
        return target
    found = reach(target, _provider(target, providers))
    if found is None or data.get("jurisdictions", []) != []:
        return target
    return {**target, "data": {**data, "jurisdictions": sorted(found.jurisdictions)}}


def findings(targets: Mapping[str, Any], providers: Mapping[str, Any]) -> Iterator[Finding]:
    """Targets that declare fewer jurisdictions than their profile may use; takes a document as it was read."""
    for name, target in targets.items():
        declared = as_mapping(as_mapping(target).get("data")).get("jurisdictions")
        known = reach(as_mapping(target), _provider(as_mapping(target), providers))
        if known is None or not isinstance(declared, list):
            continue
        told = frozenset(place for place in declared if isinstance(place, str))
        if declared and (missing := outside(known.jurisdictions, told)):
            path = ("targets", name, "data", "jurisdictions")
            message = f"the profile `{known.profile}` of its model may process in {', '.join(missing)} as well."
            fix = f"write [{', '.join(sorted(told | set(missing)))}], or name a model that stays where you want it"
            yield Finding(path, message, fix)


def _provider(target: Mapping[str, Any], providers: Mapping[str, Any]) -> Mapping[str, Any]:
    name = target.get("provider")
    return as_mapping(providers.get(name)) if isinstance(name, str) else {}


def _host(base_url: Any) -> str:
    try:
        return (urlsplit(base_url).hostname or "") if isinstance(base_url, str) else ""
    except ValueError:
        return ""
