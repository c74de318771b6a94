"""What the limits of client keys cost and how well they hold.

    python -m tests.benchmarks.key_limits [--rounds N] [--environments N]

First µs of one request by what its key has: until a provider is asked, and the CPU of all that is done beside it (up to
three calls of the table in threads, here of one in memory).  Then how far parallel environments go beyond a hard
budget, in virtual time: each asks one request after the other, the table takes 5 ms a call, answers differ in length.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from decimal import Decimal
from typing import Any

from tests.builders import Log, request
from tests.limited import LEAD, ROUTE, Overshoot, crowd
from tests.tables import FrailTable
from tests.unit.services.worlds import DOCUMENT
from tests.virtual import run
from understudy.catalog import Limits
from understudy.chat.usage import Usage
from understudy.facts import NO_CONSTRAINTS
from understudy.keys import ClientKey, KeyLimits, hash_key
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, Ranked
from understudy.services.admission import Admissions
from understudy.services.handling import Handling
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

NOW = 1_800_000_000.0
PLENTY = 10**8
KEYS: dict[str, dict[str, Any]] = {
    "no limits": {},
    "requests a minute": {"requests_per_minute": PLENTY},
    "money a day": {"usd_per_day": Decimal(PLENTY)},
    "all five limits": {
        "requests_per_minute": PLENTY,
        "tokens_per_minute": PLENTY,
        "concurrent": PLENTY,
        "usd_per_day": Decimal(PLENTY),
        "usd_per_month": Decimal(PLENTY),
    },
}
TIMES = 100
BUDGETS = (2, 10, 50, 200)
QUESTION, LIMITS = request(max_tokens=100), Limits()
DECISION = Decision("chat", (Ranked(LEAD, "healthy"),))


async def given() -> str:
    """A provider that has spoken already."""
    return "word"


async def admitted(admissions: Admissions, key: ClientKey) -> float:
    """One request from its admission to its end; returns the seconds until a provider may be asked."""
    handling = Handling(
        id="r",
        front="/chat/completions",
        client=key,
        request=QUESTION,
        route=ROUTE,
        decision=DECISION,
        bound=frozenset(),
        journal=Journal(),
        version=1,
        limits=LIMITS,
        constraints=NO_CONSTRAINTS,
        started_at=NOW,
    )
    began = time.perf_counter()
    await admissions.enter(handling)
    waited = time.perf_counter() - began
    await admissions.first(handling, given())
    attempt = handling.journal.begin(LEAD, NOW)
    attempt.usage, handling.journal.answering = Usage(2, 98), attempt
    admissions.leave(handling)
    await admissions.settle(1.0)
    return waited


async def costs(rounds: int) -> None:
    """Medians of interleaved rounds, so that a busy machine slows all of them alike."""
    store, log = Store(MemoryTable()), Log()
    publish(store, DOCUMENT, now=NOW, by="benchmark")
    store.put_key(ClientKey(hash_key("us-key"), "app", NOW))
    model, admissions = ReadModel(store, lambda: NOW, log), Admissions(store, lambda: NOW, log)
    checks: list[float] = []
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in KEYS}
    await model.catalog()
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(TIMES):
            await model.authenticate("us-key")
        checks.append((time.perf_counter() - began) / TIMES * 1e6)
        for number, (name, limits) in enumerate(KEYS.items()):
            key = ClientKey(f"{number:064d}", "app", NOW, limits=KeyLimits(**limits))
            began = time.process_time()
            waits = [await admitted(admissions, key) for _ in range(TIMES)]
            cpu = (time.process_time() - began) / TIMES
            found[name].append((statistics.median(waits) * 1e6, cpu * 1e6))
    print(f"the key's check: {statistics.median(checks):.1f} µs\n")
    print("a key with           until a provider is asked   CPU, beside one without limits")
    base = statistics.median(cpu for _, cpu in found["no limits"])
    for name, pairs in found.items():
        waited, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:20} {waited:22.1f} µs   {cpu - base:24.0f} µs")


def overshoots(environments: int) -> None:
    print(f"\nbudget  answered  overshoot  in requests  broken off  begun after   ({environments} environments)")
    for budget in BUDGETS:

        async def story(budget: int = budget) -> Overshoot:
            loop = asyncio.get_running_loop()
            store = Store(FrailTable(MemoryTable(), 0.005))
            return await crowd(store, lambda: NOW + loop.time(), Decimal(budget), environments, seed=budget)

        found = run(story())
        beside = f"{found.usd / found.dearest:11.1f}  {found.broken:10}  {found.after:11}"
        print(f"${budget:<6} {found.answered:8}  ${found.usd:<8.3f}  {beside}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--environments", type=int, default=50)
    options = parser.parse_args()
    asyncio.run(costs(options.rounds))
    overshoots(options.environments)


if __name__ == "__main__":
    main()
