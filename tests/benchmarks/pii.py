"""The PII guard: what it finds and misses, how long it takes, what it adds to a build.

    python -m tests.benchmarks.pii

It needs the extra `pii` and prints precision and recall by kind on the labelled set (tests/fixtures/pii.yaml), the
milliseconds for 1,000 characters, the time that a first request waits for the library in a fresh interpreter, and the
size of the wheels.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

from understudy.catalog import PII_KINDS
from understudy.ports import PiiGuard

LABELLED = Path(__file__).parents[1] / "fixtures" / "pii.yaml"
SECONDS = 0.5
LOAD = """
import time
import understudy.services.route_request
began = time.perf_counter()
import understudy.services.guarding
from understudy.pii.checked import load
load()
print(time.perf_counter() - began)
"""
PROSE = "The quick brown fox jumps over the lazy dog, and order 12345 of 2024-05-06 came at 10:22 to page 120. "
DENSE = "ann@example.com 4111 1111 1111 1111 DE89 3704 0044 0532 0130 00 +49 30 901820 93.184.216.34 536-90-4399 "


@dataclass(slots=True)
class Counts:
    """By kind: found rightly, found wrongly, missed; `wrong` says which."""

    right: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def of(self, kind: str) -> tuple[float, float]:
        """Precision and recall."""
        right = self.right[kind]
        return right / max(1, right + self.false[kind]), right / max(1, right + self.missed[kind])


def labelled() -> list[Mapping[str, Any]]:
    made: list[Mapping[str, Any]] = yaml.safe_load(LABELLED.read_text())
    return made


def judged(guard: PiiGuard, rows: list[Mapping[str, Any]]) -> Counts:
    """A finding is right where kind and place are those of a label."""
    counts = Counts()
    for row in rows:
        text = row["text"]
        expected = {(kind, value) for kind in PII_KINDS for value in row.get(kind, ())}
        found = guard.find(text, PII_KINDS, frozenset(row.get("countries", ())))
        said = {(one.kind, text[one.start : one.end]) for one in found}
        counts.right.update(kind for kind, _ in expected & said)
        counts.false.update(kind for kind, _ in said - expected)
        counts.missed.update(kind for kind, _ in expected - said)
        known = row.get("missed", False)
        counts.wrong += [f"wrong  {kind}: {value!r} in {text!r}" for kind, value in sorted(said - expected)]
        counts.wrong += [
            f"missed {kind}: {value!r}{' (known)' if known else ''}" for kind, value in sorted(expected - said)
        ]
    return counts


def speed(guard: PiiGuard, text: str, countries: frozenset[str]) -> float:
    """Milliseconds for 1,000 characters."""
    text = (text * 200)[:10_000]
    guard.find(text, PII_KINDS, countries)
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        guard.find(text, PII_KINDS, countries)
        runs += 1
    return (time.perf_counter() - began) / runs * 1000 / 10


def size(name: str) -> float:
    """Megabytes of a package's files, bytecode aside."""
    files = distribution(name).files or ()
    return sum(Path(str(f.locate())).stat().st_size for f in files if f.suffix != ".pyc") / 1e6


def main() -> None:
    from understudy.pii.checked import load

    guard, rows = load(), labelled()
    counts = judged(guard, rows)
    print(f"{len(rows)} texts\n{'kind':<14}{'labels':>8}{'precision':>11}{'recall':>8}")
    for kind in sorted(PII_KINDS):
        precision, recall = counts.of(kind)
        print(f"{kind:<14}{counts.right[kind] + counts.missed[kind]:>8}{precision:>11.2f}{recall:>8.2f}")
    print("\n".join(counts.wrong))
    print("\nms for 1,000 characters      no country    de, us")
    for name, text in (
        ("prose with numbers", PROSE),
        ("nothing but findings", DENSE),
        ("plain words", "only words " * 9),
    ):
        figures = [speed(guard, text, countries) for countries in (frozenset[str](), frozenset({"de", "us"}))]
        print(f"{name:<24}{figures[0]:>15.2f}{figures[1]:>10.2f}")
    times = [float(subprocess.check_output([sys.executable, "-c", LOAD])) for _ in range(5)]
    print(f"\nloaded by a first request: {min(times) * 1000:.0f} ms (least of 5, bytecode there)")
    print(", ".join(f"{name}: {size(name):.1f} MB" for name in ("phonenumberslite", "python-stdnum")))


if __name__ == "__main__":
    main()
