"""What a cold start costs: from the interpreter's start to a room that is ready, and to its first answer.

A script: `python -m tests.benchmarks.cold_start [--artifact DIR] [--python PATH]`.  Without an artifact it is built as
`sam build` does it; without a Python 3.13 that has boto3 one is made from the Makefile's.  Every start is a fresh
process on one core, the runs interleaved; moto and the simulated providers have the other cores.  The machine decides
times, so nothing fails for being slow; the zip's size and the memory do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.aws import BUS, CREDENTIALS, REGION, TABLE
from infra.local.stack import SIMULATED_KEY
from tests.benchmarks.harness import Surroundings, proxy_event, surroundings
from tests.built_function import build, files, interpreter, python313, zipped
from understudy.health.observation import Observation
from understudy.incidents.incident import Incident
from understudy.store import keys

RUNS = 7
CORE = 1.0
SHARES = (CORE, 0.58, 0.29)
"""Of a core: all of it, and what Lambda gives 1024 and 512 MB (1769 MB have one: Lambda guide, "Configure memory")."""
PERIOD = 20_000
"""Microseconds in which a share is given out."""
READY_MS, ZIP_MB, RSS_MB = 200, 8, 70
MB = 1e6

Event = Callable[[int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds since the process was asked for, and MB resident after the first answer."""

    ready: float
    answered: float
    rss: float


@dataclass(frozen=True, slots=True)
class Case:
    room: str
    compiled: bool
    share: float = CORE


def without_bytecode(artifact: Path, folder: Path) -> Path:
    plain = folder / "plain"
    shutil.copytree(artifact, plain, ignore=shutil.ignore_patterns("__pycache__"))
    return plain


# Events


def inserted(key: tuple[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """A table stream event, as DynamoDB gives it to Lambda."""
    image = {"pk": {"S": key[0]}, "sk": {"S": key[1]}, "rev": {"N": "1"}, "body": {"S": json.dumps(body)}}
    return {"Records": [{"eventName": "INSERT", "dynamodb": {"SequenceNumber": "1", "NewImage": image}}]}


def observation(number: int) -> dict[str, Any]:
    seen = Observation("lead", time.time()).success(time.time(), 0.1)
    return inserted(keys.observation("lead", seen.at, str(number)), seen.plain())


def incident(number: int) -> dict[str, Any]:
    """A new one each time: what was told once is not told again."""
    now = time.time() + number
    opened = Incident("lead", "outage", "open", "critical", now, now, now, 1, "lead is down")
    return inserted(keys.incident("lead", "outage"), opened.plain())


def request(key: str) -> dict[str, Any]:
    """A request whose answer is returned whole, not in pieces."""
    return proxy_event(key, "count to 8", False) | {"stageVariables": None}


def probe(number: int) -> dict[str, Any]:
    """The message of a tick that asks for one probe."""
    body = json.dumps({"target": "lead", "due": time.time()})
    return {"Records": [{"messageId": str(number), "body": body, "attributes": {"ApproximateReceiveCount": "1"}}]}


def events(key: str) -> dict[str, Event]:
    return {
        "route_request": lambda _: request(key),
        "probe_targets": probe,
        "update_health": observation,
        "publish_alerts": incident,
    }


# Starts


def environment(found: Surroundings) -> dict[str, str]:
    """Nothing of this shell's: what Lambda and the template give a function, and where AWS is played."""
    return {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": found.aws.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "UNDERSTUDY_TABLE": TABLE,
        "UNDERSTUDY_ALERT_TOPIC_ARN": found.aws.topic_arn,
        "UNDERSTUDY_EVENT_BUS": BUS,
        "UNDERSTUDY_SIMULATED_KEY": SIMULATED_KEY,
    }


@contextlib.contextmanager
def quota(share: float) -> Iterator[list[str]]:
    """A command prefix that leaves a process this share of a core.  Raises OSError where control groups are closed."""
    if share == CORE:
        yield []
        return
    # Version 1 keeps a tree for each resource, version 2 has one.
    old, new = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    group = (old if old.is_dir() else new) / f"understudy-{os.getpid()}-{share:g}"
    group.mkdir()
    try:
        given = round(PERIOD * share)
        if old.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(given))
        else:
            (group / "cpu.max").write_text(f"{given} {PERIOD}")
        yield ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group / "cgroup.procs")]
    finally:
        group.rmdir()


def usable_shares() -> tuple[float, ...]:
    try:
        with quota(SHARES[-1]) as prefix:
            subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return (CORE,)
    return SHARES


