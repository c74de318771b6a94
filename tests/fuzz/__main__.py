"""Fuzzing of every translator: `python -m tests.fuzz --cases 100000`.

Cases are drawn from a seed that is printed, so that a run can be repeated: `--seed`.  A broken promise prints the
check, the seed of its case and the traceback.  A case that takes longer than SLOWEST seconds, or a process that grows
beyond LARGEST bytes, is a broken promise too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import time
import traceback

from tests.fuzz.checks import all_checks

SLOWEST = 2.0
LARGEST = 1024 * 1024 * 1024
BATCH = 2000


def batch(job: tuple[str, int, int]) -> tuple[str, int, float, list[str]]:
    """Some cases of one check: its name, how many, the slowest in seconds, and what was wrong."""
    name, seed, cases = job
    check = dict(all_checks())[name]
    wrong: list[str] = []
    slowest = 0.0
    for number in range(cases):
        case = f"{name}:{seed + number}"
        began = time.thread_time()
        try:
            check(random.Random(case))
        except Exception:  # noqa: BLE001 - any exception that a check lets through is a finding
            wrong.append(f"{case}\n{traceback.format_exc(limit=-4)}")
        slowest = max(slowest, time.thread_time() - began)
    if slowest > SLOWEST:
        wrong.append(f"{name}: a case took {slowest:.1f} s")
    if (size := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) > LARGEST:
        wrong.append(f"{name}: the process grew to {size / 1e6:.0f} MB")
    return name, cases, slowest, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="cases of each check")
    parser.add_argument("--only", default="", help="checks whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    names = [name for name, _ in all_checks() if given.only in name]
    jobs = [
        (name, given.seed + start, min(BATCH, given.cases - start))
        for name in names
        for start in range(0, given.cases, BATCH)
    ]
    done, slowest, wrong = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0), []
    began = time.monotonic()
    with multiprocessing.Pool(given.processes) as pool:
        for name, cases, slow, found in pool.imap_unordered(batch, jobs):
            done[name] += cases
            slowest[name] = max(slowest[name], slow)
            wrong += found
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s")
    for name in names:
        print(f"   {name:<60}{done[name]:>9} cases, slowest {slowest[name] * 1000:6.1f} ms")
    for one in wrong[:20]:
        print(f"\n{one}")
    print(f"{sum(done.values())} cases, {len(wrong)} broken promises")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
