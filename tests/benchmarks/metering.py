"""What metering costs: microseconds of a request, write units, bytes of a ledger line.

    PYTHONPATH=functions:. python -m tests.benchmarks.metering

Write units are those of DynamoDB: one for each begun kilobyte of the item that is written (Amazon DynamoDB developer
guide, "Provisioned capacity mode", "Write request units").
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.builders import Log, target
from understudy.catalog import Candidate, Price, Route
from understudy.chat.usage import Usage
from understudy.keys import ClientKey
from understudy.ports import Token
from understudy.prices import LongPrompt
from understudy.pricing.cost import cost
from understudy.routing.journal import Attempt, Journal
from understudy.services.metering import Metering, charges_of
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Item, Key

NOW = 1_795_780_800.0
REQUESTS = 20_000
PRICE = Price(
    Decimal("2"),
    Decimal("8"),
    kinds={"cached": Decimal("0.5")},
    long_prompts=(LongPrompt(200_000, {"input": Decimal(4)}),),
    service_tiers={"flex": {"input": Decimal(1)}},
)
LEAD, SPARE = (target(name, price=PRICE) for name in ("gpt-lead", "claude-understudy"))
USAGE = Usage(1500, 300, cached_tokens=1000)


class Handled:
    """What metering reads of a request."""

    def __init__(self, *targets: Any) -> None:
        self.client = ClientKey("c" * 64, "app", NOW)
        self.route = Route("chat", (Candidate(LEAD, 1), Candidate(SPARE, 2)))
        attempts = [Attempt(one, NOW, outcome="ok", usage=USAGE, open=False) for one in targets]
        self.journal = Journal(attempts, answering=attempts[-1])


class Nowhere:
    """A ledger that costs nothing."""

    def charge(self, *_: object) -> None:
        """Nothing is written."""


class Counted(MemoryTable):
    """Counts the write units of what is added."""

    units = 0

    def _added(self, key: Key, amounts: Any, ttl: float) -> dict[str, int]:
        sums = super()._added(key, amounts, ttl)
        self.units += math.ceil(size(Item(key, sums, ttl=ttl)) / 1024)
        return sums


def size(item: Item) -> int:
    """Bytes as DynamoDB counts them: names and texts by their length, a number by half its digits and one."""
    numbers = [*item.body.values(), int(item.ttl or 0)]
    names = sum(len(name) for name in (*item.body, "pk", "sk", "ttl"))
    return names + sum(map(len, item.key)) + sum(-(-len(str(number)) // 2) + 1 for number in numbers)


def each(call: Any, times: int = REQUESTS) -> float:
    """Microseconds of one call, the best of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(times // 5):
            call()
        rounds.append((time.perf_counter() - began) / (times // 5) * 1e6)
    return min(rounds)


async def on_the_path(handled: Any) -> list[float]:
    """Microseconds that `request` takes, and those that all of it takes with a table that costs nothing."""
    metering = Metering(Nowhere(), lambda: NOW, Log())  # type: ignore[arg-type]
    called, whole = [], []
    for _ in range(2000):
        began = time.perf_counter()
        metering.request(handled)
        called.append((time.perf_counter() - began) * 1e6)
        await metering.settle(1.0)
        whole.append((time.perf_counter() - began) * 1e6)
    return [statistics.median(called), statistics.median(whole)]


def units(environments: int, handled: Any, requests: int = 200) -> tuple[float, float, int]:
    """Write units of a request, bytes of a ledger item, and its lines, after so many environments wrote to an account
    on one day."""
    table = Counted()
    store = Store(table)
    charges = charges_of(handled)
    for writer in range(environments):
        for number in range(max(1, requests // environments)):
            store.charge("c" * 64, charges, Token(f"{writer:010x}", int(NOW * 1000) + number), NOW)
    writes = environments * max(1, requests // environments)
    items = table.query(f"ledger#{'c' * 64}")
    return table.units / writes, statistics.mean(size(item) for item in items), len(charges)


def main() -> None:
    one, two = Handled(LEAD), Handled(SPARE, LEAD)
    print(f"cost of one attempt       {each(lambda: cost(USAGE, PRICE)):7.1f} µs")
    print(f"charges of a request      {each(lambda: charges_of(one)):7.1f} µs")
    called, whole = asyncio.run(on_the_path(one))
    print(f"told of a request         {called:7.1f} µs (in the event loop, before the caller's last byte is through)")
    print(f"… and written             {whole:7.1f} µs (the table's own time apart)")
    price = yaml.safe_load(Path(__file__).with_name("aws_prices.yaml").read_text())["dynamodb_write_unit"][
        "per_million"
    ]
    for handled in (one, two):
        for environments in (1, 10, 50, 500):
            per, size_, lines = units(environments, handled)
            print(
                f"{lines} line(s), {environments:3} environments: {per:.2f} write units a request "
                f"(${per * price:.2f} a million requests), {size_:.0f} bytes an item"
            )


if __name__ == "__main__":
    main()
