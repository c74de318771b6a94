"""What must hold between the parts of a control document, and what is odd without being wrong.

`across` takes the data as it was read, which may be wrong in any other way: whatever has not the expected
shape is passed over here, because the schema reports it.  So one reading shows every problem at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from understudy.catalog import BreakerSettings, Limits, ScoreSettings
from understudy.control import demands, lifecycle, probing, profiles, protocols
from understudy.control.checks import LITERAL_KEY, PASTED_KEY, STORE_THE_KEY, guess
from understudy.control.paths import Path
from understudy.control.protocols import as_mapping
from understudy.control.source import Finding, Mark, Tree

_SCORE = ScoreSettings()
_DEFAULT_LIMITS = {
    "connect_s": Limits().connect,
    "first_token_s": Limits().first_token,
    "stall_s": Limits().stall,
    "request_s": Limits().request,
}


_DRAWING = ("weighted", "adaptive")
"""Strategies that draw among all targets of a route."""
_BOUNDS = {"min_quality": "cheapest", "max_price_per_million": "best"}
"""Fields of a route, each with the strategy that looks at it."""


def pasted_keys(tree: Tree, text: str) -> Iterator[Finding]:
    """Lines that hold what looks like a literal key; comments count, as the source is stored as written."""
    lines = [
        (number, match.start() + 1)
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := PASTED_KEY.search(line))
    ]
    places: dict[int, list[tuple[int, Path]]] = {}
    for path, mark in tree.marks.items() if lines else ():
        places.setdefault(mark.line, []).append((mark.column, path))
    for line, column in lines:
        before = [place for place in places.get(line, ()) if place[0] <= column]
        nearest = max(before, key=lambda place: place[0])[1] if before else ()
        yield Finding(nearest, LITERAL_KEY, STORE_THE_KEY, Mark(line, column))


def across(value: Any) -> Iterator[Finding]:
    """Names that lead nowhere, entries without effect, contradicting limits, constraints nobody meets."""
    document = as_mapping(value)
    targets = as_mapping(document.get("targets"))
    routes = as_mapping(document.get("routes"))
    providers = as_mapping(document.get("providers"))
    yield from _dangling_providers(targets, providers)
    yield from protocols.findings(targets, providers)
    yield from probing.findings(document, targets)
    yield from demands.findings(document)
    yield from profiles.findings(targets, providers)
    yield from lifecycle.findings(targets)
    for name, route in routes.items():
        entries = list(_entries(as_mapping(route).get("targets")))
        path: Path = ("routes", name)
        yield from _dangling_targets(path, entries, targets)
        yield from _repeated(path, entries)
        strategy = as_mapping(route).get("strategy", "ordered")
        yield from _idle_weights(path, entries, strategy)
        yield from _idle_bounds(path, as_mapping(route), strategy)
        for trial in ("canary", "shadow"):
            named = as_mapping(as_mapping(route).get(trial)).get("target")
            if isinstance(named, str) and named not in targets:
                yield Finding((*path, trial, "target"), f"there is no target `{named}`.", guess(named, targets))
    yield from _limits(as_mapping(as_mapping(document.get("defaults")).get("limits")), routes)
    yield from _breaker(as_mapping(as_mapping(document.get("health")).get("breaker")))
    yield from _score(as_mapping(as_mapping(document.get("health")).get("score")))


def _dangling_providers(targets: Mapping[str, Any], providers: Mapping[str, Any]) -> Iterator[Finding]:
    for name, target in targets.items():
        provider = as_mapping(target).get("provider")
        if isinstance(provider, str) and provider not in providers:
            path = ("targets", name, "provider")
            yield Finding(path, f"there is no provider `{provider}`.", guess(provider, providers))


Entry = tuple[Path, str, int, float]


def _entries(value: Any) -> Iterator[Entry]:
    """The readable entries of a route: where the target is named, the target, its order and its weight."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        entry = {"target": item} if isinstance(item, str) else as_mapping(item)
        target, order, weight = entry.get("target"), entry.get("order"), demands.number(entry.get("weight", 1.0))
        order = index + 1 if order is None else order
        if isinstance(target, str) and type(order) is int and weight is not None:
            step: Path = ("targets", index) if isinstance(item, str) else ("targets", index, "target")
            yield step, target, order, weight


def _dangling_targets(path: Path, entries: Sequence[Entry], targets: Mapping[str, Any]) -> Iterator[Finding]:
    for step, target, _, _ in entries:
        if target not in targets:
            yield Finding(path + step, f"there is no target `{target}`.", guess(target, targets))


