"""Random control documents, keys, headers and states of health, and an oracle that knows who may be sent what.

The oracle shares nothing with the code it judges: it looks at the document as it is written, holds every demand against
it one by one, and never adds two of them up.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.builders import taking
from understudy.facts import Constraints
from understudy.health.breaker import Breaker
from understudy.health.finding import Hold
from understudy.health.item import Health

MIDNIGHT = 1_800_057_600.0
"""2027-01-16, 00:00 UTC."""
LIES_IN = {
    "de": {"de", "eu", "eea", "global"},
    "fr": {"fr", "eu", "eea", "global"},
    "no": {"no", "eea", "global"},
    "eu": {"eu", "eea", "global"},
    "us": {"us", "global"},
    "global": {"global"},
}
PLACES = ("de", "fr", "no", "eu", "us", "global")
WIDE = ("de", "eu", "eea", "us", "global")
PAPERS = ("SOC2", "ISO27001", "HIPAA-BAA")
MODELS = ("big", "small", "tiny")
FAMILIES = ("", "alpha", "beta")
SETS = ("parcels", "letters")
CLASSES = ("phi", "pii", "public")
Demands = Mapping[str, Any]


@dataclass(slots=True)
class Drawn:
    """One world: a canonical document, who asks, and how its targets do.  Demands are as a document writes them."""

    document: dict[str, Any]
    key: dict[str, Any]
    healths: list[Health]
    starts_at: float
    headers: list[dict[str, Any]] = field(default_factory=list)


def drawn(rng: random.Random) -> Drawn:
    names = [f"t{number}" for number in range(rng.randint(2, 6))]
    providers = [f"p{number}" for number in range(rng.randint(1, 4))]
    before = rng.choice((1.0, 3.0, 40_000.0))
    free = [(provider, model) for provider in providers for model in MODELS]
    rng.shuffle(free)
    names = names[: len(free)]
    targets = {name: _target(rng, *free[place]) for place, name in enumerate(names)}
    classes = {name: demands(rng, providers, 0.25) for name in CLASSES[: rng.randint(0, 3)]}
    routes = {f"r{number}": _route(rng, names, providers, list(classes)) for number in range(rng.randint(1, 3))}
    document = {
        "schema": 1,
        "providers": {name: {"wire": "openai", "base_url": f"https://{name}.example/v1"} for name in providers},
        "targets": targets,
        "data_classes": classes,
        "routes": routes,
        "health": {
            "probe": {"prompt": "[alive]", "usd_per_day": "100"},
            "quality": {
                "sets": rng.choice(([], [], [], [SETS[0]], [SETS[0]], ["core"])),
                "items": 2,
                "confirm_items": 2,
                "judge": rng.choice([None, *names, *names]),
            },
            "drift": {"prompts": 1},
            "breaker": {"jitter": 0},
        },
        "golden_sets": {name: _golden(name) for name in SETS},
    }
    key = demands(rng, providers, 0.15) if rng.random() < 0.4 else {}
    if classes and rng.random() < 0.2:
        key["data_classes"] = [rng.choice([*classes, "nowhere"])]
    return Drawn(document, key, [_health(rng, name, MIDNIGHT - before) for name in names], MIDNIGHT - before)


def _target(rng: random.Random, provider: str, model: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "jurisdictions": sorted(
            set(rng.choices(PLACES, weights=(5, 3, 1, 5, 2, 1), k=rng.choice((0, 1, 1, 1, 1, 1, 2))))
        ),
        "retention_days": rng.choice((None, 0, 0, 0, 0, 7, 30)),
        "trains_on_data": rng.choice((None, False, False, False, False, False, True)),
        "certifications": sorted(rng.sample(PAPERS, rng.choice((0, 2, 3, 3)))),
        "family": rng.choice(FAMILIES),
    }
    if rng.random() < 0.3:
        # Many end with the day before MIDNIGHT, which may be in the middle of a request.
        day = datetime.fromtimestamp(MIDNIGHT, UTC) + timedelta(days=rng.choice((-40, -1, -1, -1, 0, 400)))
        data["contract"] = {"id": "c", "expires": day.strftime("%Y-%m-%d")}
    can = {
        "prefill": rng.choice(("none", "message")),
        "streaming": rng.random() < 0.9,
        "embeddings": rng.random() < 0.3,
        "reasoning": rng.random() < 0.1,
    }
    return {"provider": provider, "model": model, "capabilities": can, "data": data}


def demands(rng: random.Random, providers: list[str], often: float) -> dict[str, Any]:
    """What a route, a class, a key or a request may demand, each demand as often."""
    given: dict[str, Any] = {
        "jurisdictions": lambda: sorted(rng.sample(WIDE, rng.choice((1, 1, 2)))),
        "max_retention_days": lambda: rng.choice((0, 7, 30)),
        "no_training": lambda: True,
        "certifications": lambda: sorted(rng.sample(PAPERS, rng.choice((1, 1, 2)))),
        "providers": lambda: sorted(rng.sample(providers, rng.randint(1, len(providers)))),
        "models": lambda: sorted(rng.sample(MODELS, rng.choice((1, 2, 2)))),
        "denied_providers": lambda: [rng.choice(providers)],
        "denied_models": lambda: [rng.choice((*MODELS, "alpha", "beta"))],
    }
    rare = {"providers": 0.3, "models": 0.3, "denied_providers": 0.3, "denied_models": 0.4}
    return {name: make() for name, make in given.items() if rng.random() < often * rare.get(name, 1.0)}


def _route(rng: random.Random, names: list[str], providers: list[str], classes: list[str]) -> dict[str, Any]:
    asked = rng.sample(names, rng.randint(1, len(names)))
    entries = [{"target": name, "order": rng.randint(1, 3)} for name in asked]
    constraints = demands(rng, providers, rng.choice((0.0, 0.1, 0.2, 0.35)))
    if classes and rng.random() < 0.3:
        constraints["data_classes"] = rng.sample(classes, 1)
    return {
        "targets": sorted(entries, key=lambda entry: entry["order"]),
        "constraints": constraints,
        "limits": {
            "first_token_s": 2,
            "first_token_min_s": 1,
            "stall_s": 2,
            "stall_min_s": 1,
            "request_s": 12,
            "first_token_reasoning_s": 3,
            "attempts_per_request": rng.choice((2, 4, 6)),
        },
        "strategy": rng.choice(("ordered", "ordered", "weighted", "fastest", "adaptive")),
        "assured": rng.random() < 0.1,
        "hedge": rng.random() < 0.5,
        "continue_in_user_turn": rng.random() < 0.5,
        "reroute_refusals": rng.random() < 0.5,
        "golden_sets": rng.sample(SETS, rng.choice((0, 1, 1, 2))),
        "feedback": False,
        "quarantine": rng.choice(("automatic", "manual", "off")),
        "canary": {"target": rng.choice(names), "share": 1.0} if rng.random() < 0.3 else None,
        "shadow": {"target": rng.choice(names), "share": 1.0} if rng.random() < 0.3 else None,
    }


def _golden(name: str) -> dict[str, Any]:
    texts = {"plain": {"kind": "exact", "answer": "x"}, "judged": {"kind": "judge", "rubric": "is it kind"}}
    items = [{"id": one, "prompt": f"[golden {name}] {one}", "checker": how} for one, how in texts.items()]
    return {"task": name, "items": items}


def _health(rng: random.Random, name: str, now: float) -> Health:
    fresh = {"last_ok_at": now - rng.choice((1.0, 500.0)), "first_tokens": taking(0.1, 100)}
    state = rng.choices(("closed", "open", "due", "half_open"), weights=(7, 1, 1, 1))[0]
    breaker = Breaker()
    if state == "open":
        breaker = Breaker("open", now - 1, now + 30, 1, 5, now - 2)
    elif state == "due":
        breaker = Breaker("open", now - 100, now - rng.choice((1, 80)), 1, 5, now - 2)
    elif state == "half_open":
        breaker = Breaker("half_open", now - 1, now - 1, 1)
    hold = None
    if rng.random() < 0.15:
        hold = Hold(rng.choice(("drained", "quarantined")), now - 60, rng.choice(("understudy", "ops")), "a test")
    benched = now + 20 if rng.random() < 0.1 else 0.0
    return Health(name, breaker, hold=hold, benched_until=benched, **fresh)  # type: ignore[arg-type]


def header(wanted: Demands) -> str:
    """Demands as a request's header writes them."""
    parts = []
    for name, value in wanted.items():
        word = "data_class" if name == "data_classes" else name
        text = ",".join(value) if isinstance(value, list) else str(value)
        parts.append(word if value is True else f"{word}={text}")
    return "; ".join(parts)


