"""What the router costs: time added to a request, import time, DynamoDB calls.

A script: `python -m tests.benchmarks.overhead`.  The machine decides times, so nothing fails for being slow: they are
printed beside a reference measured in the same run.  Everything is on loopback, the simulators in their own processes.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from tests.benchmarks.harness import ROOT, Bench, Sample, bench
from understudy.catalog import HealthSettings
from understudy.services.read_model import EARLY, TTL

SHORT, LONG = "count to 8", "count to 200"
PAIRS = 400
WARM_UP = 30
IMPORTS = 7
REQUESTS = 1000
CALL_LIMIT = 20
"""DynamoDB calls that 1,000 healthy requests may cost."""
TARGETS = 1
"""Targets that take traffic while all are healthy."""

# What is compared: name, the caller's request, and the direct request that stands against it.
Case = tuple[str, tuple[str, bool], tuple[str, bool]]
CASES: tuple[Case, ...] = (
    ("whole, short", (SHORT, False), (SHORT, True)),
    ("whole, short, vs. JSON", (SHORT, False), (SHORT, False)),
    ("stream, short", (SHORT, True), (SHORT, True)),
    ("whole, long", (LONG, False), (LONG, True)),
    ("stream, long", (LONG, True), (LONG, True)),
)


def p(share: float, values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


MEASURES: dict[str, Callable[[list[Sample]], float]] = {
    "p50": lambda found: p(0.50, [s.total for s in found]),
    "p99": lambda found: p(0.99, [s.total for s in found]),
    "p99 quiet": lambda found: p(0.99, [s.total for s in found if not s.table_call]),
    "CPU p50": lambda found: p(0.50, [s.cpu for s in found]),
}


def added_time(bench: Bench, pairs: int) -> None:
    found: dict[str, tuple[list[Sample], list[Sample]]] = {name: ([], []) for name, _, _ in CASES}
    for number in range(WARM_UP + pairs):
        for name, asked, against in CASES:
            for way in (0, 1) if number % 2 else (1, 0):
                sample = bench.routed(*asked) if way else bench.direct(*against)
                if number >= WARM_UP:
                    found[name][way].append(sample)
    print(f"\n1. Time added by the handler: {pairs} interleaved pairs a case after {WARM_UP} for warm-up; milliseconds")
    print(f"   short: {SHORT!r}, long: {LONG!r}; direct: the same httpx settings, the body read unparsed")
    print("   the provider streams on both sides (as the router always asks it to), except where `vs. JSON` is said")
    print("   quiet: without requests during which a DynamoDB call was under way (moto works in this process)")
    print(f"   {'':<41}" + "".join(f"{column:>10}" for column in ("direct", "handler", "added", "ratio")))
    for name, (direct, routed) in found.items():
        for number, (label, value) in enumerate(MEASURES.items()):
            a, b = value(direct) * 1e3, value(routed) * 1e3
            print(f"   {'' if number else name:<24}{label:<17}{a:10.2f}{b:10.2f}{b - a:+10.2f}{b / a:9.2f}x")
    per_chunk(found["stream, short"], found["stream, long"])


def per_chunk(short: tuple[list[Sample], list[Sample]], long: tuple[list[Sample], list[Sample]]) -> None:
    chunks = [statistics.median(s.chunks for s in one[1]) for one in (short, long)]
    more = chunks[1] - chunks[0]
    print(f"\n   Per stream chunk: medians of the {chunks[1]:.0f} chunks of `stream, long`")
    print(f"   {'':<41}" + "".join(f"{column:>10}" for column in ("direct", "handler", "added", "ratio")))
    rates = [chunks[1] / p(0.50, [s.total for s in way]) for way in long]
    print(f"   {'chunks/s, whole request':<41}{rates[0]:10.0f}{rates[1]:10.0f}{'':>10}{rates[1] / rates[0]:9.2f}x")
    for label in ("p50", "CPU p50"):
        # Two lengths, so that what a request costs once is not shared out among its chunks.
        a, b = ((MEASURES[label](long[way]) - MEASURES[label](short[way])) / more * 1e6 for way in (0, 1))
        shown = f"µs a further chunk{', CPU' if label != 'p50' else ''}"
        print(f"   {shown:<41}{a:10.1f}{b:10.1f}{b - a:+10.1f}{b / a:9.2f}x")


def import_time() -> None:
    # What bootstrap imports for the room later is imported with it; cold_start.py measures the whole way.
    names = ("httpx", "route_request.handler, understudy.transport.http")
    timed = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    print(f"\n2. Import time: median of {IMPORTS} fresh interpreters each, interleaved; milliseconds")
    print(f"   {'':<41}" + "".join(f"{column:>10}" for column in ("httpx", "handler", "added", "ratio")))
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as empty:
        compiled = {"PYTHONPYCACHEPREFIX": kept, "PYTHONDONTWRITEBYTECODE": ""}
        source = {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        for label, environ in (("byte code cached", compiled), ("none cached, the standard library's neither", source)):
            took: dict[str, list[float]] = {name: [] for name in names}
            for number in range(1 + IMPORTS):
                for name in names:
                    seconds = float(_python(environ, "-c", timed.format(name)).stdout)
                    # The first one fills the cache.
                    took[name] += [seconds] if number else []
            a, b = (statistics.median(took[name]) * 1e3 for name in names)
            print(f"   {label:<43}{a:8.1f}{b:10.1f}{b - a:+10.1f}{b / a:9.2f}x")
        slowest(_python(compiled, "-X", "importtime", "-c", f"import {names[1]}").stderr)


def slowest(report: str) -> None:
    rows = [line.partition(":")[2].split("|") for line in report.splitlines() if line.count("|") == 2]
    modules = [(int(own), int(whole), name.strip()) for own, whole, name in rows if own.strip().isdigit()]
    print("   five slowest modules by -X importtime (which itself costs time): alone, with what they import first")
    for own, whole, name in sorted(modules, reverse=True)[:5]:
        print(f"   {name:<41}{own / 1e3:10.1f}{whole / 1e3:10.1f}")
    packages: dict[str, int] = defaultdict(int)
    for own, _, name in modules:
        packages[name.partition(".")[0]] += own
    top = sorted(packages.items(), key=lambda item: -item[1])[:5]
    print("   by package, all its modules: " + ", ".join(f"{name} {own / 1e3:.1f}" for name, own in top))


def _python(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command, env = (sys.executable, *arguments), {**os.environ, **environ}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)


def table_calls(bench: Bench) -> bool:
    """Whether a sequential run stays below the limit."""
    bench.calls.made.clear()
    began = time.perf_counter()
    for _ in range(REQUESTS):
        bench.routed(SHORT, False)
    seconds = time.perf_counter() - began
    made, flush = bench.calls.made, HealthSettings().flush
    calls, per_second = made.total() * 1000 / REQUESTS, 1 / EARLY + TARGETS / flush
    print(f"\n3. DynamoDB calls of the data plane: {REQUESTS} healthy requests one after another, one environment")
    print(f"   {'calls per 1,000 requests':<41}{calls:10.1f}   (must be < {CALL_LIMIT}) {dict(made)}")
    print(f"   {'requests/s':<41}{REQUESTS / seconds:10.1f}   for {seconds:.1f} s")
    print(f"   {'at most, by arithmetic, in that time':<41}{math.ceil(seconds * per_second) + TARGETS:10d}")
    print(
        f"   reads: one every {EARLY:g} to {TTL:g} s, at most about one a request; writes: one a target in {flush:g} s;"
    )
    print(
        f"   1000/r x (1/{EARLY:g} + targets/{flush:g}) per 1,000 at r requests/s in one environment; with one target:"
    )
    for rate in (0.5, 1, 10, per_second * 1000 / CALL_LIMIT, 100):
        share = 1000 * min(1.0, 1 / EARLY / rate) + 1000 * min(1.0, TARGETS / flush / rate)
        print(f"   {f'{rate:g} requests/s':>41}{share:10.1f}")
    return calls < CALL_LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    pairs = parser.parse_args().pairs
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}")
    with bench() as made:
        added_time(made, pairs)
        import_time()
        held = table_calls(made)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