def _repeated(path: Path, entries: Sequence[Entry]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for step, target, _, _ in entries:
        if target in first:
            message = f"the target `{target}` is on this route already, as targets[{first[target]}]."
            yield Finding(path + step, message, "name each target once; retries are set in `limits`")
        else:
            first[target] = int(step[1])


def _idle_weights(path: Path, entries: Sequence[Entry], strategy: Any) -> Iterator[Finding]:
    shared = Counter(order for _, _, order, _ in entries)
    for step, _, order, weight in entries:
        place = (*path, *step[:2], "weight")
        if weight == 1 or strategy in _DRAWING:
            continue
        if strategy != "ordered":
            yield Finding(place, f"weight has no effect: the strategy `{strategy}` draws nothing.", "remove it")
        elif shared[order] == 1:
            message = f"weight has no effect: no other target of this route has order {order}."
            yield Finding(place, message, "remove it, or give another target the same `order`")


def _idle_bounds(path: Path, route: Mapping[str, Any], strategy: Any) -> Iterator[Finding]:
    """A floor or a ceiling that the route's strategy does not look at."""
    for field, meant in _BOUNDS.items():
        if route.get(field) is not None and strategy != meant:
            message = f"{field} has no effect: it belongs to the strategy `{meant}`."
            yield Finding((*path, field), message, f"remove it, or write `strategy: {meant}`")


def _score(score: Mapping[str, Any]) -> Iterator[Finding]:
    """A score must be made of something."""
    weights = {name: score.get(name, getattr(_SCORE, name)) for name in ("availability", "latency", "quality", "cost")}
    if all(value == 0 for value in weights.values()):
        yield Finding(("health", "score"), "every weight is 0.", "give one of them a weight above 0")


def _limits(defaults: Mapping[str, Any], routes: Mapping[str, Any]) -> Iterator[Finding]:
    """One wait must not be longer than the whole request.  Reported where the document says so, once."""
    places: list[tuple[Path, Mapping[str, Any], Mapping[str, Any]]] = [
        (("defaults", "limits"), defaults, _DEFAULT_LIMITS)
    ]
    for name, route in routes.items():
        own = as_mapping(as_mapping(route).get("limits"))
        places.append((("routes", name, "limits"), own, _DEFAULT_LIMITS | dict(defaults)))
    for place in places:
        yield from _too_long(*place)
        yield from _shortest(*place)


def _too_long(path: Path, own: Mapping[str, Any], inherited: Mapping[str, Any]) -> Iterator[Finding]:
    effective = dict(inherited) | dict(own)
    whole = demands.number(effective.get("request_s"))
    for field in ("connect_s", "first_token_s"):
        wait = demands.number(effective.get(field))
        if whole is None or wait is None or wait <= whole or not own.keys() & {field, "request_s"}:
            continue
        place = field if field in own else "request_s"
        fix = f"set `{field}` to {whole:g} or less, or raise `request_s`"
        yield Finding((*path, place), f"{field} ({wait:g}) is longer than request_s ({whole:g}).", fix)


def _shortest(path: Path, own: Mapping[str, Any], inherited: Mapping[str, Any]) -> Iterator[Finding]:
    effective = dict(inherited) | dict(own)
    for short, long in (("first_token_min_s", "first_token_s"), ("stall_min_s", "stall_s")):
        least, most = demands.number(effective.get(short)), demands.number(effective.get(long))
        # Where only the longest wait is given, the shortest follows it.
        if least is not None and most is not None and least > most and short in own:
            message = f"{short} ({least:g}) is longer than {long} ({most:g})."
            yield Finding((*path, short), message, f"set it to {most:g} or less")


def _breaker(breaker: Mapping[str, Any]) -> Iterator[Finding]:
    """Open times must not fall: first, steady, longest."""
    settings = BreakerSettings()
    known = {
        "open_first_s": settings.open_first,
        "open_steady_s": settings.open_steady,
        "open_max_s": settings.open_max,
    }
    times = [(field, demands.number(breaker.get(field, default))) for field, default in known.items()]
    for (low, shorter), (high, longer) in pairwise(times):
        if shorter is not None and longer is not None and shorter > longer:
            place = low if low in breaker else high
            message = f"{low} ({shorter:g}) is longer than {high} ({longer:g})."
            yield Finding(("health", "breaker", place), message, f"set `{low}` to {longer:g} or less")


def oddities(document: Mapping[str, Any], now: float | None = None) -> Iterator[str]:
    """Sentences about a canonical document: what nobody uses, targets that constraints deny, copies that
    may cost anything, protocols."""
    used = {entry["target"] for route in document["routes"].values() for entry in _asked(route)}
    for name in document["targets"]:
        if name not in used:
            yield f"No route uses the target `{name}`."
    called = {target["provider"] for target in document["targets"].values()}
    for name in document["providers"]:
        if name not in called:
            yield f"No target uses the provider `{name}`."
    yield from demands.oddities(document, now)
    for name, route in document["routes"].items():
        # Documents of before there were shadows have none.
        if (shadow := route.get("shadow")) and route["limits"].get("max_cost_usd") is None:
            share, target = f"{100 * shadow['share']:.3g}%", shadow["target"]
            yield (
                f"The route `{name}` copies {share} of its requests to `{target}`, and nothing limits what that costs: "
                f"set routes.{name}.limits.max_cost_usd, for each copy, and a small share."
            )
        if route.get("audit_content"):
            yield (
                f"The audit keeps every prompt and answer of the route `{name}` for as long as logs and their copies "
                f"last, for whoever may read those. Remove routes.{name}.audit_content where that is not meant."
            )
    for name, route in document["routes"].items():
        demanded = demands.effective(route["constraints"], as_mapping(document.get("data_classes")))
        modes = (route.get("pii") or {}).get("mode", "off"), demanded.pii
        if any(mode != "off" for mode in modes):
            yield (
                f"The route `{name}` guards personal data: it answers 503 unless the data plane was built with the PII "
                "library (infra/pii.md)."
            )
    yield from protocols.oddities(document)
    yield from lifecycle.oddities(document, now)
    yield from probing.oddities(document)


def _asked(route: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of a canonical route, its canary and its shadow among them, each target once."""
    trials = [route[name] for name in ("canary", "shadow") if route.get(name)]
    return list({entry["target"]: entry for entry in (*trials, *route["targets"])}.values())
