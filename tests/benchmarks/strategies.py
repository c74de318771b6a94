"""What ranking costs: µs of one decision by strategy, and of working out what is known of a route's targets.

    python -m tests.benchmarks.strategies [--rounds N]

Decisions are interleaved, so that a busy machine slows all of them alike.  `ordered, nothing known` is what a decision
was before there were scores.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from tests.builders import by, target
from understudy.catalog import Candidate, HealthSettings, Price, Route
from understudy.health.finding import Quality
from understudy.health.item import Health
from understudy.health.standing import Standing
from understudy.health.usual import Usual
from understudy.routing.policy import decide
from understudy.routing.scorers import Outlook, outlook

NOW = 1_800_000_000.0
STRATEGIES = ("ordered", "weighted", "fastest", "cheapest", "best", "adaptive")
STANDING = Standing()


def world(count: int) -> tuple[Route, dict[str, Health]]:
    price = Price(Decimal("2"), Decimal("8"))
    candidates = tuple(Candidate(target(f"t{n}", price=price), n + 1) for n in range(count))
    known = {
        c.target.name: Health(
            c.target.name,
            score=0.9,
            last_ok_at=NOW - c.order,
            usual=Usual(0.5 + c.order / 10, 0.5, 100, NOW),
            quality={"": Quality(0.9 - c.order / 100, 60, NOW, 0.9)},
        )
        for c in candidates
    }
    return Route("chat", candidates), known


def timed(call: Callable[[], object], times: int = 50) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times * 1e6


def deciding(route: Route, known: Outlook) -> Callable[[], object]:
    rng = random.Random(1)
    return lambda: decide(
        route, judged=by(route), unfit=lambda _: None, standing=lambda _: STANDING, rng=rng, outlook=known
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    settings = HealthSettings()
    print(f"µs, medians of {rounds} interleaved rounds of 50")
    for count in (2, 5, 10):
        route, health = world(count)
        calls: dict[str, Callable[[], object]] = {"ordered, nothing known": deciding(route, Outlook())}
        for strategy in STRATEGIES:
            of = replace(route, strategy=strategy)
            calls[strategy] = deciding(of, outlook(of, health, settings, NOW))
        of = replace(route, strategy="adaptive")
        calls["working out what is known"] = lambda of=of, health=health: outlook(of, health, settings, NOW)
        took: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for name, call in calls.items():
                took[name].append(timed(call))
        before = statistics.median(took["ordered, nothing known"])
        print(f"\n{count} candidates{'':<20}{'a decision':>12}{'added a candidate':>20}")
        for name, found in took.items():
            middle = statistics.median(found)
            added = middle if name.startswith("working") else middle - before
            print(f"  {name:<30}{middle:12.1f}{added / count:20.2f}")


if __name__ == "__main__":
    main()
