"""What a record of the audit costs: its bytes, the time it takes a request, and how fast records are verified.

python -m tests.benchmarks.auditing
"""

from __future__ import annotations

import asyncio
import io
import random
import statistics
import time
from dataclasses import replace
from decimal import Decimal

from tests.builders import Log, request, target
from understudy.audit.reading import entries
from understudy.audit.verify import Verification
from understudy.catalog import Candidate, Price, Route, Target
from understudy.chat.usage import Usage
from understudy.errors import Transient
from understudy.facts import Constraints
from understudy.health.standing import Standing
from understudy.keys import ClientKey, hash_key
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, Ranked
from understudy.services.audit import Audit
from understudy.services.handling import Handling
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

ROUNDS = 20_000
PRICED = Price(Decimal("2.50"), Decimal(10))


def answered(attempts: int) -> Handling:
    """A request that was answered at its last attempt, on a route of three targets with constraints."""
    targets = [replace(target(name), model="a-model-2026-05", price=PRICED) for name in ("lead", "understudy", "third")]
    route = Route("support-chat", tuple(Candidate(one, n) for n, one in enumerate(targets)))
    journal = Journal()
    for number in range(attempts):
        _attempt(journal, targets[number % 3], last=number == attempts - 1)
    ranked = tuple(Ranked(one, f"place {n}, {Standing().reason}") for n, one in enumerate(targets, start=1))
    constraints = Constraints(jurisdictions=frozenset({"eu"}), max_retention_days=30, no_training=True)
    client = ClientKey(hash_key("us-x"), "support-team", 0.0, owner="ann@example.com")
    return Handling(
        "3f2c9a54-57a4-4b7e-9a53-1f6f3c9d1e55",
        "/chat/completions",
        client,
        request(),
        route,
        Decision(route.name, ranked),
        frozenset(),
        journal,
        12,
        route.limits,
        constraints,
        time.time() - 1,
    )


def _attempt(journal: Journal, asked: Target, *, last: bool) -> None:
    attempt = journal.begin(asked, time.time())
    attempt.model, attempt.fingerprint = "a-model-2026-05-13", "fp_0a1b2c3d4e"
    if last:
        attempt.outcome, attempt.first_token, journal.answering = "ok", 0.4, attempt
        attempt.usage = Usage(812, 214)
    else:
        attempt.failed(Transient("status 503", status=503))
    attempt.close(time.time() + 1.2, Usage(0, 0))


async def main() -> None:
    lines: list[str] = []
    audit = Audit(Store(MemoryTable()), lines.append, clock=time.time, logger=Log(), rng=random.Random(1))
    for attempts in (1, 3):
        handling = answered(attempts)
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            audit.answered(handling, None, time.time())
            took.append(time.perf_counter() - began)
        print(f"{attempts} attempt(s): {len(lines[-1]) + 1} bytes, {statistics.median(took) * 1e6:.0f} µs a record")
    await audit.settle(1)
    whole = "\n".join(lines).encode()
    verification, began = Verification(), time.perf_counter()
    for found in entries(io.BytesIO(whole), "records"):
        verification.take(found)
    report = verification.report()
    rate = report.records / (time.perf_counter() - began)
    print(
        f"{report.records} records of {len(whole) / 1e6:.0f} MB verified, {rate:,.0f} records/s, "
        f"{len(report.flaws)} open end"
    )


if __name__ == "__main__":
    asyncio.run(main())
