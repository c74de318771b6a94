"""What callers see of a broken lead, in real time over real sockets: `python -m tests.benchmarks.faults`.

Each fault gets a lead and an understudy of its own behind the local stack (moto as AWS, the real handlers, the real
control loop), 20 requests a second for 20 s, and breaks its lead from second 5 to 12.  Two faults are played at once.
The figures depend on the machine; the same scenario in virtual time is held by tests/functional/test_timeline.py.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.simulators import SimulatedProvider
from infra.local.stack import SIMULATED_KEY, LocalStack, Options
from tests.builders import piece, request, target
from understudy.catalog import HealthSettings, Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.compliance import Allowed
from understudy.routing.attempts import Attempts
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, Ranked
from understudy.services.outcomes import LocalOutcomes
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

RATE, BREAKS, HEALS, ENDS = 20.0, 5.0, 12.0, 20.0
AT_ONCE = 2
TOKEN_DELAY = 0.02
WORDS = 20
TEXT = "[simulated]" + "".join(f" {number}" for number in range(1, WORDS + 1))
PROBE = HealthSettings().probe_prompt
STREAMED = ("stream 500", "stream slow first token", "stream error as first event", "stream dies", "stream stalls")
# What is shown → the simulator's fault; "refused" stops the lead's whole server.
FAULTS = {
    "500": "http_500",
    "429 without a hint": "http_429_bare",
    "503": "http_503",
    "401": "http_401",
    "reset": "reset",
    "refused": "refused",
    "hang": "hang",
    "slow (first token 20 s)": "slow_first_token",
    "brownout (30 % 500)": "brownout",
    "malformed JSON": "malformed_json",
    "wrong content type": "wrong_content_type",
    "empty content": "empty_answer",
    "stream 500": "http_500",
    "stream slow first token": "slow_first_token",
    "stream error as first event": "error_first_event",
    "stream dies": "cut_midstream",
    "stream stalls": "stall_midstream",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """One caller's request: seconds since the start of the traffic, what came, and from whom."""

    sent: float
    done: float
    error: bool
    wrong: bool
    target: str


def document(leads: str, spares: str, own: str) -> str:
    """A route for each fault, `alone` for the understudy by itself; `refused` has a server of its own."""
    lines = ["schema: 1", "providers:"]
    for name, url in (("leads", leads), ("spares", spares), ("own", own)):
        lines.append(f"  {name}: {{wire: openai, base_url: '{url}', simulated: true,")
        lines.append("    auth: {header: Authorization, scheme: Bearer, secret: 'env:UNDERSTUDY_SIMULATED_KEY'}}")
    lines.append("targets:")
    for number, fault in enumerate(FAULTS.values()):
        lines.append(f"  lead-{number}: {{provider: {'own' if fault == 'refused' else 'leads'}, model: lead-{number}}}")
        lines.append(f"  spare-{number}: {{provider: spares, model: spare-{number}}}")
    lines.append("routes:")
    lines += [f"  route-{number}: {{targets: [lead-{number}, spare-{number}]}}" for number in range(len(FAULTS))]
    lines.append("  alone: {targets: [spare-0]}")
    return "\n".join(lines)


@contextmanager
def stack() -> Iterator[tuple[LocalStack, SimulatedProvider, SimulatedProvider]]:
    """The local stack, the leads' provider and the one that can be stopped."""
    with tempfile.TemporaryDirectory() as folder:
        leads, spares, own = (
            SimulatedProvider("openai", api_key=SIMULATED_KEY, token_delay=TOKEN_DELAY) for _ in range(3)
        )
        for simulator in (leads, spares, own):
            simulator.start()
        config = Path(folder) / "router.yaml"
        config.write_text(document(leads.base_url, spares.base_url, own.base_url))
        made = LocalStack(Options(port=0, api_key="bench", config=config, simulators=False), on_alert=lambda _: None)
        try:
            made.start()
            yield made, leads, own
        finally:
            made.stop()
            for simulator in (leads, spares, own):
                simulator.stop()


def ask(base_url: str, route: str, stream: bool, began: float) -> Answered:
    """One request of a caller that reads to the end."""
    parts = urlsplit(base_url)
    body = {"model": route, "messages": [{"role": "user", "content": f"recite to {WORDS}"}], "stream": stream}
    headers = {"authorization": "Bearer bench", "content-type": "application/json"}
    sent = time.monotonic() - began
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    text, error, who = "", True, ""
    try:
        connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        who = answer.headers.get("x-understudy-target", "")
        text, error = told(answer.read().decode(), stream) if answer.status == 200 else ("", True)
    except OSError:
        pass
    finally:
        connection.close()
    return Answered(sent, time.monotonic() - began, error, not error and text != TEXT, who)


def told(body: str, stream: bool) -> tuple[str, bool]:
    """The text of an answer, and whether it is one that a client would raise for."""
    if not stream:
        return json.loads(body)["choices"][0]["message"]["content"], False
    data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    events = [json.loads(one) for one in data if one != "[DONE]"]
    choices = [choice for event in events for choice in event.get("choices", ())]
    finished = any(choice.get("finish_reason") for choice in choices) and data[-1:] == ["[DONE]"]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, any("error" in event for event in events) or not finished


def traffic(base_url: str, route: str, stream: bool, began: float, pool: ThreadPoolExecutor) -> list[Answered]:
    """RATE requests a second from `began` to its end, each on its time whatever the others do."""
    waiting = []
    for number in range(int(RATE * ENDS)):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        waiting.append(pool.submit(ask, base_url, route, stream, began))
    return [one.result() for one in waiting]