def start(python: Path, artifact: Path, case: Case, env: dict[str, str], event: dict[str, Any]) -> Start:
    # Without shipped bytecode none is written either: Lambda's disk is read-only.
    script = Path(__file__).with_name("cold_room.py")
    with quota(case.share) as prefix:
        command = [*prefix, python, "-I", "-B", script, artifact, case.room]
        began = time.monotonic()
        done = subprocess.run(command, env=env, input=json.dumps(event), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{case} did not start:\n{done.stdout}{done.stderr}")
    found = json.loads(done.stderr.splitlines()[-1])
    ready, answered = ((found[name] - began) * 1e3 for name in ("ready", "answered"))
    return Start(ready, answered, found["kb"] * 1024 / MB)


def measure(python: Path, artifacts: dict[bool, Path], shares: tuple[float, ...], runs: int) -> dict[Case, list[Start]]:
    """Every case once, then again, so that a busy moment hits all of them alike.  The first round fills file caches."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    with surroundings() as found:
        # Threads and processes of the surroundings keep the other cores; what is started from here on has the last.
        os.sched_setaffinity(0, cores[-1:])
        made, env = events(found.key), environment(found)
        cases = [Case(room, compiled) for room in made for compiled in (True, False)]
        cases += [Case("route_request", compiled, share) for share in shares[1:] for compiled in (True, False)]
        taken: dict[Case, list[Start]] = {case: [] for case in cases}
        for number in range(1 + runs):
            for case in cases:
                one = start(python, artifacts[case.compiled], case, env, made[case.room](number))
                taken[case] += [one] if number else []
    os.sched_setaffinity(0, cores)
    return taken


# Figures


def show(taken: dict[Case, list[Start]], runs: int) -> None:
    print(f"\n1. Cold start on one core: least and median of {runs} starts, interleaved; milliseconds from exec")
    print(
        "   ready: handler imported, service built; answered: its first event handled, with boto3's import and client"
    )
    print("   AWS and the providers are on loopback without TLS: real ones add a handshake and the way there for each,")
    print("   and boto3's own reading of the certificate authorities; Lambda adds its runtime loop and the fetch")
    print(f"   {'':<40}{'ready':>16}{'answered':>16}{'RSS, MB':>10}")
    for case, starts in taken.items():
        name = f"{case.room}, {'bytecode' if case.compiled else 'none shipped'}"
        label = name + ("" if case.share == CORE else f", {case.share:g} of a core")
        pairs = [[getattr(one, field) for one in starts] for field in ("ready", "answered")]
        figures = "".join(f"{min(found):8.0f}{statistics.median(found):8.0f}" for found in pairs)
        print(f"   {label:<40}{figures}{max(one.rss for one in starts):10.1f}{bar(case, starts)}")


def bar(case: Case, starts: list[Start]) -> str:
    if case != Case("route_request", True):
        return ""
    # The least, which is what the room costs; the rest is the machine's other work.
    held = min(one.ready for one in starts) <= READY_MS
    return f"   (ready: should be <= {READY_MS}{'' if held else ', IS NOT'}; RSS: must be <= {RSS_MB})"


def sizes(artifacts: dict[bool, Path], folder: Path) -> bool:
    """Whether the zip is small enough."""
    print("\n2. Size")
    packed = {}
    for compiled, artifact in artifacts.items():
        packed[compiled] = zipped(artifact, folder / "artifact.zip")
        found = files(artifact)
        whole = sum(path.stat().st_size for path in found) / MB
        label = "bytecode shipped" if compiled else "none shipped"
        limit = f"   (zip: must be <= {ZIP_MB})" if compiled else ""
        print(f"   {label:<24}{len(found):6d} files{whole:8.1f} MB{packed[compiled] / MB:8.2f} MB zipped{limit}")
    return packed[True] <= ZIP_MB * MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, help="a built function, e.g. .aws-sam/build/RouteRequest")
    parser.add_argument("--python", type=Path, help="a Python 3.13 that has boto3")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not (given.python or python313()):
            sys.exit("There is no Python 3.13 here: give one that has boto3 with --python.")
        python = given.python or interpreter(folder / "python")
        built = given.artifact.resolve() if given.artifact else folder / "RouteRequest"
        if not given.artifact:
            build(built)
        artifacts = {True: built, False: without_bytecode(built, folder)}
        version = subprocess.run([python, "--version"], check=True, capture_output=True, text=True).stdout.strip()
        print(f"{version}, {os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}")
        taken = measure(python, artifacts, usable_shares(), given.runs)
        show(taken, given.runs)
        small = sizes(artifacts, folder)
    lean = max(one.rss for one in taken[Case("route_request", True)]) <= RSS_MB
    return 0 if small and lean else 1


if __name__ == "__main__":
    sys.exit(main())