def constraints(wanted: Demands) -> Constraints:
    """Demands as a client key holds them."""
    found: dict[str, Any] = {name: frozenset(v) if isinstance(v, list) else v for name, v in wanted.items()}
    classes = found.pop("data_classes", frozenset())
    return Constraints(**found, classes=classes)


class Oracle:
    """Who may be sent what, by the document as it is written."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.targets: Mapping[str, Any] = document["targets"]
        self.routes: Mapping[str, Any] = document["routes"]
        self.classes: Mapping[str, Any] = document["data_classes"]
        self.everywhere: list[str] = document["health"]["quality"]["sets"]

    def may(self, name: str, wanted: Iterable[Demands], now: float) -> bool:
        """Whether the target meets every one of the demands, by itself, at that moment."""
        target = self.targets[name]
        ends = target["data"].get("contract", {}).get("expires")
        if ends is not None:
            last = datetime.fromisoformat(ends).replace(tzinfo=UTC)
            if now >= (last + timedelta(days=1)).timestamp():
                return False
        return all(self._meets(target, one) for one in wanted)

    def _meets(self, target: Mapping[str, Any], demanded: Demands) -> bool:
        data = target["data"]
        for name, wanted in demanded.items():
            if name == "jurisdictions":
                ok = bool(data["jurisdictions"]) and all(LIES_IN[one] & set(wanted) for one in data["jurisdictions"])
            elif name == "max_retention_days":
                ok = data["retention_days"] is not None and data["retention_days"] <= wanted
            elif name == "no_training":
                ok = data["trains_on_data"] is False
            elif name == "certifications":
                ok = set(wanted) <= set(data["certifications"])
            elif name in ("providers", "models"):
                ok = target[name.removesuffix("s")] in wanted
            elif name == "denied_providers":
                ok = target["provider"] not in wanted
            elif name == "denied_models":
                ok = target["model"] not in wanted and data["family"] not in wanted
            else:
                ok = all(one in self.classes and self._meets(target, self.classes[one]) for one in wanted)
            if not ok:
                return False
        return True

    def on_some_route(self, name: str, now: float) -> bool:
        """Whether a route that names the target may use it."""
        return any(self.may(name, [route["constraints"]], now) for route in self._naming(name))

    def asked_a_set(self, name: str, stream: str, now: float) -> bool:
        """Whether the target may see the questions of a golden set."""
        return self.may(name, [r["constraints"] for r in self.routes.values() if stream in r["golden_sets"]], now)

    def judges(self, name: str, stream: str, answered: str, now: float) -> bool:
        """Whether the target may see what another one has answered to them."""
        using = [r for r in self._naming(answered) if self.may(answered, [r["constraints"]], now)]
        asking = [r["constraints"] for r in using if stream in self.everywhere]
        return self.asked_a_set(name, stream, now) and self.may(name, asking, now)

    def _naming(self, name: str) -> list[Mapping[str, Any]]:
        found = []
        for route in self.routes.values():
            trials = [route[trial]["target"] for trial in ("canary", "shadow") if route[trial]]
            if name in [*trials, *(entry["target"] for entry in route["targets"])]:
                found.append(route)
        return found