def p(share: float, values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1] if len(values) > 1 else 0.0


def play(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Figures of some faults that are played at once, a line each."""
    numbers = {name: list(FAULTS).index(name) for name in names}
    with stack() as (made, leads, own), ThreadPoolExecutor(400) as pool, ThreadPoolExecutor(len(names)) as runs:
        began, epoch = time.monotonic() + 0.5, time.time() + 0.5
        going = {
            name: runs.submit(traffic, made.base_url, f"route-{number}", name in STREAMED, began, pool)
            for name, number in numbers.items()
        }
        time.sleep(max(0.0, began + BREAKS - time.monotonic()))
        for name, number in numbers.items():
            if FAULTS[name] == "refused":
                own.stop()
            else:
                leads.set_fault(f"lead-{number}", FAULTS[name])
        time.sleep(max(0.0, began + HEALS - time.monotonic()))
        for name, number in numbers.items():
            if FAULTS[name] == "refused":
                own.start()
            else:
                leads.set_fault(f"lead-{number}", None)
        for name, number in numbers.items():
            records = going[name].result()
            calls = [
                (seen.at - epoch, PROBE in json.dumps(seen.body))
                for seen in [*leads.requests, *own.requests]
                if seen.model == f"lead-{number}"
            ]
            yield name, figures(name, f"lead-{number}", records, calls)


def figures(name: str, lead: str, records: Sequence[Answered], calls: Sequence[tuple[float, bool]]) -> str:
    during = [record for record in records if BREAKS <= record.sent < HEALS]
    on_lead = [(at, probe) for at, probe in calls if BREAKS <= at < HEALS]
    callers = [at for at, probe in on_lead if not probe]
    # A call on a port that nobody listens at leaves no trace there.
    left = max(callers) - BREAKS if callers and name != "brownout (30 % 500)" else None
    back = min((r.sent - HEALS for r in records if r.sent >= HEALS and r.target == lead and not r.error), default=None)
    seconds = [record.done - record.sent for record in during]
    counts = (sum(record.error for record in records), sum(record.wrong for record in records))
    shown = "-" if name == "refused" else str(len(on_lead))
    return (
        f"{name:<28}{counts[0]:>7}{counts[1]:>7}{shown:>9}{_cell(left):>9}{_cell(back):>9}"
        f"{p(0.5, seconds):>9.2f}{p(0.99, seconds):>9.2f}"
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def alone() -> tuple[float, float]:
    """The understudy's own p50 and p99, under the same rate."""
    with stack() as (made, _, _), ThreadPoolExecutor(100) as pool:
        began = time.monotonic() + 0.2
        seconds = [r.done - r.sent for r in traffic(made.base_url, "alone", False, began, pool)]
        return p(0.5, seconds), p(0.99, seconds)


async def healthy(chunks: int, rounds: int) -> tuple[float, float]:
    """Microseconds of one answer of so many chunks: read from the call itself, and through the engine."""
    answer = [piece(), *[piece("word ")] * (chunks - 2), piece("", finish="stop")]

    async def call(asked: ChatRequest, one: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        for chunk in answer:
            yield chunk

    lead, asked, rng = target("lead"), request(), random.Random(1)
    outcomes = LocalOutcomes(Store(MemoryTable()), time.time, _Quiet(), rng)
    engine = Attempts(call, outcomes, outcomes.lease, judged=lambda _: Allowed(), rng=rng)
    decision = Decision("chat", (Ranked(lead, "place 1"),))
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for way in (0, 1) if number % 2 else (1, 0):
            journal = Journal()
            through = engine.run(asked, decision, Limits(), journal, whole=False)
            source = through if way else call(asked, lead, connect=1)
            began = time.perf_counter()
            async for _ in source:
                pass
            took[way].append(time.perf_counter() - began)
    direct, routed = (statistics.median(one) * 1e6 for one in took)
    return direct, routed


class _Quiet:
    def info(self, message: str, /, **fields: object) -> None:
        """Nobody reads it."""

    warning = exception = info


def engine_cost() -> None:
    print("\nAdded by the engine to a healthy answer, medians of 400 interleaved pairs, microseconds of one core")
    print(f"{'chunks':>8}{'direct':>10}{'engine':>10}{'added':>10}{'a chunk':>10}")
    base = None
    for chunks in (10, 210):
        direct, routed = asyncio.run(healthy(chunks, 400))
        added = routed - direct
        each = "" if base is None else f"{(added - base) / 200:10.2f}"
        print(f"{chunks:>8}{direct:>10.1f}{routed:>10.1f}{added:>10.1f}{each}")
        base = added


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this one; may be repeated")
    wanted = parser.parse_args().fault or list(FAULTS)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}")
    engine_cost()
    median, slowest = alone()
    print(f"\nLead broken from second {BREAKS:g} to {HEALS:g} of {ENDS:g}, {RATE:g} requests/s, defaults, seconds")
    print(f"the understudy alone: p50 {median:.2f}, p99 {slowest:.2f}")
    print(f"{'':<28}{'errors':>7}{'wrong':>7}{'on lead':>9}{'left':>9}{'back':>9}{'p50':>9}{'p99':>9}", flush=True)
    bad = 0
    for batch in (wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)):
        for _, line in play(batch):
            print(line, flush=True)
            bad += sum(map(int, line[28:42].split()))
    print("on lead: calls that the broken lead saw, probes included; left, back: after it broke, after it healed")
    return 1 if bad else 0


if __name__ == "__main__":
    threading.stack_size(512 * 1024)
    sys.exit(main())
