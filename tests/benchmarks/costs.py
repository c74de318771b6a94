"""What a million requests cost in AWS, and of what: operations counted, prices from aws_prices.yaml.

A script: `python -m tests.benchmarks.costs`.  A fleet in virtual time (tests/fleet.py) plays three shapes of traffic,
all healthy; every call to the table is counted in the units DynamoDB bills.  Left out: tokens, data that leaves AWS,
traces, what costs by the month (README, "Deploy").
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.fleet import Fleet
from tests.providers import PROBE, Provider
from tests.virtual import run
from understudy.store.memory import MemoryTable
from understudy.store.table import Item, Key
from understudy.telemetry import JsonLogger

PRICES = yaml.safe_load(Path(__file__).with_name("aws_prices.yaml").read_text())
POLL = 0.25
"""Seconds between two looks of Lambda at a table stream (AWS Lambda developer guide, "Using AWS Lambda with Amazon
DynamoDB": four times a second)."""
FOLD = 0.02
"""Seconds of update_health for one record: an assumption, a read and a write."""
ROUTER_GB, ROOM_GB = 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Shape:
    """`rate` requests a second for `seconds`, each answered after about `takes`."""

    name: str
    rate: float
    seconds: float
    takes: float
    stream: bool


SHAPES = (
    Shape("chat, streamed", 20, 180, 5.0, True),
    Shape("short calls, whole", 50, 180, 0.8, False),
    Shape("now and then", 1 / 30, 3600, 3.0, True),
)


def size(item: Item) -> int:
    return len(json.dumps(item.body)) + sum(map(len, item.key)) + 40


class Billed(MemoryTable):
    """A table that counts calls and the units they are billed in (Amazon DynamoDB developer guide, "Read and write
    operations")."""

    def __init__(self) -> None:
        super().__init__()
        self.units: Counter[str] = Counter()

    def get(self, key: Key) -> Item | None:
        found = super().get(key)
        self._read(1.0, [found])
        return found

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        found = super().batch(keys)
        self._read(0.5, [found.get(key) for key in keys])
        return found

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        found = super().query(pk, prefix=prefix, limit=limit, newest=newest)
        self._read(1.0, list(found) or [None])
        return found

    def put(self, item: Item, *, seen: int | None = None) -> None:
        self.units["DynamoDB writes"] += 1
        self.units["dynamodb_write_unit"] += math.ceil(size(item) / 1024)
        super().put(item, seen=seen)

    def put_all(self, writes: Sequence[tuple[Item, int]]) -> Key | None:
        # Each of them is written twice (Amazon DynamoDB developer guide, "Transactional reads and writes").
        self.units["DynamoDB writes"] += len(writes)
        self.units["dynamodb_write_unit"] += sum(2 * math.ceil(size(item) / 1024) for item, _ in writes)
        return super().put_all(writes)

    def _read(self, share: float, items: Sequence[Item | None]) -> None:
        self.units["DynamoDB reads"] += 1
        self.units["dynamodb_read_unit"] += sum(share * math.ceil((size(i) if i else 1) / 4096) for i in items)


class Counted(Fleet):
    """A fleet that notes when a record of the stream is there for update_health."""

    def _changed(self, before: Item | None, after: Item) -> None:
        self.changes = [*getattr(self, "changes", []), self.now]
        super()._changed(before, after)


PRINTED = io.StringIO()
with contextlib.redirect_stdout(PRINTED):
    # Once: a logger keeps the output that it began with.
    LOGGER = JsonLogger("route_request", "INFO")


def logged_bytes(fleet: Fleet) -> int:
    """Bytes of the log lines as they are printed."""
    began = PRINTED.tell()
    for _, level, _, message, fields in fleet.lines:
        if level == "info":
            LOGGER.info(message, **fields)
    return PRINTED.tell() - began


def play(shape: Shape) -> dict[str, float]:
    """The billed amounts of a shape, for one request."""
    table = Billed()

    async def story() -> Counter[str]:
        gap = max(0.0, shape.takes - 0.5) / 19
        lead = Provider(first_token=0.5, gap=gap)
        environments = math.ceil(shape.rate * shape.takes * 1.1)
        async with Counted(lead, environments=environments, table=table) as fleet:
            table.units.clear()
            await fleet.traffic(shape.rate, shape.seconds, stream=shape.stream)
            found: Counter[str] = Counter(table.units)
            probes = sum(call.by == PROBE for call in fleet.providers.calls())
            ticks = math.floor(shape.seconds / 60)
            folds = len({math.floor(at / POLL) for at in fleet.changes})
            found["requests"] = len(fleet.records)
            found["api_request"] = len(fleet.records)
            found["lambda_request"] = len(fleet.records) + folds + ticks + math.ceil(probes / 10)
            router = sum(record.seconds for record in fleet.records) * ROUTER_GB
            found["lambda_gb_second"] = router + (len(fleet.changes) * FOLD + probes * 1.0 + ticks * 0.1) * ROOM_GB
            found["sqs_request"] = math.ceil(probes / 10) * 3
            found["log_gigabyte"] = logged_bytes(fleet) / 1e9
            assert not any(record.error for record in fleet.records)
            return found

    found = run(story())
    return {name: amount / found["requests"] for name, amount in found.items()}


def dollars(name: str, amount: float) -> float:
    price = PRICES[name]
    return amount * (price["each"] if "each" in price else price["per_million"] / 1e6)


def main() -> int:
    rows = {shape: play(shape) for shape in SHAPES}
    print("Per million requests, all healthy, one route with two targets, us-east-1, arm64 (amounts, then US dollars)")
    print(f"{'':<24}" + "".join(f"{shape.name:>28}" for shape in SHAPES))
    shown = [f"{shape.rate:.3g}/s, {shape.takes:g} s each" for shape in SHAPES]
    print(f"{'':<24}" + "".join(f"{text:>28}" for text in shown))
    for name in ("DynamoDB reads", "DynamoDB writes"):
        print(f"{name:<24}" + "".join(f"{row[name] * 1e6:>18,.0f}{'':>10}" for row in rows.values()))
    for name in PRICES:
        amounts = [row[name] * 1e6 for row in rows.values()]
        print(f"{name:<24}" + "".join(f"{amount:>18,.1f}{dollars(name, amount):>10.2f}" for amount in amounts))
    totals = [sum(dollars(name, row[name] * 1e6) for name in PRICES) for row in rows.values()]
    print(f"{'dollars':<24}" + "".join(f"{total:>28.2f}" for total in totals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
