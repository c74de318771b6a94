"""What our Lambda runtime loop costs: an invocation, a chunk, and how late a chunk is.

A script: `python -m tests.benchmarks.runtime`.  Every number stands beside the one of a reference client in the same
run, which does nothing but what the sockets need, and, where `--python` names an interpreter that has awslambdaric,
beside the managed runtime's own loop.  Nothing fails for being slow: only for what is lost, or in the wrong order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.runtime_api import ROOT, Posted, RuntimeApi, running

HANDLER = "tests.demo_room.handler"
WARM_UP = 50
SIZE = 220
"""Bytes of a chunk: one token of a chat stream."""
CHUNK_BAR, LATE_BAR = 100, 5
"""What issue 4 allows: microseconds for a chunk, milliseconds that one may be late."""
REFERENCE, OURS, LOOPED, MANAGED = "reference client", "our loop", "our loop, from the event loop", "awslambdaric"


@dataclass(slots=True)
class Bench:
    """The runtimes that are compared, each with a Runtime API of its own; `wrong` are promises that did not hold."""

    apis: dict[str, RuntimeApi]
    wrong: list[str] = field(default_factory=list)

    def ask(self, name: str, event: dict[str, object]) -> tuple[float, Posted]:
        """Seconds until the answer was there, and the answer."""
        began = time.perf_counter()
        answer = self.apis[name].invoke(event)
        took = time.perf_counter() - began
        if not answer.ended or answer.trailers or not answer.path.endswith("/response"):
            self.wrong.append(f"{name}: {event} was not answered: {answer.path} {answer.trailers}")
        return took, answer

    def stamps(self, name: str, event: dict[str, object]) -> tuple[list[tuple[int, int]], dict[str, int]]:
        """(arrived, made) of each chunk in nanoseconds, and what the runtime says that it took."""
        _, answer = self.ask(name, event)
        chunks = [(at, int(data.split()[0])) for at, data in answer.chunks[1:-1]]
        if len(chunks) != event["count"] or sorted(made for _, made in chunks) != [made for _, made in chunks]:
            self.wrong.append(f"{name}: {len(chunks)} of {event['count']} chunks, or not in order")
        return chunks, json.loads(answer.chunks[-1][1])


def p(share: float, values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def row(label: str, value: float, bare: float, unit: str = "") -> None:
    print(f"   {label:<44}{value:10.1f}{value - bare:+12.1f}{value / bare:9.2f}x{unit}")


def invocations(bench: Bench, rounds: int) -> None:
    cases: list[tuple[str, str, str]] = [
        (REFERENCE, "plain", ""),
        (OURS, "plain", ", JSON"),
        (OURS, "said", ", Answer"),
    ]
    if MANAGED in bench.apis:
        cases.append((MANAGED, "plain", ", JSON"))
    took: dict[str, list[float]] = {name + how: [] for name, _, how in cases}
    for number in range(WARM_UP + rounds):
        for name, do, how in cases:
            seconds, _ = bench.ask(name, {"do": do, "text": "{}", "result": {}})
            if number >= WARM_UP:
                took[name + how].append(seconds * 1e6)
    print(f"\n1. A warm invocation, from the event to the end of its answer: {rounds} each, interleaved; microseconds")
    print(f"   {'':<44}{'p50':>10}{'to bare':>12}{'ratio':>10}")
    for name, values in took.items():
        row(name, p(0.5, values), p(0.5, took[REFERENCE]), f"   p99 {p(0.99, values):.0f}")


def chunks(bench: Bench, count: int, rounds: int) -> None:
    cases = [(REFERENCE, REFERENCE, "timed"), (OURS, OURS, "timed"), (LOOPED, OURS, "timed_loop")]
    wall: dict[str, list[float]] = {label: [] for label, _, _ in cases}
    cpu: dict[str, list[float]] = {label: [] for label, _, _ in cases}
    for _ in range(rounds):
        for label, name, do in cases:
            stamps, told = bench.stamps(name, {"do": do, "count": count, "size": SIZE})
            wall[label].append((stamps[-1][0] - stamps[0][0]) / count / 1e3)
            cpu[label].append(told["cpu"] / count / 1e3)
    print(f"\n2. A chunk of {SIZE} bytes: {count:,} at once, median of {rounds} runs; microseconds (bar: {CHUNK_BAR})")
    for title, found in (("arrived, with the fake API's own reading", wall), ("processor time of the runtime", cpu)):
        print(f"   {title:<44}{'p50':>10}{'to bare':>12}{'ratio':>10}")
        for label, values in found.items():
            row(f"  {label}", statistics.median(values), statistics.median(found[REFERENCE]))


def lateness(bench: Bench, count: int) -> None:
    cases = [(REFERENCE, REFERENCE, "timed"), (OURS, OURS, "timed"), (LOOPED, OURS, "timed_loop")]
    late: dict[str, list[float]] = {}
    for label, name, do in cases:
        stamps, _ = bench.stamps(name, {"do": do, "count": count, "size": SIZE, "gap": 0.005})
        late[label] = [(at - made) / 1e3 for at, made in stamps]
    print(f"\n3. From the making of a chunk to its arrival: {count}, 5 ms apart; microseconds (bar: {LATE_BAR * 1000})")
    print(f"   {'':<44}{'p50':>10}{'to bare':>12}{'ratio':>10}")
    for label, values in late.items():
        row(label, p(0.5, values), p(0.5, late[REFERENCE]), f"   p99 {p(0.99, values):.0f}")


def start(ways: dict[str, Callable[[str], contextlib.AbstractContextManager[object]]], times: int) -> None:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times):
        for name, way in ways.items():
            with RuntimeApi() as api:
                began = time.perf_counter()
                with way(api.address):
                    api.invoke({"do": "plain"})
                    took[name].append((time.perf_counter() - began) * 1e3)
    print(f"\n4. From exec to the first answer, without a room of weight: median of {times}; milliseconds")
    print(f"   {'':<44}{'p50':>10}{'to bare':>12}{'ratio':>10}")
    for name, values in took.items():
        row(name, statistics.median(values), statistics.median(took[REFERENCE]))


@contextlib.contextmanager
def bench(ways: dict[str, Callable[[str], contextlib.AbstractContextManager[object]]]) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        apis = {}
        for name, way in ways.items():
            apis[name] = stack.enter_context(RuntimeApi())
            stack.enter_context(way(apis[name].address))
        yield Bench(apis)


def ways(python: str) -> dict[str, Callable[[str], contextlib.AbstractContextManager[object]]]:
    path = {"PYTHONPATH": f"{ROOT / 'functions'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": ""}

    def command(*words: str) -> Callable[[str], contextlib.AbstractContextManager[object]]:
        return lambda address: running(address, HANDLER, command=[python, *words], environ=path)

    found: dict[str, Callable[[str], contextlib.AbstractContextManager[object]]] = {
        REFERENCE: command("-m", "tests.benchmarks.reference_client"),
        OURS: lambda address: running(address, HANDLER, python=python, environ=path),
    }
    # Asked from elsewhere: the tests have a stand-in of the same name.
    if not subprocess.run([python, "-c", "import awslambdaric"], capture_output=True, cwd="/", check=False).returncode:
        found[MANAGED] = command("-m", "awslambdaric", HANDLER)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs the runtimes")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    given = parser.parse_args()
    part = 10 if given.quick else 1
    version = subprocess.run([given.python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{version}, {os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}")
    compared = ways(given.python)
    if MANAGED not in compared:
        print(f"{MANAGED} is left out: {given.python} does not have it")
    with bench(compared) as made:
        invocations(made, 1000 // part)
        chunks(made, 20_000 // part, 5)
        lateness(made, 600 // part)
    start(compared, 10 // part + 2)
    for line in made.wrong:
        print(f"WRONG: {line}")
    print(f"\n{len(made.wrong)} answers were wrong")
    return 1 if made.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
